"""Structured logs of the agent: one line an event, as JSON for journald or as plain text for a person.

structlog is loaded with the first line, or by ``configure``: a camera's process, which has next to nothing to say, does without it and
the asyncio that it brings, 4 MB.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from functools import cache
from typing import Any

from prahari_agent.lean import without


@cache
def _structlog() -> Any:
    with without("rich", "colorama", "better_exceptions"):
        import structlog
    return structlog


@cache
def _output() -> Any:
    """What writes lines: one that standard output does not take is lost, for a log on a full disk must not keep a press from going out."""

    class Output(_structlog().WriteLogger):  # type: ignore[misc]
        def msg(self, message: str) -> None:
            with suppress(OSError):
                super().msg(message)

        log = debug = info = warn = warning = msg
        fatal = failure = err = error = critical = exception = msg

    return Output


def configure(*, device: str, level: str = "info", as_json: bool = True) -> None:
    """Bind ``device`` to every line; standard output is where systemd and containers look."""
    structlog = _structlog()
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
        logger_factory=lambda *_args: _output()(sys.stdout),
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
        return getattr(_structlog().get_logger().bind(part=self._part, **_bound), method)


def get_logger(part: str) -> Any:
    return _Lazy(part)
