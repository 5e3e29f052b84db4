"""One line on a device: the worst thing that somebody can act on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prahari_hub.fleet.presence import Presence


@dataclass(frozen=True)
class Verdict:
    """``level`` is ok, warn, fail or unknown. ``code`` and ``args`` let a page say it in another language."""

    level: str
    code: str
    text: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Situation:
    """What the verdict is made of. ``faults``: (peripheral, fault); ``checks``: (name, state, text) that are not ok."""

    service: str
    presence: Presence
    ever_seen: bool
    faults: Sequence[tuple[str, str]] = ()
    checks: Sequence[tuple[str, str, str | None]] = ()
    twin_version: int = 0
    applied_version: int | None = None
    twin_outcome: str | None = None
    reported_version: int | None = None
    open_commands: int = 0


def verdict(now: Situation) -> Verdict:
    """The first rule that holds."""
    return next(found for rule in RULES if (found := rule(now)) is not None)


def _service(now: Situation) -> Verdict | None:
    if now.service == "retired":
        return Verdict("unknown", "retired", "Retired: it is no longer in service")
    if not now.ever_seen:
        return Verdict("unknown", "never-seen", "It has never connected: enrol it with a claim")
    return None


def _presence(now: Situation) -> Verdict | None:
    match now.presence:
        case Presence.OFFLINE:
            return Verdict("fail", "offline", "Offline: no word from it, check power and network at the site")
        case Presence.UNKNOWN:
            return Verdict("unknown", "unknown", "Not known: the hub has just started or lost the broker")
        case Presence.SUSPECT:
            return Verdict("warn", "suspect", "A heartbeat is missing; it may be going offline")
    return None


def _faults(now: Situation) -> Verdict | None:
    if not now.faults:
        return None
    peripheral, fault = now.faults[0]
    more = len(now.faults) - 1
    text = f"{peripheral}: {fault}" + (f" and {more} more" if more else "")
    return Verdict("fail", "fault", text, {"peripheral": peripheral, "fault": fault, "more": more})


def _failed(now: Situation) -> Verdict | None:
    return _check(now, "fail", "check-failed")


def _warned(now: Situation) -> Verdict | None:
    return _check(now, "warn", "check-warns")


def _check(now: Situation, state: str, code: str) -> Verdict | None:
    found = [check for check in now.checks if check[1] == state]
    if not found:
        return None
    name, _, said = found[0]
    return Verdict(state, code, f"{name}: {said or state}", {"check": name, "text": said})


def _twin(now: Situation) -> Verdict | None:
    if now.twin_version == (now.applied_version or 0):
        return None
    runs = now.applied_version or "its default"
    args = {"version": now.twin_version, "applied": now.applied_version}
    if now.twin_outcome == "rejected" and now.reported_version == now.twin_version:
        text = f"It refused configuration {now.twin_version} and runs {runs}"
        return Verdict("warn", "twin-rejected", text, args)
    return Verdict(
        "warn", "twin-pending", f"Configuration {now.twin_version} is on its way; it runs {runs}", args
    )


def _commands(now: Situation) -> Verdict | None:
    if not now.open_commands:
        return None
    many = f"{now.open_commands} command{'s' if now.open_commands > 1 else ''} open"
    return Verdict("ok", "commands-open", f"Working; {many}", {"count": now.open_commands})


def _fine(now: Situation) -> Verdict | None:
    if now.service == "maintenance":
        return Verdict("ok", "maintenance", "Working; in maintenance, its faults raise no incidents")
    return Verdict("ok", "fine", "Working: nothing to do")


RULES = (_service, _presence, _faults, _failed, _twin, _warned, _commands, _fine)
