"""The detector: one TFLite model behind its manifest. The only file that knows an inference runtime."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.manifest import Model, ModelRefused
from prahari_agent.camera.outputs import Found, Nonsense, Reader, Wrong

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
        self._input = self._checked_input()
        self._reader = self._checked_outputs()
        self._outputs = [
            (int(one["index"]), *one["quantization"]) for one in self._interpreter.get_output_details()
        ]
        self._self_test()

    @property
    def most_detections(self) -> int:
        return self._reader.most

    @property
    def width(self) -> int:
        return self.manifest.input.width

    @property
    def height(self) -> int:
        return self.manifest.input.height

    def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """``rgb``: the picture at the model's own size, shape (height, width, 3). Everything scored FLOOR or more."""
        found = self._read(rgb)
        return [
            Detection(label, min(1.0, float(score)), Box(*map(float, corners)).clipped())
            for corners, number, score in zip(*found, strict=True)
            if (label := self._label(int(number)))
        ]

    def _label(self, number: int) -> str:
        return self.model.labels[number] if 0 <= number < len(self.model.labels) else ""

    def _read(self, rgb: NDArray[np.uint8]) -> Found:
        wanted = self.manifest.input
        pixels: NDArray[Any] = rgb[np.newaxis]
        if wanted.dtype == "float32":
            pixels = (pixels.astype(np.float32) - wanted.mean) * np.float32(wanted.scale)
        elif wanted.dtype == "int8":
            pixels = (pixels ^ 0x80).view(np.int8)
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return self._reader.read([self._tensor(*one) for one in self._outputs], FLOOR)

    def _tensor(self, index: int, scale: float, zero: int) -> NDArray[np.float32]:
        """The numbers that a tensor means; ``scale`` 0: they stand in it as they are."""
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values.astype(np.float32)

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

    def _checked_outputs(self) -> Reader:
        """What reads the tensors as the manifest describes them."""
        shapes = [tuple(int(side) for side in one["shape"]) for one in self._interpreter.get_output_details()]
        try:
            return self.manifest.output.reader(shapes, len(self.model.labels), (self.width, self.height))
        except Wrong as error:
            raise ModelRefused(
                f"the model {self.manifest.name} has the outputs {', '.join(map(_sides, shapes))}, its manifest says "
                f"{error}: correct the manifest or its labels, or use a model with these outputs."
            ) from None

    def _self_test(self) -> None:
        """Invoke on a grey picture: a runtime that merely imports proves nothing."""
        grey = np.full((self.height, self.width, 3), 127, np.uint8)
        try:
            found = self._read(grey)
        except Nonsense:
            raise self._nonsense() from None
        except (RuntimeError, ValueError) as error:
            raise ModelRefused(
                f"the model {self.manifest.name} fails when it runs ({_line(error)})."
            ) from error
        finite = bool(np.isfinite(found.boxes).all() and np.isfinite(found.scores).all())
        if not finite or not all(0 <= number < len(self.model.labels) for number in found.classes):
            raise self._nonsense()

    def _nonsense(self) -> ModelRefused:
        return ModelRefused(
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
