"""The port to what lights the pixels, and the player that leaves the frame as a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from prahari_agent.display.renderer import Frame
from prahari_agent.errors import SourceError

FRAME_FILE = "frame.png"


class Player(Protocol):
    """Shows one frame until it is given the next. Calls come from one thread."""

    def show(self, frame: Frame) -> None:
        """Returns when the frame is out; SourceError: it is not, try again later."""
        ...

    def fault(self) -> str | None:
        """One sentence on why nothing can be shown at present, or None."""
        ...

    def close(self) -> None: ...


class FramePlayer:
    """Leaves each frame in ``home/frame.png`` for an LED sender; whoever reads it sees a whole picture, old or new."""

    def __init__(self, home: Path) -> None:
        self._path = home / FRAME_FILE
        self._fault: str | None = None

    def show(self, frame: Frame) -> None:
        try:
            write_frame(self._path, frame)
        except OSError as error:
            self._fault = (
                f"The frame cannot be written ({error.strerror}): free space or mount the disk writable."
            )
            raise SourceError(self._fault) from error
        self._fault = None

    def fault(self) -> str | None:
        return self._fault

    def close(self) -> None:
        """Nothing to end: the last frame stays."""


def write_frame(path: Path, frame: Frame) -> None:
    """Replace the file at once. It is not synced to disk: after a power cut the display is drawn anew anyway."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.write_bytes(frame.png)
    beside.replace(path)
