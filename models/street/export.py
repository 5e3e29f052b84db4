"""The trained network as a TFLite file of 8-bit numbers, with the manifest that the agent reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data
import numpy as np
import recipe
import tensorflow as tf

_MANIFEST = """\
# Written by models/street/train.py; what the model was measured on stands in README.md beside it.
name = "{name}"
file = "{name}.tflite"
sha256 = "{sha256}"
allowed = [{labels}]

[labels]
file = "labels.txt"

[input]
width = {width}
height = {height}
dtype = "uint8"

[output]
format = "grid"
order = [{order}]
box = "cxcywh"
scores = "logits"

[thresholds]
default = 0.4
two-wheeler = 0.5
animal = 0.5
car = 0.5
"""


def write(model: Any, frames: Path, folder: Path) -> Path:
    """Write model, labels and manifest into ``folder``; gives the manifest's path. ``frames`` tell the ranges of the numbers within."""
    content = quantised(model, frames)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{recipe.NAME}.tflite").write_bytes(content)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in recipe.CLASSES))
    manifest = folder / f"{recipe.NAME}.toml"
    manifest.write_text(
        _MANIFEST.format(
            name=recipe.NAME,
            sha256=hashlib.sha256(content).hexdigest(),
            order=", ".join(f'"{part}"' for part in _order(content, model, frames)),
            labels=", ".join(f'"{label}"' for label in recipe.CLASSES),
            width=recipe.WIDTH,
            height=recipe.HEIGHT,
        )
    )
    return manifest


def quantised(model: Any, frames: Path) -> bytes:
    """The model with 8-bit weights and cells; pixels come in as they are, 0 to 255."""
    picture = tf.keras.layers.Input((recipe.HEIGHT, recipe.WIDTH, 3), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(
        tf.keras.Model(picture, model(picture, training=False))
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _pictures(frames)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _order(content: bytes, model: Any, frames: Path) -> list[str]:
    """In which order the file gives its tensors: the conversion decides, and both may have the same shape."""
    picture = next(_pictures(frames))[0]
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], np.rint(picture * 255).astype(np.uint8)
    )
    interpreter.invoke()
    scores = model(picture, training=False)[0].numpy()
    apart = []
    for one in interpreter.get_output_details():
        scale, zero = one["quantization"]
        given = (interpreter.get_tensor(one["index"]).astype(np.float32) - zero) * scale
        apart.append(float(np.abs(given - scores).mean()) if given.shape == scores.shape else float("inf"))
    return ["scores", "boxes"] if apart[0] < apart[1] else ["boxes", "scores"]


def _pictures(frames: Path) -> Iterator[list[Any]]:
    """Whole drawn frames, evenly over all, the way the agent gives them; the first holds both ends of the range of a pixel."""
    known = data.Frames(frames)
    known.refresh()
    step = max(1, len(known.known) // recipe.SAMPLES_FOR_QUANTISATION)
    for number, one in enumerate(known.known[::step]):
        picture = data.whole(data.read(one)[0]).astype(np.float32) / 255
        if number == 0:
            picture[0, :2] = ((0, 0, 0), (1, 1, 1))
        yield [picture[np.newaxis]]
