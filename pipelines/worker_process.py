"""What a process of the worker pool runs: Beam's harness, and then nothing more.

A worker whose runner is gone must not go on with its half of a bundle beside the repetition,
nor keep its GPU: when the harness ends, the process does, whatever threads it still has.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the harness that the environment describes, and ends the process."""
    from apache_beam.runners.worker import sdk_worker_main

    code = 1
    try:
        sdk_worker_main.main([])
        code = 0
    finally:
        # What it raised is logged by then.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
