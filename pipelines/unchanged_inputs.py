"""Whether the file that a split is read from is still the one that the job was planned with."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pipelines.file_state import file_state
from pipelines.retrying import OutageError, outages_named
from pipelines.splits import Split
from transforms.block import Block

_SECOND_NS = 10**9


class InputChangedError(RuntimeError):
    """An input file was written again while the job runs.

    It is no OSError, which readers of formats take for a damaged file; trying again is no use.
    """


def unchanged(split: Split, blocks: Iterator[Block]) -> Iterator[Block]:
    """Passes a split's blocks on; the last one only if its file is as it was planned.

    A file that has its planned size and time when all is read had them before: one look is
    enough, one request where the file is remote. Without the last block nothing is committed.

    Raises:
      InputChangedError: the file has another size or time now, or is gone after it was read; also
        in the place of any other error of reading a file that changed.
    """
    try:
        for block in blocks:
            if block.is_last:
                _require_unchanged(split)
            yield block
    except (InputChangedError, OutageError):
        raise
    except Exception:
        # A file that cannot be found or opened says so by itself.
        _require_unchanged(split, or_gone=True)
        raise


def _require_unchanged(split: Split, or_gone: bool = False) -> None:
    if split.file_bytes is None:
        return
    path = split.files[0]
    with outages_named():
        state = file_state(path)
    if state is None:
        if or_gone:
            return
        received = "none: it is gone"
    else:
        if state[0] == split.file_bytes and _is_same_time(state[1], split.modified_ns):
            return
        received = _described(*state)
    raise InputChangedError(
        f"expected {path} as it was when the job was planned, "
        f"{_described(split.file_bytes, split.modified_ns)}. Received: {received}. Nothing of "
        f"split {split.name} is committed, since its rows may be of both. Pass --overwrite to "
        "score the input as it is now, or another --output."
    )


def _is_same_time(now_ns: int | None, planned_ns: int | None) -> bool:
    """Whether times are equal, as far as both are told: some answers are of whole seconds."""
    if now_ns is None or planned_ns is None or now_ns == planned_ns:
        return True
    whole = now_ns % _SECOND_NS == 0 or planned_ns % _SECOND_NS == 0
    return whole and now_ns // _SECOND_NS == planned_ns // _SECOND_NS


def _described(size_bytes: int, modified_ns: int | None) -> str:
    if modified_ns is None:
        return f"{size_bytes:,} bytes"
    seconds, rest_ns = divmod(modified_ns, _SECOND_NS)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{size_bytes:,} bytes written at {at}.{rest_ns // 1000:06d} UTC"
