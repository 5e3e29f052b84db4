"""The generated clip: a short drawn street, the source of a camera where there is none."""

from __future__ import annotations

from pathlib import Path

from prahari_agent.street.traffic import passages
from prahari_agent.street.writer import write


def ensure_clip(path: Path, seed: int) -> Path:
    """The clip of ``seed`` at ``path``, drawn with its truth beside it if it is not there yet. The same seed gives the same file."""
    if not path.exists():
        write(path, passages(seed))
    return path
