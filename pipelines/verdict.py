"""What holds a job up, from the seconds that its workers' stages took, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from transforms.engine.stage_times import DECODE, HOST_STAGES, READ, STAGES

DEVICE = "device"
# Devices that are busy for so much of the time leave little for faster hosts to win.
_DEVICE_SHARE = 0.7
# Images are decoded by threads of their own; all other sources in the threads that read.
_IMAGES = "images"


class Verdict(NamedTuple):
    """What bounds a job.

    Attributes:
      bound_by: `read`, `decode`, `device` or `write`; None where no worker said.
      advice: one sentence on what would help.
    """

    bound_by: str | None
    advice: str | None


def merged_stages(workers: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The stages of all worker processes, added up.

    Args:
      workers: what each process said last, with `wall_seconds` and `stages`.

    Returns:
      By stage: `seconds` and `cpu_seconds` of all threads, the `threads` in it at once, and
      `share`, its seconds out of those that its threads had. Nothing where no worker said.
    """
    timed = [worker for worker in workers if worker.get("stages")]
    merged: dict[str, dict[str, float]] = {}
    for name in STAGES if timed else ():
        found = [(worker["wall_seconds"], worker["stages"][name]) for worker in timed]
        seconds = sum(stage["seconds"] for _, stage in found)
        available = sum(wall * max(1, stage["threads"]) for wall, stage in found)
        merged[name] = {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(sum(stage["cpu_seconds"] for _, stage in found), 3),
            "threads": sum(stage["threads"] for _, stage in found),
            "share": _share(seconds, available),
        }
    return merged


def busy_share(workers: Iterable[Mapping[str, Any]]) -> float | None:
    """The part of the workers' time during which a batch was on their devices."""
    timed = [worker for worker in workers if worker.get("stages")]
    wall = sum(worker["wall_seconds"] for worker in timed)
    return _share(sum(worker["busy_seconds"] for worker in timed), wall) if timed else None


def judge(
    stages: Mapping[str, Mapping[str, float]],
    busy: float | None,
    arguments: Mapping[str, Any],
    devices: Sequence[str],
    source: str,
) -> Verdict:
    """Says what bounds a job.

    The devices do where they are busy most of the time, or more than the threads that feed
    them; else the stage in which these threads spent most of theirs.

    Args:
      stages: as `merged_stages` gives them.
      busy: the devices' busy share.
      arguments: the command's flags.
      devices: names of the devices that ran.
      source: name of the input format.
    """
    if not stages or busy is None:
        return Verdict(None, None)
    shares = {name: stages[name]["share"] for name in HOST_STAGES}
    if busy >= _DEVICE_SHARE or busy >= sum(shares.values()):
        return Verdict(DEVICE, _device_advice(arguments, devices))
    slowest = max(shares, key=lambda name: shares[name])
    if slowest == READ:
        return Verdict(READ, _read_advice(arguments))
    if slowest == DECODE:
        return Verdict(DECODE, _decode_advice(arguments, source))
    return Verdict(slowest, _write_advice(arguments))


def describe_verdict(report: Mapping[str, Any]) -> str | None:
    """One line for the summary; None where no worker said anything."""
    bound_by = report.get("bound_by")
    if bound_by is None:
        return None
    share = report["device_busy_share"]
    if bound_by == DEVICE:
        return f"device, busy {share:.0%} of the time. {report['advice']}"
    stage = report["stages"][bound_by]
    return (
        f"{bound_by}, {stage['share']:.0%} of its threads' time; the devices were busy "
        f"{share:.0%}. {report['advice']}"
    )


def _device_advice(arguments: Mapping[str, Any], devices: Sequence[str]) -> str:
    if not any("GPU:" in name for name in devices):
        return "Score on GPUs, or on more workers; mirrorbeam tune looks for a faster batch size."
    hints = ["add devices or workers", "run mirrorbeam tune for a faster batch size"]
    if arguments.get("precision") is None:
        hints.append("try --precision mixed_bfloat16")
    if not arguments.get("xla"):
        hints.append("try --xla")
    return _sentence(hints)


def _read_advice(arguments: Mapping[str, Any]) -> str:
    hints = ["read from storage nearer to the workers", "add workers or --direct_num_workers"]
    if _keeps_all(arguments):
        hints.append("read fewer columns with --keep")
    return _sentence(hints)


def _decode_advice(arguments: Mapping[str, Any], source: str) -> str:
    if source == _IMAGES:
        hints = ["give the workers more cores, which decode in threads", "store smaller images"]
    else:
        hints = ["add cores and --direct_num_workers, or workers, for more splits at once"]
        if source != "parquet":
            hints.append("store the input as Parquet")
    if _keeps_all(arguments):
        hints.append("decode fewer columns with --keep")
    return _sentence(hints)


def _write_advice(arguments: Mapping[str, Any]) -> str:
    hints = []
    if arguments.get("output_format") != "parquet":
        hints.append("write --output_format parquet")
    if _keeps_all(arguments):
        hints.append("copy fewer columns with --keep")
    return _sentence([*hints, "add workers or --direct_num_workers"])


def _keeps_all(arguments: Mapping[str, Any]) -> bool:
    """Whether `--keep` could leave columns out that are kept now."""
    return arguments.get("keep") in (None, "all")


def _sentence(hints: Sequence[str]) -> str:
    text = "; or ".join(hints)
    return f"{text[0].upper()}{text[1:]}."


def _share(seconds: float, available: float) -> float:
    return round(seconds / available, 4) if available > 0 else 0.0
