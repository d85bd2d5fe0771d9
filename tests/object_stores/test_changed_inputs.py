"""Objects that are replaced while a split is read from them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pipelines import storage
from pipelines.inputs import match_files
from pipelines.sources.base import ReadRequest
from pipelines.sources.tfrecord import TFRecordSource
from pipelines.splits import Split
from pipelines.unchanged_inputs import InputChangedError, unchanged
from tests.object_stores.emulators import STORES, Store
from tests.pipelines.sources.frames import frame
from transforms.block import Block

RECORD_BYTES = 2**20


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param]() as store:
        yield store


def records(count: int, value: int = 0) -> bytes:
    return frame(bytes([value]) * RECORD_BYTES) * count


def opened(store: Store, name: str) -> tuple[Split, Iterator[Block]]:
    """A planned split of one object, and its blocks as a worker reads them."""
    source = TFRecordSource()
    _, files = match_files([store.path(name)])
    plan = source.plan(files, 2**40)
    (split,) = source.marked(plan.splits, files)
    source = source.prepared(ReadRequest(plan.schema, raw=True))
    return split, unchanged(split, source.read(split))


def require_noticed(split: Split, blocks: Iterator[Block]) -> list[Block]:
    """The blocks before the error: the split's last, without which it is not committed, is none."""
    found = []
    with pytest.raises(InputChangedError, match="as it was when the job was planned"):
        found.extend(blocks)
    assert not any(block.is_last for block in found)
    return found


def test_an_object_that_stays_is_read_at_one_request_more(store: Store) -> None:
    store.write("stays/a.tfrecord", records(3))
    _, blocks = opened(store, "stays/a.tfrecord")
    before = store.requests.copy()
    assert list(blocks)[-1].rows_in_split == 3
    heads = (store.requests - before)["HEAD"]
    # S3 is asked for the size of what is opened, and for what it is at the end.
    assert heads == (2 if store.root.startswith("s3") else 0)


# Of many records some are fetched when the object is another one.
@pytest.mark.parametrize(
    ("count", "change"), [(3, "shorter"), (3, "longer"), (3, "of the same size"), (40, "longer")])
def test_an_object_that_is_replaced_while_it_is_read(store: Store, count: int, change: str) -> None:
    name = f"replaced/{count} {change}.tfrecord"
    store.write(name, records(count))
    split, blocks = opened(store, name)
    next(blocks)
    if change == "of the same size":
        # Some stores tell the time in seconds.
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.01)
        store.write(name, records(count, 1))
    else:
        store.write(name, records(count + (1 if change == "longer" else -1), 1))
    require_noticed(split, blocks)


def test_an_object_that_is_replaced_before_it_is_read(store: Store) -> None:
    store.write("before/a.tfrecord", records(3))
    split, blocks = opened(store, "before/a.tfrecord")
    store.write("before/a.tfrecord", records(4))
    assert require_noticed(split, blocks)


def test_an_object_that_is_gone_when_it_was_read(store: Store) -> None:
    store.write("gone/a.tfrecord", records(3))
    split, blocks = opened(store, "gone/a.tfrecord")
    next(blocks)
    storage.delete([store.path("gone/a.tfrecord")])
    require_noticed(split, blocks)
