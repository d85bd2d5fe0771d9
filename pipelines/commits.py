"""The splits of a stream on their way to commits, several open at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipelines.commit_records import CommitError
from pipelines.output_folder import OutputFolder
from pipelines.sinks.base import Sink
from pipelines.sources.origins import Origin, no_origin
from pipelines.split_writer import SplitWriter
from pipelines.splits import Split
from transforms.block import Block


class SplitCommitter:
    """Commits the splits of a stream in which their blocks come interleaved in any order.

    Blocks of one split keep their own order; its last one says how many rows it has.
    """

    def __init__(
        self,
        folder: OutputFolder,
        sink: Sink,
        input_schema: pa.Schema,
        provenance: bool = True,
        stage_times: Callable[[], dict[str, Any]] = dict,
        plan_id: str | None = None,
        origin: Callable[[Split], Origin | None] = no_origin,
    ) -> None:
        """Takes what every `SplitWriter` takes, and what tells where the worker's time went."""
        self._plan_id = plan_id
        self._folder = folder
        self._sink = sink
        self._input_schema = input_schema
        self._provenance = provenance
        self._stage_times = stage_times
        self._origin = origin
        self._open: dict[str, SplitWriter] = {}

    def add(self, block: Block) -> dict[str, Any] | None:
        """Takes a block; a split's last one commits it and returns the commit record.

        Raises:
          CommitError: the split's rows do not add up, or its columns change. Nothing of the
            split is left then.
        """
        name = block.split.name
        writer = self._open.get(name)
        if writer is None:
            writer = self._open[name] = SplitWriter(
                self._folder, self._sink, block.split, self._input_schema, self._provenance,
                self._plan_id, origin=self._origin)
        try:
            writer.add(block)
            if block.rows_in_split is None:
                return None
            record = writer.commit(block.rows_in_split, block.run_info, self._stage_times)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno and error.filename is None:
                # The system does not say where a write failed.
                error.filename = self._folder.path
            self._open.pop(name).abandon()
            raise
        del self._open[name]
        return record

    def require_all_committed(self) -> None:
        """Call it where the stream ends: at the end of a bundle.

        Raises:
          CommitError: splits are open. Their rest is in another bundle, so that the pipeline
            cannot commit them as a whole; none of them leaves a part.
        """
        if not self._open:
            return
        names = ", ".join(sorted(self._open))
        self.abandon()
        raise CommitError(
            f"expected every split to end in the bundle where it began. Received: the bundle's "
            f"end with open splits {names}. Reading and committing must stay in one fused stage: "
            "put no shuffle, side input or tagged output between them.")

    def abandon(self) -> None:
        """Drops open splits and their files; may be called again."""
        while self._open:
            self._open.popitem()[1].abandon()


