from __future__ import annotations

import inspect
import pickle
import traceback
from pathlib import Path

import pytest

from pipelines.user_code import FileFunction, UserCodeError, function_parameters, load_function

DOUBLE = '''
"""Doubles."""
FACTOR = 2


def double(value, bias=0):
    return scaled(value) + bias


def scaled(value):
    return FACTOR * value


def everything(*values):
    return values


def nothing():
    return 0


not_a_function = 3
'''


@pytest.fixture
def double_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.py"
    path.write_text(DOUBLE)
    return path


def test_a_function_of_a_file_travels_without_the_file(double_file: Path):
    function = load_function(f"{double_file}:double")
    double_file.unlink()
    travelled = pickle.loads(pickle.dumps(function))
    assert travelled(21) == 42
    assert travelled == function
    assert list(inspect.signature(travelled).parameters) == ["value", "bias"]
    assert function_parameters(travelled) == ("value",)


def test_the_digest_is_of_text_and_name_not_of_the_place(double_file: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere" / "double.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(DOUBLE)
    changed = tmp_path / "changed" / "double.py"
    changed.parent.mkdir()
    changed.write_text(DOUBLE.replace("FACTOR = 2", "FACTOR = 3"))
    digest = load_function(f"{double_file}:double").digest
    assert load_function(f"{elsewhere}:double").digest == digest
    assert load_function(f"{changed}:double").digest != digest
    assert load_function(f"{double_file}:scaled").digest != digest


def test_two_texts_of_one_file_name_live_side_by_side():
    first = FileFunction("f.py", "def f(x):\n    return x + 1\n", "f")
    second = FileFunction("f.py", "def f(x):\n    return x + 2\n", "f")
    assert (first(0), second(0), first(0)) == (1, 2, 1)


def test_a_function_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "userpackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "steps.py").write_text(DOUBLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    function = load_function("userpackage.steps:double")
    assert pickle.loads(pickle.dumps(function))(21, bias=1) == 43
    assert function.digest == FileFunction("steps.py", DOUBLE, "double").digest
    assert function_parameters(function) == ("value",)


def test_a_traceback_shows_the_line(tmp_path: Path):
    path = tmp_path / "broken.py"
    path.write_text("def broken(value):\n    return value / 0  # this line\n")
    function = pickle.loads(pickle.dumps(load_function(f"{path}:broken")))
    with pytest.raises(ZeroDivisionError) as caught:
        function(1)
    assert "return value / 0  # this line" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("double", "Name the function after a colon"),
        ("double.py:", "Name the function after a colon"),
        ("absent.py:double", "expected a readable Python file. Received: absent.py"),
        ("{file}:triple", "Functions there: double, everything, nothing, scaled"),
        ("{file}:not_a_function", "expected a function not_a_function in double.py. Received: int"),
        ("{file}:everything", "Received: everything(*values)"),
        ("{file}:nothing", "Received: nothing()"),
        ("no.such.module:double", "Received: no.such.module (ModuleNotFoundError"),
        ("json:no_such_function", "expected a function no_such_function in json"),
    ],
)
def test_what_cannot_be_used_is_refused(double_file: Path, reference: str, expected: str):
    with pytest.raises(UserCodeError) as caught:
        load_function(reference.format(file=double_file))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x:\n", "SyntaxError"),
        ("1 / 0\ndef f(x): ...\n", "ZeroDivisionError"),
        ("import no_such_sibling\ndef f(x): ...\n", "Only the file's text travels with the job"),
    ],
)
def test_a_file_that_does_not_run_is_refused(tmp_path: Path, text: str, expected: str):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserCodeError) as caught:
        load_function(f"{path}:f")
    assert expected in str(caught.value)


def test_control_flow_is_traced_by_autograph(tmp_path: Path, logical_cpus: int):
    import tensorflow as tf

    path = tmp_path / "flow.py"
    path.write_text(
        "import tensorflow as tf\n\n\n"
        "def flow(value):\n"
        "    if tf.reduce_sum(value) > 0:\n"
        "        value = value * 10\n"
        "    return value\n"
    )
    function = pickle.loads(pickle.dumps(load_function(f"{path}:flow")))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def step(value):
        return function(value)

    assert step(tf.constant([1.0, 2.0])).numpy().tolist() == [10.0, 20.0]
    assert step(tf.constant([-1.0])).numpy().tolist() == [-1.0]
