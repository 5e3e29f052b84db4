"""The detector: one TFLite model behind its manifest. The only file that knows an inference runtime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.manifest import Model, ModelRefused, Part

FLOOR = 0.2
"""Detections below are noise; those above keep a track alive and are pixelated, whatever the thresholds ask for."""
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


class Detector:
    """Loads the model and invokes it once; ModelRefused says in one sentence why it cannot be used.

    ``most_detections``: how many objects one inference can name.
    """

    def __init__(self, model: Model, *, threads: int = 1) -> None:
        self.model = model
        self.manifest = model.manifest
        self._interpreter = _interpreter(model, threads)
        self.most_detections = 0
        self._input = self._checked_input()
        self._outputs = self._checked_outputs()
        self._self_test()

    @property
    def width(self) -> int:
        return self.manifest.input.width

    @property
    def height(self) -> int:
        return self.manifest.input.height

    def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """``rgb``: the picture at the model's own size, shape (height, width, 3). Everything scored FLOOR or more."""
        boxes, classes, scores, count = self._invoke(rgb)
        found = []
        for corners, number, score in zip(boxes[:count], classes[:count], scores[:count], strict=True):
            label = self.model.labels[int(number)] if 0 <= number < len(self.model.labels) else ""
            if score >= FLOOR and label:
                found.append(Detection(label, min(1.0, float(score)), self._box(corners)))
        return found

    def _box(self, corners: NDArray[np.float32]) -> Box:
        a, b, c, d = (float(value) for value in corners)
        return (Box(b, a, d, c) if self.manifest.output.box == "yxyx" else Box(a, b, c, d)).clipped()

    def _invoke(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], int]:
        pixels: NDArray[Any] = rgb[np.newaxis]
        if self.manifest.input.dtype == "float32":
            pixels = (pixels.astype(np.float32) - self.manifest.input.mean) * np.float32(
                self.manifest.input.scale
            )
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        part = {name: self._interpreter.get_tensor(index)[0] for name, index in self._outputs.items()}
        return part["boxes"], part["classes"], part["scores"], int(part["count"])

    def _checked_input(self) -> int:
        wanted = self.manifest.input
        details = self._interpreter.get_input_details()
        shape, dtype = tuple(int(side) for side in details[0]["shape"]), np.dtype(details[0]["dtype"]).name
        if len(details) != 1 or shape != (1, wanted.height, wanted.width, 3) or dtype != wanted.dtype:
            raise ModelRefused(
                f"the model {self.manifest.name} takes {dtype} {_sides(shape)}, its manifest says {wanted.dtype} "
                f"1x{wanted.height}x{wanted.width}x3: correct the manifest or copy the right model."
            )
        return int(details[0]["index"])

    def _checked_outputs(self) -> Mapping[Part, int]:
        """Tensor of each part; the shapes are [1, n, 4], [1, n], [1, n] and [1] in the manifest's order."""
        details = self._interpreter.get_output_details()
        shapes = [tuple(int(side) for side in one["shape"]) for one in details]
        order = self.manifest.output.order
        most = next((shape[1] for shape in shapes if len(shape) == 3), 0)
        wanted = {"boxes": (1, most, 4), "classes": (1, most), "scores": (1, most), "count": (1,)}
        if set(order) != set(wanted) or shapes != [wanted[part] for part in order]:
            raise ModelRefused(
                f"the model {self.manifest.name} has the outputs {', '.join(map(_sides, shapes))}, its manifest says "
                f"{self.manifest.output.format} ({', '.join(order)}): use a model with these outputs."
            )
        self.most_detections = most
        return {part: int(one["index"]) for part, one in zip(order, details, strict=True)}

    def _self_test(self) -> None:
        """Invoke on a grey picture: a runtime that merely imports proves nothing."""
        grey = np.full((self.height, self.width, 3), 127, np.uint8)
        try:
            boxes, classes, scores, count = self._invoke(grey)
        except (RuntimeError, ValueError) as error:
            raise ModelRefused(
                f"the model {self.manifest.name} fails when it runs ({_line(error)})."
            ) from error
        sane = 0 <= count <= len(scores) and bool(np.isfinite(boxes).all() and np.isfinite(scores).all())
        known = len(self.model.labels)
        if not sane or (count and not (classes[:count].min() >= 0 and classes[:count].max() < known)):
            raise ModelRefused(
                f"the model {self.manifest.name} answers nonsense in its self-test: check outputs and labels in the manifest."
            )


def _interpreter(model: Model, threads: int) -> Any:
    try:
        interpreter = _runtime().Interpreter(model_content=model.content, num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError, SystemError) as error:
        raise ModelRefused(
            f"the model {model.manifest.name} cannot be loaded ({_line(error)}): copy a TFLite model that this box can run."
        ) from error
    return interpreter


def _runtime() -> Any:
    """ai-edge-litert first: on the same model it is much faster than tflite-runtime, which 32-bit boxes alone need."""
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ModelRefused(
        "no inference runtime is installed: install prahari-agent with the extra litert (or tflite)."
    )


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
