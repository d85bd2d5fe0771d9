"""Each example as a user would run it, held against the bare model."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.usefixtures("logical_cpus")

FLAGS = ["--runner=FnApiRunner", "--devices", "CPU:0,CPU:1"]


def read_lines(prefix: Path) -> list[str]:
    """All lines of the shards of one text output."""
    shards = sorted(prefix.parent.glob(f"{prefix.name}-?????-of-?????*"))
    assert shards, f"no shards at {prefix}"
    return [line for shard in shards for line in shard.read_text().splitlines()]


def read_rows(prefix: Path) -> list[dict[str, Any]]:
    """All JSON lines of one output."""
    return [json.loads(line) for line in read_lines(prefix)]


def test_custom_pipeline_counts_the_bare_models_classes(tmp_path: Path) -> None:
    import tensorflow as tf

    from examples import custom_pipeline

    tf.keras.utils.set_random_seed(1)
    layers = [tf.keras.layers.Input((6,), name="x"), tf.keras.layers.Dense(4, name="scores")]
    model = tf.keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    values = np.random.default_rng(2).normal(size=(101, 6)).astype(np.float32)
    # The last row group is one bad row: the table that comes of it is empty.
    column = pa.array([*values.tolist(), None], pa.list_(pa.float32()))
    pq.write_table(pa.table({"x": column}), tmp_path / "rows.parquet", row_group_size=101)

    arguments = ["--input", str(tmp_path / "*.parquet"), "--model", str(tmp_path / "model.keras")]
    custom_pipeline.run([*arguments, "--output", str(tmp_path / "counts"), *FLAGS])

    expected = collections.Counter(np.argmax(model(values).numpy(), axis=-1).tolist())
    counted = dict(map(int, line.split("\t")) for line in read_lines(tmp_path / "counts"))
    assert counted == expected
    assert [row["stage"] for row in read_rows(tmp_path / "counts-failed")] == ["convert"]


def test_device_preprocessing_equals_resizing_one_image_at_a_time(tmp_path: Path) -> None:
    import tensorflow as tf

    from examples import device_preprocessing

    tf.keras.utils.set_random_seed(3)
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 3), name="pixels"),
            tf.keras.layers.Conv2D(4, 3, activation="relu"),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(5, name="scores"),
        ]
    )
    model.save(tmp_path / "model.keras")
    random = np.random.default_rng(4)
    expected = {}
    for number in range(13):
        shape = (10 + 3 * (number % 3), 12, 3)
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        path.write_bytes(tf.io.encode_png(pixels).numpy())
        small = tf.image.resize(pixels[np.newaxis].astype(np.float32), (8, 8)) / 127.5 - 1.0
        expected[str(path)] = model(small).numpy()[0]

    arguments = ["--input", str(tmp_path / "*.png"), "--model", str(tmp_path / "model.keras")]
    arguments += ["--output", str(tmp_path / "scored"), "--size", "8,8", *FLAGS]
    device_preprocessing.run(arguments)

    scored = {row["path"]: row["scores"] for row in read_rows(tmp_path / "scored")}
    assert scored.keys() == expected.keys()
    for path, scores in expected.items():
        np.testing.assert_allclose(scored[path], scores, rtol=1e-4, atol=1e-5)


def test_tabular_inputs_equal_the_bare_model_and_keep_the_customer(tmp_path: Path) -> None:
    import tensorflow as tf

    from examples import tabular_inputs

    tf.keras.utils.set_random_seed(5)
    layers = tf.keras.layers
    cities = ["Basel", "Lima", "Osaka"]
    age, income = (layers.Input((1,), name=name) for name in ("age", "income"))
    city = layers.Input((1,), name="city", dtype="string")
    known = layers.StringLookup(vocabulary=cities, output_mode="one_hot")(city)
    numbers = layers.Concatenate()([age / 100.0, income / 100_000.0, known])
    model = tf.keras.Model([age, income, city], layers.Dense(1, name="churn")(numbers))
    model.save(tmp_path / "model.keras")
    random = np.random.default_rng(6)
    rows = [
        (f"c{number}", int(random.integers(18, 90)), int(random.integers(0, 200_000)), name)
        for number, name in enumerate(random.choice([*cities, "Unheard, of"], 37))
    ]
    lines = [f'{customer},{years},{money},"{name}"' for customer, years, money, name in rows]
    text = "\n".join(["customer,age,yearly_income,city", *lines, "nobody,,1,Lima"])
    (tmp_path / "customers.csv").write_text(text)

    arguments = ["--input", str(tmp_path / "customers.csv"), "--model"]
    arguments += [str(tmp_path / "model.keras"), "--output", str(tmp_path / "out"), *FLAGS]
    tabular_inputs.run(arguments)

    scored = {row["customer"]: row["churn"] for row in read_rows(tmp_path / "out-scored")}
    assert scored.keys() == {row[0] for row in rows}
    for customer, years, money, name in rows:
        values = [np.float32(years), np.float32(money), name]
        bare = model([tf.constant([[value]]) for value in values]).numpy()[0]
        np.testing.assert_allclose(scored[customer], bare, rtol=1e-4, atol=1e-5)
    (failed,) = read_rows(tmp_path / "out-failed")
    assert (failed["stage"], failed["data"]["customer"]) == ("convert", "nobody")
