"""Everything about a job that can be refused before a worker starts, and the job it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence

import pyarrow as pa

from pipelines import storage
from pipelines.beam_options import WorkerPlace
from pipelines.device_check import check_devices
from pipelines.errors import CommandError
from pipelines.feeding import Feeding, choose_feeding, scored_schema
from pipelines.image_padding import sizes_differ
from pipelines.inference_arguments import open_model, score_arguments
from pipelines.inputs import input_patterns, match_files
from pipelines.job_fingerprint import job_fingerprint, plain_arguments
from pipelines.known_job import known_fingerprint
from pipelines.model_reading import Model, read_model
from pipelines.native_logs import import_tensorflow
from pipelines.options import InferenceOptions, ScoreOptions
from pipelines.output_folder import OutputFolder
from pipelines.plan import JobPlan, columns_as_text
from pipelines.planned_inputs import read_inputs
from pipelines.refusals import refusals
from pipelines.resume import committed_splits, is_finished, require_same_job
from pipelines.sinks import sink_class
from pipelines.sinks.base import Sink, arranged_schema
from pipelines.sources.base import Source, SourcePlan
from pipelines.splits import InputFile, numbered
from pipelines.user_code import UserFunction, load_function
from transforms.engine.opening import predictor_of
from transforms.engine.registry import Lease
from transforms.engine.replicas import open_replicas
from transforms.engine.signature import Signature
from transforms.inference import PredictBlocks

_LOG = logging.getLogger(__name__)

# Of --max_host_memory, each open part.
_PART_SHARE = 16


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that fits together, ready to run.

    Attributes:
      files: the input.
      feeding: the source, prepared for the workers, and what becomes of its columns.
      output_schema: columns of the parts; None where only building the model can tell.
      predict: from blocks to scored blocks.
      lease: the right to the loaded model, where it is loaded already; to be released.
      earlier: plan of a job whose output `--overwrite` gives up.
      input_schema: all columns that the source can give.
      committed: splits that an earlier run of this job has committed.
      resumes: whether the plan is one that the folder holds already.
      succeeded: whether the folder says so of it all the same: files of it are gone.
    """

    options: ScoreOptions
    plan: JobPlan
    model: Model
    files: tuple[InputFile, ...]
    feeding: Feeding
    sink: Sink
    output_schema: pa.Schema | None
    predict: PredictBlocks
    lease: Lease | None
    folder: OutputFolder
    earlier: JobPlan | None
    input_schema: pa.Schema
    committed: int = 0
    resumes: bool = False
    succeeded: bool = False


@dataclasses.dataclass(frozen=True)
class CommittedJob:
    """A command whose job is in its output folder with every split committed.

    Attributes:
      finished: it has succeeded too.
    """

    options: ScoreOptions
    plan: JobPlan
    folder: OutputFolder
    finished: bool


def check_job(
    options: ScoreOptions, *, workers: WorkerPlace, started_at: float
) -> Job | CommittedJob:
    """Checks a command against the model, the input, the output and the devices.

    Where the workers are threads of this process the model is loaded and traced now, once and
    for them too, so that what is wrong with it is found before any of them starts.

    Args:
      options: the command.
      workers: where they will run; those elsewhere check their devices themselves.
      started_at: seconds since 1970.

    Returns:
      What to run; or, without a look at the devices' memory, that nothing is left to run.

    Raises:
      CommandError: the command cannot be carried out; the message says why.
    """
    with refusals(), contextlib.ExitStack() as undo:
        sink = sink_class(options.output_format).from_args(options.format_flags)
        if options.max_host_memory is not None:
            sink = sink.bounded(max(1, options.max_host_memory // _PART_SHARE))
        folder = OutputFolder(options.output)
        earlier = folder.check(input_patterns(options.input), sink.suffix)
        resumed = None if options.overwrite else earlier
        found = None
        if resumed is not None:
            # Before TensorFlow, which takes seconds to start.
            found = match_files(options.input, options.input_format)
            settled = _settled_job(options, resumed, folder, *found)
            if settled is not None:
                return settled
        import_tensorflow()
        if workers != "elsewhere":
            check_devices(options.devices, options.logical_devices)
        if workers == "process" and (options.preprocess or options.model.custom_objects):
            # The user's code may start TensorFlow, after which devices cannot be cut.
            open_replicas(options.devices, options.logical_devices)
        function = load_function(options.preprocess) if options.preprocess else None
        model = read_model(
            options.model,
            precision=options.precision,
            complete=_needs_outputs(options, sink, workers),
        )
        name, files = found or match_files(options.input, options.input_format)
        mark = job_fingerprint(
            options, model.digest, model.signature.name, name, files,
            function.digest if function else None,
        )
        committed, succeeded = 0, False
        known = None
        if resumed is not None:
            known = read_inputs(folder)
            require_same_job(folder, resumed, known, mark, files)
            committed = len(committed_splits(folder, resumed))
            if committed == len(resumed.splits):
                return CommittedJob(options, resumed, folder, is_finished(folder, resumed))
            succeeded = storage.size_bytes(folder.success) is not None
            _note_split_bytes(options, resumed)
        planned = None
        if resumed is not None and known is not None:
            planned = SourcePlan(resumed.splits, known.schema, resumed.rows)
        source, planned = plan_source(name, files, options, planned)
        differ = source.gives_images and sizes_differ(files)
        feeding = _feeding(options, source, planned, model.signature, function, differ)
        lease = None
        if workers == "process":
            lease = open_model(model, score_arguments(options, feeding))
            undo.callback(lease.release)
            predictor = predictor_of(lease)
            outputs = predictor.outputs or predictor.signature.outputs
            model = dataclasses.replace(
                model, signature=dataclasses.replace(model.signature, outputs=outputs)
            )
            feeding = _feeding(options, source, planned, model.signature, function, differ)
        for note in feeding.notes:
            _LOG.warning("%s", note)
        output_schema = _check_outputs(model.signature, feeding, sink, options.provenance)
        predict = PredictBlocks(model.spec, **score_arguments(options, feeding))
        undo.pop_all()
    plan = resumed or JobPlan(
        splits=source.marked(numbered(planned.splits), files),
        row_unit=planned.row_unit or source.row_unit,
        columns=columns_as_text(planned.schema),
        output_format=sink.name,
        fingerprint=mark,
        arguments=plain_arguments(options),
        max_failed_fraction=options.max_failed_fraction,
        started_at=started_at,
        rows=planned.rows,
    )
    return Job(
        options, plan, model, tuple(files), feeding, sink, output_schema, predict, lease,
        folder, None if resumed else earlier, planned.schema, committed, resumed is not None,
        succeeded,
    )  # fmt: skip


def _settled_job(
    options: ScoreOptions,
    resumed: JobPlan,
    folder: OutputFolder,
    name: str,
    files: Sequence[InputFile],
) -> CommittedJob | None:
    """The job where nothing of it is left to score; None where there is, or where nothing tells.

    Raises:
      OutputError: the folder holds another job.
    """
    mark = known_fingerprint(options, resumed, name, files)
    if mark is None:
        return None
    require_same_job(folder, resumed, read_inputs(folder), mark, files)
    if len(committed_splits(folder, resumed)) < len(resumed.splits):
        return None
    return CommittedJob(options, resumed, folder, is_finished(folder, resumed))


def _needs_outputs(options: ScoreOptions, sink: Sink, workers: WorkerPlace) -> bool:
    """Whether it matters now what a model gives, where only building it can tell.

    A format that holds the most demanding types holds whatever a model gives. Columns that
    are not read may have the name of an output. In this process the model is built anyway.
    """
    demanding = (pa.list_(pa.list_(pa.float32())), pa.uint64())
    holds_all = all(sink.refusal(kind) is None for kind in demanding)
    matters = options.dry_run or not holds_all or options.keep not in (None, "all")
    return matters and workers != "process"


def plan_source(
    name: str,
    files: Sequence[InputFile],
    options: InferenceOptions,
    planned: SourcePlan | None = None,
) -> tuple[Source, SourcePlan]:
    """The source of a format, and how it reads some files.

    Args:
      name: of the format.
      files: all files of the input.
      options: the command's.
      planned: how the files were planned already, where that is known.

    Raises:
      CommandError: nothing can be read from them.
    """
    from pipelines.sources import source_of

    try:
        source = source_of(name, files, options.format_flags)
        return source, planned or source.plan(files, options.split_bytes)
    except OSError as error:
        raise CommandError(
            f"expected input files that can be read. Received: {type(error).__name__}: {error}. "
            "Check the path and its permissions."
        ) from error


def _note_split_bytes(options: ScoreOptions, resumed: JobPlan) -> None:
    planned = resumed.arguments.get("split_bytes")
    if planned != options.split_bytes:
        _LOG.info(
            "--split_bytes %d is passed over: the job was planned with %s and keeps its splits",
            options.split_bytes, planned,
        )  # fmt: skip


def _feeding(
    options: ScoreOptions,
    source: Source,
    planned: SourcePlan,
    signature: Signature,
    function: UserFunction | None,
    differ: bool,
) -> Feeding:
    return choose_feeding(
        source,
        planned.schema,
        signature,
        input_map=dict(options.input_map),
        keep=options.keep,
        function=function,
        image_size=options.image_size,
        sizes_differ=differ,
    )


def _check_outputs(
    signature: Signature, feeding: Feeding, sink: Sink, provenance: bool
) -> pa.Schema | None:
    if signature.outputs is None:
        return None
    scored = scored_schema(feeding.source.block_schema(), feeding.kept, signature.outputs)
    written = arranged_schema(scored, provenance)
    sink.check_schema(written)
    return written
