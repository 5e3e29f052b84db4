"""A display's surroundings: real files, a clock that the test moves, and lists of what was emitted and uploaded."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prahari_agent.display.display import Display
from prahari_agent.errors import HubUnreachable
from prahari_agent.hardware.port import Power
from prahari_agent.peripheral import Surroundings
from prahari_wire import events
from prahari_wire.base import Clock, Message
from prahari_wire.display import (
    Content,
    DisplayConfig,
    ImageContent,
    Override,
    OverrideSet,
    PlaylistItem,
    TextContent,
)
from prahari_wire.envelope import Stamp
from prahari_wire.ids import ulid

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)


class BoardWithoutPins:
    name = "test bench"

    def temperature_c(self) -> float | None:
        return None

    def power(self) -> Power:
        return Power()

    def serial(self) -> str | None:
        return None

    def button(self, pin: int, **_: Any) -> Any:
        raise NotImplementedError

    def lamp(self, pin: int) -> Any:
        raise NotImplementedError


@dataclass
class Bench:
    """What a display sees of the agent, and what it did to it."""

    home: Path
    at: datetime = MIDNIGHT
    mono_ms: int = 1_000_000
    clock: Clock = Clock.SYNCED
    emitted: list[tuple[str, Message]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    reachable: bool = True

    def stamp(self) -> Stamp:
        return Stamp(at=self.at, mono_ms=self.mono_ms, clock=self.clock)

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.mono_ms += int(seconds * 1000)

    def emit(
        self, kind: str, body: Message, *, peripheral: str | None = None, stamp: Stamp | None = None
    ) -> int:
        assert peripheral == "sign1"
        assert events.parse_body(kind, body.model_dump(mode="json")) == body
        self.emitted.append((kind, body))
        self.steps.append(kind)
        return len(self.emitted)

    def upload(self, data: bytes, content_type: str) -> str:
        assert content_type == "image/png"
        self.uploads.append(data)
        self.steps.append("upload")
        return hashlib.sha256(data).hexdigest()

    def fetch(self, sha256: str, size: int) -> Path:
        if not self.reachable:
            raise HubUnreachable("the hub does not answer")
        path = self.files[sha256]
        assert path.stat().st_size == size
        return path

    def of(self, kind: str) -> list[Any]:
        return [body for was, body in self.emitted if was == kind]

    def surroundings(self) -> Surroundings:
        return Surroundings(
            device="pune-vms-01",
            home=self.home,
            board=BoardWithoutPins(),
            emit=self.emit,
            upload=self.upload,
            fetch=self.fetch,
            stamp=self.stamp,
            undisputed=lambda: True,
            secret=lambda peripheral: None,
        )

    def display(self, *, boot: str = "boot-1", **settings: Any) -> Display:
        return Display("sign1", self.surroundings(), boot=boot, **settings)

    def override(self, content: Content | str, *, expires_s: float = 3600, **fields: Any) -> Override:
        """One that is issued now."""
        shown = TextContent(text=content) if isinstance(content, str) else content
        values = {"cls": 6, "lease_s": 60} | fields
        expires_at = self.at + timedelta(seconds=expires_s)
        return Override(id=ulid(), issued_at=self.at, expires_at=expires_at, content=shown, **values)

    @staticmethod
    def override_set(epoch: int, *overrides: Override) -> OverrideSet:
        return OverrideSet(id=ulid(), display="sign1", epoch=epoch, overrides=list(overrides))

    @staticmethod
    def playlist(*contents: Content | str, **fields: Any) -> DisplayConfig:
        """Items item1, item2 and so on, 10 s each."""
        shown = [TextContent(text=content) if isinstance(content, str) else content for content in contents]
        items = [PlaylistItem(id=f"item{number}", content=content) for number, content in enumerate(shown, 1)]
        return DisplayConfig(playlist=items, **fields)

    def picture(self, image: Image.Image, format: str = "PNG", **fields: Any) -> ImageContent:
        """Content that fetch() has."""
        buffer = io.BytesIO()
        image.save(buffer, format)
        return self.file(buffer.getvalue(), **fields)

    def file(self, data: bytes, **fields: Any) -> ImageContent:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.home.parent / sha256
        path.write_bytes(data)
        self.files[sha256] = path
        return ImageContent(sha256=sha256, size=len(data), **fields)

    def frame(self) -> bytes:
        return (self.home / "frame.png").read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    home = tmp_path / "sign1"
    home.mkdir()
    return Bench(home)
