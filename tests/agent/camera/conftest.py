"""A camera's surroundings that remember, models small enough to write here, and the generated clip."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from prahari_agent.peripheral import Surroundings
from prahari_agent.street.clip import ensure_clip
from prahari_wire.base import Clock, Message
from prahari_wire.envelope import Stamp

TYPES = {np.dtype(np.uint8): schema.TensorType.UINT8, np.dtype(np.float32): schema.TensorType.FLOAT32}


@dataclass
class Kept:
    """What a camera gave to the agent's core, in order; ``full`` refuses events as a full disk does."""

    home: Path
    said: list[tuple[str, Any]] = field(default_factory=list)
    credentials: tuple[str, str] | None = None
    full: bool = False
    on_emit: Callable[[str], None] = lambda kind: None

    def emit(
        self, kind: str, body: Message, *, peripheral: str | None = None, stamp: Stamp | None = None
    ) -> int:
        assert peripheral == "cam1"
        if self.full:
            raise OSError(28, "No space left on device")
        self.said.append((kind, body))
        self.on_emit(kind)
        return len(self.said)

    def upload(self, data: bytes, content_type: str) -> str:
        assert content_type == "image/jpeg"
        self.said.append(("upload", data))
        return hashlib.sha256(data).hexdigest()

    def all(self, kind: str) -> list[Any]:
        return [body for said, body in list(self.said) if said == kind]

    def surroundings(self) -> Surroundings:
        return Surroundings(
            device="test-cam-01",
            home=self.home,
            board=None,  # type: ignore[arg-type]  # a camera has no pins
            emit=self.emit,
            upload=self.upload,
            fetch=lambda sha256, size: self.home / sha256,
            stamp=lambda: Stamp(
                at=datetime.now(UTC), mono_ms=int(time.monotonic() * 1000), clock=Clock.SYNCED
            ),
            undisputed=lambda: True,
            secret=lambda peripheral: self.credentials,
        )


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cam1")


@pytest.fixture(scope="session")
def clip(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The generated clip."""
    return made_once("clip", lambda folder: ensure_clip(folder / "street.mp4", seed=1)) / "street.mp4"


@pytest.fixture
def manifest(monkeypatch: pytest.MonkeyPatch, media: Path, root: Path) -> Path:
    """The manifest of the real model, which finds it through PRAHARI_MEDIA."""
    monkeypatch.setenv("PRAHARI_MEDIA", str(media.resolve()))
    return root / "tests/data/models/ssd_mobilenet_v1_coco.toml"


def _tensor(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), TYPES[dtype], buffer
    return tensor


def tiny_tflite(*outputs: NDArray[Any], dtype: type = np.uint8, side: int = 16) -> bytes:
    """A real TFLite model that takes a picture of ``side`` x ``side`` and always answers ``outputs``."""
    buffers = [schema.BufferT()]
    tensors = [_tensor("picture", (1, side, side, 3), np.dtype(dtype), 0)]
    for number, values in enumerate(outputs):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
        buffers.append(buffer)
        tensors.append(_tensor(f"output{number}", values.shape, np.dtype(np.float32), len(buffers) - 1))
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs = tensors, [], [0]
    graph.outputs = list(range(1, len(tensors)))
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], buffers, []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def ssd_outputs(*found: tuple[list[float], int, float]) -> list[NDArray[Any]]:
    """Outputs in the usual order of a model that always sees ``found``: (corners, class, score)."""
    return [
        np.array([[corners for corners, _, _ in found]]),
        np.array([[number for _, number, _ in found]]),
        np.array([[score for _, _, score in found]]),
        np.array([len(found)]),
    ]


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """write_model(**changes) writes a tiny model with labels and manifest; gives the manifest's path.

    ``content``: the model's bytes; ``labels``: the label file, None for none; the rest replaces lines of the manifest.
    """

    def write(content: bytes | None = None, labels: str | None = "???\nperson\ntv\n", **changes: str) -> Path:
        if content is None:
            content = tiny_tflite(*ssd_outputs(([0.1, 0.2, 0.5, 0.6], 0, 0.9), ([0, 0, 1, 1], 1, 0.1)))
        (tmp_path / "tiny.tflite").write_bytes(content)
        if labels is not None:
            (tmp_path / "labels.txt").write_text(labels)
        lines = {
            "name": 'name = "tiny"',
            "file": 'file = "tiny.tflite"',
            "sha256": f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
            "allowed": "",
            "labels": 'labels = { file = "labels.txt", offset = 1 }',
            "input": 'input = { width = 16, height = 16, dtype = "uint8" }',
            "output": 'output = { format = "ssd_postprocess" }',
            "thresholds": "thresholds = { default = 0.5 }",
        }
        path = tmp_path / "tiny.toml"
        path.write_text("\n".join({**lines, **changes}.values()))
        return path

    return write


@pytest.fixture(name="tiny_tflite")
def _tiny_tflite() -> Callable[..., bytes]:
    return tiny_tflite


@pytest.fixture(name="ssd_outputs")
def _ssd_outputs() -> Callable[..., list[NDArray[Any]]]:
    return ssd_outputs
