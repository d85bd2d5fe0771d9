"""The step of ``MirroredInference`` that infers: submits groups, emits what comes back."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from transforms.block import ROW_COLUMN, SOURCE_COLUMN, Block
from transforms.elements import (
    batch_failures,
    kept_columns,
    row_mapping,
    scored_batch,
    scored_block,
    scored_rows,
)
from transforms.engine.opening import open_predictor, predictor_of
from transforms.engine.stage_times import DECODE, STAGE_TIMES, WRITE
from transforms.failures import Failure
from transforms.features import columns_to_arrays
from transforms.inference_setup import InferenceSetup
from transforms.matching import Feed
from transforms.metrics import add_to_counter
from transforms.model_files import fetch_model
from transforms.outputs import output_schema
from transforms.rows import rows_to_arrays
from transforms.run_info import describe_run
from transforms.scoring import Submitted

if TYPE_CHECKING:
    from transforms.engine.model import ModelSpec
    from transforms.engine.registry import Lease

_LOG = logging.getLogger(__name__)

FAILURES = "failures"

# Rows may have ever new columns; what feeds them is found again.
_MOST_FEEDS = 1000


class MirroredInferenceDoFn(beam.DoFn):
    """Submits groups of elements to the process's predictor and emits what comes back.

    Takes lists of elements, or of (element, timestamp) as ``BatchRows`` makes them. Blocks come
    out as blocks; other elements as predictions, with their failures tagged `failures`. All
    keep their order, window and timestamp.
    """

    def __init__(self, model: ModelSpec | str | InferenceSetup, **options: Any) -> None:
        """Takes what ``MirroredInference`` takes, or that checked already."""
        super().__init__()
        self._setup = (
            model if isinstance(model, InferenceSetup) else InferenceSetup.checked(model, **options)
        )
        self._lease: Lease | None = None
        self._feeds: dict[Any, tuple[Feed, ...]] = {}
        self._is_named = False
        self._is_keep_checked = False
        self._has_warned = False
        self._pending: collections.deque[_Job] = collections.deque()
        self._pending_rows = 0

    def display_data(self) -> dict[str, Any]:
        """What a runner's monitoring shows."""
        return self._setup.described()

    def setup(self) -> None:
        """Asks the process for its predictor; the first one loads the model."""
        self.teardown()
        config = self._setup.config
        local = dataclasses.replace(config.model, path=fetch_model(config.model.path))
        self._lease = open_predictor(dataclasses.replace(config, model=local))
        self._predictor = predictor_of(self._lease)
        # What no column can hold is refused before a row is read.
        output_schema(self._predictor.outputs or ())

    def start_bundle(self) -> None:
        """Forgets what a failed bundle left."""
        self._pending.clear()
        self._pending_rows = 0

    def process(
        self,
        group: Sequence[Any],
        window: Any = beam.DoFn.WindowParam,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[Any]:
        """Submits a group and emits what is ready; waits while too much is under way."""
        for job in self._jobs(group, window, timestamp):
            self._pending.append(job)
            self._pending_rows += job.submitted.count
            yield from self._emit(self._setup.in_flight * self._predictor.rows_in_batches)

    def finish_bundle(self) -> Iterator[Any]:
        """Waits for the bundle's rows."""
        yield from self._emit(0)

    def teardown(self) -> None:
        """Gives the predictor back; the process keeps it for the next DoFn."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None
            del self._predictor

    def _emit(self, most_rows: int) -> Iterator[Any]:
        while self._pending and (
            self._pending_rows >= most_rows or self._pending[0].submitted.is_done()
        ):
            job = self._pending.popleft()
            self._pending_rows -= job.submitted.count
            results = job.submitted.results()
            add_to_counter("rows_failed", len(results.failed))
            add_to_counter("rows_predicted", results.total - len(results.failed))
            yield from job.outputs(self._setup, self._predictor, results)

    def _jobs(self, group: Sequence[Any], window: Any, timestamp: Any) -> Iterator[_Job]:
        rows: list[Any] = []
        stamps: list[Any] = []
        last: Any = None
        for (element, stamp), kind in self._kinds(group, timestamp):
            if rows and kind != last:
                yield self._submit_rows(last, rows, stamps, window)
                rows, stamps = [], []
            if kind is None:
                yield self._submit_table(element, stamp, window)
            else:
                rows.append(element)
                stamps.append(stamp)
            last = kind
        if rows:
            yield self._submit_rows(last, rows, stamps, window)

    def _kinds(self, group: Sequence[Any], timestamp: Any) -> Iterator[tuple[Any, Any]]:
        """Each (element, timestamp) with the kind of row that it is; None of a table."""
        items = [item if isinstance(item, tuple) else (item, timestamp) for item in group]
        signature = self._predictor.signature
        kinds = [
            None
            if isinstance(element, (Block, pa.RecordBatch, pa.Table))
            else self._setup.row_kind(element, signature)
            for element, _ in items
        ]
        # Among rows that name the input, one that does not is a bad one.
        self._is_named = self._is_named or Mapping in kinds
        if self._is_named:
            kinds = [Mapping if isinstance(kind, frozenset) else kind for kind in kinds]
        return zip(items, kinds, strict=True)

    def _submit_table(self, element: Any, timestamp: Any, window: Any) -> _TableJob:
        batch = element.batch if isinstance(element, Block) else element
        schema = batch.schema
        feeds = self._feeds.get(schema)
        if feeds is None:
            feeds = self._setup.feeds(schema, self._predictor.signature)
            self._remember(schema, feeds)
        with STAGE_TIMES.stage(DECODE):
            arrays = columns_to_arrays(batch, feeds)
        submitted = Submitted(self._predictor, arrays, batch.num_rows)
        return _TableJob(submitted, element, batch, feeds, timestamp, window)

    def _submit_rows(
        self, kind: Any, rows: list[Any], timestamps: list[Any], window: Any
    ) -> _RowsJob:
        feeds = self._feeds.get(kind)
        if feeds is None:
            signature = self._predictor.signature
            feeds = self._setup.row_feeds(kind, rows, signature)
            if feeds is None:
                feeds = self._setup.feeds_by_name(signature)
            else:
                self._remember(kind, feeds)
        mappings = [row_mapping(row, feeds[0].column) for row in rows]
        if not self._is_keep_checked:
            self._check_keep(mappings, [feed.column for feed in feeds])
        conversion = rows_to_arrays(rows, feeds)
        if not conversion.groups and not self._has_warned:
            self._has_warned = True
            _LOG.warning("a whole group of rows does not fit: %s", conversion.errors[0].message)
        submitted = Submitted(self._predictor, conversion, len(rows))
        return _RowsJob(submitted, rows, mappings, feeds, timestamps, window)

    def _check_keep(self, rows: Sequence[Mapping[str, Any]], consumed: Sequence[str]) -> None:
        """Refuses names to keep that none of the first rows has; bad rows do not count."""
        fed = [row for row in rows if all(column in row for column in consumed)]
        if fed:
            kept_columns(sorted({name for row in fed for name in row}), consumed, self._setup.keep)
            self._is_keep_checked = True

    def _remember(self, kind: Any, feeds: tuple[Feed, ...]) -> None:
        if len(self._feeds) >= _MOST_FEEDS:
            self._feeds.clear()
        self._feeds[kind] = feeds


@dataclasses.dataclass
class _TableJob:
    submitted: Submitted
    element: Any
    batch: pa.RecordBatch | pa.Table
    feeds: tuple[Feed, ...]
    timestamp: Any
    window: Any

    def outputs(self, setup: InferenceSetup, predictor: Any, results: Any) -> Iterator[Any]:
        consumed = [feed.column for feed in self.feeds]
        kept = kept_columns(self.batch.schema.names, consumed, setup.keep)
        fields = predictor.outputs or predictor.signature.outputs or ()
        if isinstance(self.element, Block):
            with STAGE_TIMES.stage(WRITE):
                block = scored_block(self.element, results, kept, fields)
            if block.is_last:
                block = dataclasses.replace(block, run_info=describe_run(predictor))
            yield self._windowed(block)
            return
        yield self._windowed(scored_batch(self.batch, results, kept, fields))
        for failure in batch_failures(self.batch, results.failed):
            yield TaggedOutput(FAILURES, self._windowed(failure.as_dict()))

    def _windowed(self, value: Any) -> WindowedValue:
        return WindowedValue(value, self.timestamp, (self.window,))


@dataclasses.dataclass
class _RowsJob:
    submitted: Submitted
    rows: list[Any]
    mappings: list[Mapping[str, Any]]
    feeds: tuple[Feed, ...]
    timestamps: list[Any]
    window: Any

    def outputs(self, setup: InferenceSetup, predictor: Any, results: Any) -> Iterator[Any]:
        consumed = [feed.column for feed in self.feeds]
        windows = (self.window,)
        for row, prediction in scored_rows(self.mappings, results, consumed, setup.keep):
            yield WindowedValue(prediction, self.timestamps[row], windows)
        for row, stage, error, message in results.failed:
            # Without an origin, a one-row element has no other position than its own first.
            source = self.mappings[row].get(SOURCE_COLUMN)
            position = self.mappings[row].get(ROW_COLUMN, 0)
            failure = Failure(source, position, stage, error, message, self.rows[row])
            yield TaggedOutput(
                FAILURES, WindowedValue(failure.as_dict(), self.timestamps[row], windows)
            )


_Job = _TableJob | _RowsJob
