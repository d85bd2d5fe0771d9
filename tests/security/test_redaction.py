"""Credentials are in nothing that is written, logged or shown."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from pipelines.failed_rows import failed_schema, failures_to_batch
from pipelines.redaction import redacted, redacted_values
from tests.faults.kill_points import Job
from tests.pipelines.jobs import INPUT_SCHEMA, failure
from tests.processes import python

SECRET = "s3cr3t"


@pytest.mark.parametrize(("text", "shown"), [
    ("postgresql://user:s3cr3t@host/db", "postgresql://user:***@host/db"),
    ("postgresql://user:s3@cr:3t@host/db?x=1", "postgresql://user:***@host/db?x=1"),
    ("https://h/m?X-Goog-Signature=s3cr3t&x=1", "https://h/m?X-Goog-Signature=***&x=1"),
    ("h?X-Amz-Credential=s3cr3t&X-Amz-Security-Token=s3cr3t",
     "h?X-Amz-Credential=***&X-Amz-Security-Token=***"),
    ("h?sv=1&sig=s3cr3t", "h?sv=1&sig=***"),
    ("--s3_secret_access_key=s3cr3t --x=1", "--s3_secret_access_key=*** --x=1"),
    ("--s3_session_token s3cr3t --x=1", "--s3_session_token *** --x=1"),
    ("{'password': 's3cr3t', 'a': 'b'}", "{'password': '***', 'a': 'b'}"),
    ("host=h password=s3cr3t dbname=d", "host=h password=*** dbname=d"),
])  # fmt: skip
def test_what_is_taken_out(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown
    assert redacted_values({"a": [text, 1, None, (text,)]}) == {"a": [shown, 1, None, [shown]]}


@pytest.mark.parametrize("text", [
    "gs://bucket/token=3/part.parquet", "Pass --input_map token=COLUMN", "sign=1", "tokens=5",
    "expected column 'token' as float32[?]", "s3://bucket/secret/x", "a:b@c", "--max_tokens=3",
    "12:30:01 I pipelines: x", "file:///a/b", "--input_map key=column",
])  # fmt: skip
def test_what_stays(text: str) -> None:
    assert redacted(text) == text


def test_long_texts_take_no_time() -> None:
    started = time.process_time()
    for text in ("a" * 200_000, "a-" * 100_000, "x://" * 50_000, "'a" * 100_000, "--" * 100_000):
        redacted(text)
    assert time.process_time() - started < 20


def test_messages_of_failed_rows() -> None:
    row = failure(0)._replace(message=f"cannot open https://h/x?sig={SECRET}")
    batch = failures_to_batch([row], failed_schema(INPUT_SCHEMA))
    assert batch.column("_message").to_pylist() == ["cannot open https://h/x?sig=***"]


@pytest.mark.slow
@pytest.mark.usefixtures("logical_cpus")
def test_a_whole_command_keeps_its_secrets(tmp_path: Path) -> None:
    job = Job(tmp_path, splits=2)
    flags = [
        f"--s3_secret_access_key={SECRET}", f"--s3_session_token={SECRET}",
        f"--profile={tmp_path}/p?sig={SECRET}",
    ]  # fmt: skip

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "pipelines", *job.arguments(*flags, *more), check=False)

    done = run()
    wrong = run(f"--input_format=csv?sig={SECRET}")
    refused = run("--model", f"https://user:{SECRET}@host/m.keras")
    assert (done.returncode, wrong.returncode, refused.returncode) == (0, 2, 2), done.stderr
    for said in (done, wrong, refused):
        assert SECRET not in said.stdout + said.stderr
    for path in job.out.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
