"""The hub's log: one line of JSON or of text for each event, on standard error.

A line of JSON names the process and its roles; one about a device or an incident carries its id in a field: ``extra=about(device=…)``
where the standard library's loggers speak, ``device=…`` where structlog's do. Secrets are taken out, and a line that repeats is spared.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TextIO

# structlog takes Rich and its colourings wherever it finds them, for drawings of tracebacks that a log of lines never has
_HIDDEN = [name for name in ("rich", "better_exceptions") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]
import structlog  # noqa: E402

for _name in _HIDDEN:
    del sys.modules[_name]

BURST, WINDOW_S = 30, 60.0
"""So many lines of one kind in a minute; what is more is counted and told in one line at its end."""
MOST_KINDS = 1000
ABOUT = ("device", "incident", "display", "command")
SECRET_FIELDS = re.compile(r"password|passphrase|secret|token|authorization|cookie|seed|sig$", re.IGNORECASE)
SECRETS = re.compile(
    r"prt_[\w-]+"  # an API token
    r"|FLT1-[0-9A-Z]{8}-[0-9A-Z]{24}-."  # a claim
    r"|\bS[AUONC][A-Z2-7]{40,}"  # the seed of an nkey
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password in a URL
    r"|(?<=token=)[\w-]{16,}"  # a one-time link
)
HIDDEN = "[hidden]"
Line = MutableMapping[str, Any]


def about(**ids: str | None) -> dict[str, str]:
    """The fields of a line: ``log.info("…", extra=about(device="pune-cam-01"))``."""
    return {name: value for name, value in ids.items() if value is not None}


def configure(*, form: str = "auto", level: str = "info", roles: Sequence[str] = ()) -> None:
    """``form`` is auto (text on a terminal, else JSON), json or text; libraries are heard from warnings on."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=(*ABOUT, "spared")),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _origin(roles) if as_json else _as_it_is,
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = Sparing(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("prahari_hub").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def without_secrets(_logger: Any, _method: str, line: Line) -> Line:
    """Hide fields that are named like secrets, and what looks like one in any text."""
    for name, value in line.items():
        if SECRET_FIELDS.search(name) and not name.startswith("_"):
            line[name] = HIDDEN
        elif isinstance(value, str):
            line[name] = SECRETS.sub(HIDDEN, value)
    return line


def _origin(roles: Sequence[str]) -> structlog.types.Processor:
    """Which process says it: several may write into one log."""
    fields = {"process": os.getpid(), "roles": ",".join(roles)}

    def add(_logger: Any, _method: str, line: Line) -> Line:
        line.update(fields)
        return line

    return add


def _as_it_is(_logger: Any, _method: str, line: Line) -> Line:
    return line


class Sparing(logging.StreamHandler[TextIO]):
    """Writes at most BURST lines of a kind in WINDOW_S, so that no flood fills the disk; a kind is a logger with its sentence."""

    def __init__(self, stream: TextIO, *, mono: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._mono = mono
        self._kinds: dict[tuple[str, str], list[float]] = {}  # begin of the window, lines in it
        self._next_s = mono() + WINDOW_S

    def emit(self, record: logging.LogRecord) -> None:
        now_s = self._mono()
        if now_s >= self._next_s or len(self._kinds) >= MOST_KINDS:
            self._next_s = now_s + WINDOW_S
            self._tell_spared(now_s)
        seen = self._kinds.setdefault((record.name, _kind(record)), [now_s, 0])
        if now_s - seen[0] >= WINDOW_S:
            self._tell_one(record.name, _kind(record), int(seen[1]) - BURST)
            seen[:] = [now_s, 0]
        seen[1] += 1
        if seen[1] <= BURST:
            super().emit(record)

    def _tell_spared(self, now_s: float) -> None:
        over = [kind for kind, seen in self._kinds.items() if now_s - seen[0] >= WINDOW_S]
        for name, sentence in over:
            self._tell_one(name, sentence, int(self._kinds.pop((name, sentence))[1]) - BURST)
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()

    def _tell_one(self, name: str, sentence: str, spared: int) -> None:
        if spared <= 0:
            return
        said = "%d more lines like this were left out: %s"
        record = logging.LogRecord(name, logging.WARNING, "", 0, said, (spared, sentence), None)
        record.spared = spared
        super().emit(record)


def _kind(record: logging.LogRecord) -> str:
    """The sentence before its values are put in; structlog's lines are dictionaries with theirs under ``event``."""
    said = record.msg
    return str(said.get("event", "")) if isinstance(said, dict) else str(said)
