"""The networks that are scored; weights are random and always the same."""

from __future__ import annotations

from pathlib import Path

FEATURES, HIDDEN, CLASSES = 32, 64, 10
COLUMNS = tuple(f"f{number:02d}" for number in range(FEATURES))

# A SavedModel beside the Keras file whose one input is serialized tf.Examples.
EXAMPLES_MODEL = "examples_model"


def save_mlp(path: Path) -> None:
    """Saves a network of 32, 64 and 10 units: `features[n, 32]` to `scores[n, 10]`."""
    import keras

    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((FEATURES,), name="features"),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dense(CLASSES, name="scores"),
        ]
    ).save(path)


def save_mlp_of_columns(path: Path) -> None:
    """Saves the same network with 32 inputs of one number each: `f00[n, 1]` to `f31[n, 1]`."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = [keras.Input((1,), name=name) for name in COLUMNS]
    hidden = keras.layers.Dense(HIDDEN, activation="relu")(keras.layers.Concatenate()(inputs))
    keras.Model(inputs, keras.layers.Dense(CLASSES, name="scores")(hidden)).save(path)


def export_for_examples(folder: Path) -> None:
    """Exports the network in `folder` once more, for contenders that take tf.Examples only.

    Its signature parses `features` and, where a record has it, `id`, which it passes on.
    tfx-bsl cannot run what Keras 3 saves by itself, but it can run what `ExportArchive` writes.
    """
    import keras
    import tensorflow as tf

    model = keras.models.load_model(folder / "model.keras", compile=False)

    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(
            examples,
            {
                "features": tf.io.FixedLenFeature([FEATURES], tf.float32),
                "id": tf.io.FixedLenFeature([], tf.int64, default_value=-1),
            },
        )
        return {"scores": model(parsed["features"], training=False), "id": parsed["id"]}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, [tf.TensorSpec([None], tf.string, name="examples")])
    archive.write_out(str(folder / EXAMPLES_MODEL), verbose=False)
