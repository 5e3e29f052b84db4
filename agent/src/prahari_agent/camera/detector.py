"""The detector: one TFLite model behind its manifest. The only file that knows an inference runtime."""

from __future__ import annotations

import importlib
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.manifest import Model, ModelRefused
from prahari_agent.camera.outputs import Nonsense, Reader, Wrong

FLOOR = 0.2
"""Detections below are noise; those above keep a track alive and are pixelated, whatever the thresholds ask for."""
Answer = list[NDArray[Any]]
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


class Detector:
    """Loads the model and invokes it once; ModelRefused says in one sentence why it cannot be used.

    ``most_detections``: how many objects one inference can name.
    """

    def __init__(self, model: Model, *, threads: int = 1) -> None:
        self._take(model)
        self._interpreter = _interpreter(model, threads)
        self._input = self._checked_input()
        self._reader = self._checked_outputs()
        self._outputs = [
            (int(one["index"]), *one["quantization"]) for one in self._interpreter.get_output_details()
        ]
        self._grey: Answer | None = None
        self._self_test()

    def _take(self, model: Model) -> None:
        self.model = model
        self.manifest = model.manifest

    def reread(self, model: Model) -> Detector:
        """The same network as another manifest reads its answers; ModelRefused where they cannot be read so."""
        other = copy(self)
        other._take(model)
        other._reader = other._checked_outputs()
        other._self_test()
        return other

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
        return self.read(self.answer(rgb))

    def read(self, answer: Answer) -> list[Detection]:
        """What an answer of this network says."""
        found = self._reader.read(self._numbers(answer), FLOOR)
        return [
            Detection(label, min(1.0, float(score)), Box(*map(float, corners)).clipped())
            for corners, number, score in zip(*found, strict=True)
            if (label := self._label(int(number)))
        ]

    def _label(self, number: int) -> str:
        return self.model.labels[number] if 0 <= number < len(self.model.labels) else ""

    def answer(self, rgb: NDArray[np.uint8]) -> Answer:
        """What the network says of a picture, its tensors as they are."""
        wanted = self.manifest.input
        pixels: NDArray[Any] = rgb[np.newaxis]
        if wanted.dtype == "float32":
            pixels = (pixels.astype(np.float32) - wanted.mean) * np.float32(wanted.scale)
        elif wanted.dtype == "int8":
            pixels = (pixels ^ 0x80).view(np.int8)
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index, _, _ in self._outputs]

    def _numbers(self, answer: Answer) -> list[NDArray[np.float32]]:
        """What the tensors mean; scale 0: the numbers stand there as they are."""
        return [
            (values.astype(np.float32) - zero) * np.float32(scale) if scale else values.astype(np.float32)
            for values, (_, scale, zero) in zip(answer, self._outputs, strict=True)
        ]

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
        """What it says of a grey picture: a runtime that merely imports proves nothing."""
        try:
            if self._grey is None:
                self._grey = self.answer(np.full((self.height, self.width, 3), 127, np.uint8))
            found = self._reader.read(self._numbers(self._grey), FLOOR)
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
