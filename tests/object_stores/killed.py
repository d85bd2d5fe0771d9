"""As `tests.faults.killed`, for points that are reached otherwise on an object store."""

from __future__ import annotations

import fnmatch
import sys
from typing import Any

from tests.faults.killed import FILES, Fuse, note_begun


def arm(point: str, fuse: Fuse) -> None:
    """Makes the product burn the fuse before or after a copy or the writing of a small object."""
    from apache_beam.internal.gcp import auth

    from pipelines import storage

    # Beam would look for credentials for half a minute.
    auth._Credentials._credentials_init = True
    when, _, name = point.partition(" ")

    def around(call: Any, place: int) -> Any:
        def call_and_burn(*arguments: Any) -> None:
            matches = fnmatch.fnmatch(arguments[place], FILES[name])
            if matches and when == "before":
                fuse.burn()
            call(*arguments)
            if matches and when == "after":
                fuse.burn()

        return call_and_burn

    storage.copy = around(storage.copy, 1)
    storage.write_object = around(storage.write_object, 0)


if __name__ == "__main__":
    arm(sys.argv[1], Fuse(int(sys.argv[2])))
    note_begun(sys.argv[3])
    from pipelines.cli import main

    sys.exit(main(sys.argv[4:]))
