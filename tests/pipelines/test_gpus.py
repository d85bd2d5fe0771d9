"""Which machines have the GPUs that a command asks for."""

from __future__ import annotations

import pytest

from pipelines.gpus import Gpus, machine_for, parse_gpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nvidia-l4:4", Gpus("nvidia-l4", 4)), ("nvidia-tesla-t4", Gpus("nvidia-tesla-t4", 1))],
)
def test_gpus_are_a_kind_and_a_count(text: str, expected: Gpus) -> None:
    assert parse_gpus(text) == expected
    assert parse_gpus(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "4", "nvidia-l4:", "nvidia-l4:0", "l4:two", "L4", "l4;n:2"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected KIND:COUNT.*Received: "):
        parse_gpus(text)


@pytest.mark.parametrize(
    ("gpus", "machine"),
    [
        ("nvidia-l4:1", "g2-standard-12"),
        ("nvidia-l4:4", "g2-standard-48"),
        ("nvidia-l4:8", "g2-standard-96"),
        ("nvidia-tesla-t4:2", "n1-standard-16"),
        ("nvidia-tesla-a100:16", "a2-megagpu-16g"),
        ("nvidia-a100-80gb:2", "a2-ultragpu-2g"),
        ("nvidia-h100-80gb:8", "a3-highgpu-8g"),
    ],
)
def test_each_count_has_a_machine(gpus: str, machine: str) -> None:
    assert machine_for(parse_gpus(gpus), None) == machine
    assert machine_for(parse_gpus(gpus), machine) == machine


@pytest.mark.parametrize(
    ("gpus", "machine"),
    [
        ("nvidia-l4:1", "g2-standard-4"),
        ("nvidia-l4:1", "g2-custom-8-65536"),
        ("nvidia-tesla-t4:4", "n1-highmem-64"),
        ("nvidia-b300:8", "a9-highgpu-8g"),
    ],
)
def test_a_fitting_machine_is_left_as_it_is(gpus: str, machine: str) -> None:
    assert machine_for(parse_gpus(gpus), machine) == machine


@pytest.mark.parametrize(
    ("gpus", "machine", "says"),
    [
        ("nvidia-l4:3", None, "1, 2, 4, 8"),
        ("nvidia-l4:4", "n1-standard-32", "g2-standard-48"),
        ("nvidia-l4:4", "g2-standard-24", "g2-standard-48"),
        ("nvidia-l4:2", "g2-standard-8", "g2-standard-24"),
        ("nvidia-tesla-a100:4", "a2-highgpu-8g", "a2-highgpu-4g"),
        ("nvidia-tesla-t4:1", "g2-standard-12", "n1-standard-8"),
        ("nvidia-b300:8", None, "--machine_type"),
    ],
)
def test_a_machine_without_these_gpus_is_refused(
    gpus: str, machine: str | None, says: str
) -> None:
    with pytest.raises(ValueError, match=r"expected .* Received: ") as error:
        machine_for(parse_gpus(gpus), machine)
    assert says in str(error.value)
