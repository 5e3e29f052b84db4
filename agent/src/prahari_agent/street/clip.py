"""The generated clip: a short drawn street, the source of a camera where there is none."""

from __future__ import annotations

from pathlib import Path

from prahari_agent.street.scenes import SCENES
from prahari_agent.street.writer import write


def ensure_clip(path: Path, seed: int, scene: str = "passages") -> Path:
    """The clip of a scene at ``path``, drawn with its truth beside it if it is not there yet. The same seed gives the same file."""
    if not path.exists():
        write(path, SCENES[scene](seed))
    return path
