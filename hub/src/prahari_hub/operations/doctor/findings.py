"""What the doctor found, as sentences that are translated before their values are put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from prahari_hub.settings import Settings
from prahari_hub.store import Store


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


WORST = {Level.OK: 0, Level.WARN: 1, Level.FAIL: 2}


@dataclass(frozen=True)
class Finding:
    """``text`` and ``do`` (what a person does about it) have places {name} for ``values``."""

    subject: str
    level: Level
    text: str
    do: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)

    def said(self, translate: Callable[[str], str] = str) -> str:
        return translate(self.text).format(**self.values)

    def advice(self, translate: Callable[[str], str] = str) -> str | None:
        return None if self.do is None else translate(self.do).format(**self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "level": str(self.level),
            "said": self.said(),
            "do": self.advice(),
            "values": {name: _plain(value) for name, value in self.values.items()},
        }


@dataclass(frozen=True)
class Look:
    """What a check may use. ``thorough``: checks that read everything run too. ``store`` is None where it cannot be opened."""

    settings: Settings
    now: datetime
    store: Store | None
    thorough: bool = False


Check = Callable[[Look], list[Finding]]


def ok(subject: str, text: str, **values: object) -> list[Finding]:
    return [Finding(subject, Level.OK, text, None, values)]


def warn(subject: str, text: str, do: str, **values: object) -> list[Finding]:
    return [Finding(subject, Level.WARN, text, do, values)]


def fail(subject: str, text: str, do: str, **values: object) -> list[Finding]:
    return [Finding(subject, Level.FAIL, text, do, values)]


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | bool | None) else str(value)
