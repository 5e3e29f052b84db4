"""A model's manifest: a TOML file that says everything needed to run the model and to trust it.

file = "ssd.tflite"                 # beside the manifest, absolute, or beginning with ${VARIABLE}
sha256 = "…"
[labels]   file, offset             # label of class c = lines[c + offset]
[input]    width, height, dtype     # uint8, int8 (pixel - 128), or float32 with mean and scale: (pixel - mean) * scale
[output]   format, …                # "ssd_postprocess", "yolo" or "grid", each with its own fields (outputs.py)
[thresholds] default, and a score for each label that needs its own
allowed = ["person", …]             # labels that may become tracks; all if left out
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from prahari_wire.base import field_errors
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prahari_agent.camera.outputs import Output
from prahari_agent.errors import SetupError

Unit = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[int, Field(ge=16, le=4096)]


class ModelRefused(SetupError):
    """A model or its manifest cannot be used; the camera runs its motion gate alone and says this sentence."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Labels(_Table):
    file: str
    offset: int = 0


class Input(_Table):
    width: Size
    height: Size
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
    mean: float = 127.5
    scale: float = 1 / 127.5


class Manifest(_Table):
    name: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    labels: Labels
    input: Input
    output: Output
    thresholds: dict[str, Unit] = {}
    allowed: list[str] | None = None

    def threshold(self, label: str) -> float:
        return self.thresholds.get(label, self.thresholds.get("default", 0.5))


class Model(_Table):
    """A checked manifest: ``content`` is the model file, whose hash is right; ``labels[class]`` is a class's name, "" if none."""

    manifest: Manifest
    content: bytes = Field(repr=False)
    labels: list[str]


def load_model(path: Path) -> Model:
    """Read and check the manifest, the model's hash and its labels, or raise ModelRefused."""
    manifest = _read(path)
    folder = path.resolve().parent
    content = _bytes(_located(manifest.file, folder), "the model file")
    digest = hashlib.sha256(content).hexdigest()
    if digest != manifest.sha256:
        raise ModelRefused(
            f"the model file {Path(manifest.file).name} has SHA-256 {digest[:12]}…, its manifest asks for "
            f"{manifest.sha256[:12]}…: copy the right file."
        )
    return Model(manifest=manifest, content=content, labels=_labels(manifest, folder))


def _read(path: Path) -> Manifest:
    text = _bytes(path, "the model's manifest")
    try:
        return Manifest.model_validate(tomllib.loads(text.decode()))
    except ValidationError as error:
        where, message = field_errors(error)[0]
        raise ModelRefused(f"the manifest {path.name} is wrong at {where}: {message}.") from error
    except ValueError as error:
        raise ModelRefused(f"the manifest {path.name} is no TOML: {error}.") from error


def _labels(manifest: Manifest, folder: Path) -> list[str]:
    path = _located(manifest.labels.file, folder)
    try:
        lines = [line.strip() for line in _bytes(path, "the label file").decode().splitlines()]
    except UnicodeDecodeError:
        raise ModelRefused(f"the label file {path.name} is no text in UTF-8: copy the right file.") from None
    labels = (
        lines[manifest.labels.offset :]
        if manifest.labels.offset >= 0
        else [""] * -manifest.labels.offset + lines
    )
    unknown = sorted(({*(manifest.allowed or ()), *manifest.thresholds} - {"default"}) - set(labels))
    if unknown:
        raise ModelRefused(
            f"the manifest names the label {unknown[0]!r}, which the label file {path.name} does not have: "
            "correct the name or the labels' offset."
        )
    return labels


def _located(text: str, folder: Path) -> Path:
    """A path as a manifest writes it: variables are expanded, a relative path is beside the manifest."""
    expanded = os.path.expandvars(text)
    if missing := re.search(r"\$\{(\w+)\}", expanded):
        raise ModelRefused(f"the manifest needs the environment variable {missing[1]}, which is not set.")
    return folder / expanded


def _bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelRefused(f"{what} {path} is missing: copy it there or correct the path.") from None
    except OSError as error:
        raise ModelRefused(f"{what} {path} cannot be read: {error.strerror}.") from None
