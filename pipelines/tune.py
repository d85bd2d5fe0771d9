"""`mirrorbeam tune`: measures batch sizes on this machine's devices, and saves what it found."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence

from pipelines import storage
from pipelines.device_check import check_devices
from pipelines.errors import CommandError
from pipelines.feeding import Feeding, choose_feeding
from pipelines.image_padding import sizes_differ
from pipelines.inference_arguments import inference_arguments
from pipelines.inputs import match_files
from pipelines.model_reading import Model, read_model
from pipelines.native_logs import import_tensorflow
from pipelines.refusals import refusals
from pipelines.splits import Split
from pipelines.tune_candidates import Findings, Variant, measure_candidates
from pipelines.tune_options import TuneOptions
from pipelines.tune_plot import require_matplotlib, write_plot
from pipelines.tune_sample import Sample, read_blocks, take_sample
from pipelines.tune_summary import describe_findings, findings_as_json
from pipelines.user_code import load_function
from pipelines.validation import plan_source
from transforms.engine.errors import describe
from transforms.engine.opening import PredictorConfig
from transforms.engine.replicas import open_replicas
from transforms.engine.tuning_store import save_rows, user_store
from transforms.inference_setup import InferenceSetup

_LOG = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED = 0, 1


def run(flags: argparse.Namespace, beam_arguments: Sequence[str]) -> int:
    """Carries `mirrorbeam tune` out.

    Args:
      flags: what the parser understood.
      beam_arguments: none.

    Returns:
      The exit code: 0 done, 1 the model could not be run, or a file not be written.

    Raises:
      CommandError: the command was wrong.
    """
    del beam_arguments
    options = TuneOptions.from_namespace(flags)
    if options.plot is not None:
        require_matplotlib()
    import_tensorflow()
    with refusals():
        task = _prepare(options)
        try:
            findings = _measure(options, task)
        except _operation_error() as error:
            _LOG.error("the model cannot be run: %s", describe(error).message)
            return EXIT_FAILED
    _save(findings)
    sys.stdout.write(_describe_task(task, findings))
    sys.stdout.write(describe_findings(findings, options.tolerance))
    return _write_files(options, findings)


def variants_of(options: TuneOptions) -> tuple[Variant, ...]:
    """The command's own settings, then all others that it asks to try, each once."""
    precisions = dict.fromkeys([options.precision, *options.try_precision])
    compiled = dict.fromkeys([options.xla, options.xla or options.try_xla])
    return tuple(Variant(precision, xla) for precision in precisions for xla in compiled)


def reference_of(variants: Sequence[Variant]) -> Variant | None:
    """What outputs are compared with: float32, not compiled; None where nothing else is tried."""
    if len(variants) == 1:
        return None
    has_precisions = any(variant.precision for variant in variants)
    return Variant("float32" if has_precisions else None)


def _operation_error() -> type[Exception]:
    import tensorflow as tf

    kind: type[Exception] = tf.errors.OpError
    return kind


@dataclasses.dataclass(frozen=True)
class _Task:
    model: Model
    source: str
    files: int
    arguments: dict[str, object]
    sample: Sample


def _prepare(options: TuneOptions) -> _Task:
    check_devices(options.devices, options.logical_devices)
    if options.preprocess or options.model.custom_objects:
        # The user's code may start TensorFlow, after which devices cannot be cut.
        open_replicas(options.devices, options.logical_devices)
    function = load_function(options.preprocess) if options.preprocess else None
    model = read_model(options.model, precision=options.precision)
    if options.try_precision and model.kind == "saved_model":
        raise CommandError(
            f"expected a Keras file for --try_precision. Received: {model.spec.path}, a "
            "SavedModel, whose precision is part of its graph. Leave --try_precision out."
        )
    name, files = match_files(options.input, options.input_format)
    source, planned = plan_source(name, files, options)
    feeding = choose_feeding(
        source,
        planned.schema,
        model.signature,
        input_map=dict(options.input_map),
        keep=(),
        function=function,
        image_size=options.image_size,
        sizes_differ=source.gives_images and sizes_differ(files),
    )
    arguments = inference_arguments(options, feeding)
    sample = _sample(model, arguments, feeding, planned.splits)
    return _Task(model, source.name, len(files), arguments, sample)


def _sample(
    model: Model, arguments: dict[str, object], feeding: Feeding, splits: Sequence[Split]
) -> Sample:
    setup = _checked(model, arguments)
    blocks = read_blocks(feeding, splits)
    return take_sample(blocks, lambda schema: setup.feeds(schema, model.signature))


def _checked(model: Model, arguments: dict[str, object]) -> InferenceSetup:
    try:
        return InferenceSetup.checked(model.spec, **arguments)  # type: ignore[arg-type]
    except ValueError as error:
        raise CommandError(" ".join(str(error).split())) from error


def _measure(options: TuneOptions, task: _Task) -> Findings:
    def config_of(variant: Variant) -> PredictorConfig:
        settings = {"precision": variant.precision, "xla": variant.xla}
        setup = _checked(task.model, task.arguments | settings)
        return dataclasses.replace(setup.config, model=task.model.local)

    variants = variants_of(options)
    return measure_candidates(
        config_of,
        task.model.digest,
        task.sample.columns,
        variants,
        reference=reference_of(variants),
        seconds=options.tune_seconds,
        tolerance=options.tolerance,
    )


def _save(findings: Findings) -> None:
    for candidate in findings.candidates:
        if candidate.is_saved:
            assert candidate.sweep is not None
            assert candidate.key is not None
            sweep = candidate.sweep
            save_rows([user_store()], candidate.key, sweep.chosen, sweep.sizes)


def _describe_task(task: _Task, findings: Findings) -> str:
    sample, model = task.sample, task.model
    shapes = "" if sample.shapes == 1 else f", of the commonest of {sample.shapes} shapes"
    devices = ", ".join(name.rpartition("device:")[2] for name in findings.devices)
    return (
        f"input    {task.source}, {task.files:,} file{'' if task.files == 1 else 's'}; measured "
        f"with {sample.rows:,} of the first {sample.rows_read:,} rows{shapes}\n"
        f"model    {model.spec.path} ({model.kind}, {model.signature.name})\n"
        f"devices  {devices}\n"
    )


def _write_files(options: TuneOptions, findings: Findings) -> int:
    try:
        if options.plot is not None:
            write_plot(findings, options.model.path.rstrip("/").rpartition("/")[2], options.plot)
            sys.stdout.write(f"plot  {options.plot}\n")
        if options.json is not None:
            text = json.dumps(findings_as_json(findings), indent=1, ensure_ascii=False)
            with storage.create(options.json) as file:
                file.write(f"{text}\n".encode())
    except OSError as error:
        _LOG.error("expected files that can be written. Received: %s", error)
        return EXIT_FAILED
    return EXIT_DONE
