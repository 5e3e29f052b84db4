"""Structured logs of the agent: one line an event, as JSON for journald or as plain text for a person."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any

from prahari_agent.lean import without

with without("rich", "colorama", "better_exceptions"):
    import structlog


class _Output(structlog.WriteLogger):
    """A line that standard output does not take is lost: a log on a full disk must not keep a press from going out."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure(*, device: str, level: str = "info", as_json: bool = True) -> None:
    """Bind ``device`` to every line; standard output is where systemd and containers look."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_args: _Output(sys.stdout),
        cache_logger_on_first_use=True,
    )
    _bound.clear()
    _bound.update(device=device)


_bound: dict[str, Any] = {}


class _Lazy:
    """A logger that binds the device at the time of the call: modules make theirs before the device is known."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __getattr__(self, method: str) -> Any:
        return getattr(structlog.get_logger().bind(part=self._part, **_bound), method)


def get_logger(part: str) -> Any:
    return _Lazy(part)
