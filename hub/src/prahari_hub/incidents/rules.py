"""From what happened to what an operator must handle: one table of event kinds, one of transitions. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prahari_wire import events
from prahari_wire.base import Severity
from prahari_wire.callbox import ButtonStuck, CallboxConfig, Press, SelfTest
from prahari_wire.camera import CameraConfig, CameraFault, Region, RuleEvent, RulePhase, Track, TrackPhase
from prahari_wire.display import DisplayConfig, DisplayFault
from prahari_wire.system import AgentFault, JournalSetAside, Shed
from prahari_wire.twin import Desired, PeripheralConfig

from prahari_hub.fleet.facts import Fact, Transition
from prahari_hub.fleet.presence import FLOODS
from prahari_hub.fleet.windows import PLANNED_POWER
from prahari_hub.http.words import WORDS

RANK = {severity: rank for rank, severity in enumerate(Severity)}
"""0 is the highest."""

OFFLINE, CLONE, FLAPPING = "device.offline", "device.clone", "device.flapping"
OUTAGE, FLEET_OUTAGE, PLACE_FAULT = "place.outage", "fleet.outage", "place.fault"
STRANGER, SECOND_KEY, FLOOD = "device.stranger", "claim.second_key", FLOODS
SELF_CLOSING = frozenset(
    {
        events.CAMERA_FAULT,
        events.DISPLAY_FAULT,
        events.BUTTON_STUCK,
        events.SELF_TEST,
        events.AGENT_FAULT,
        OFFLINE,
        FLAPPING,
        FLOOD,
        OUTAGE,
        FLEET_OUTAGE,
        PLACE_FAULT,
    }
)
"""Faults: once cleared and acknowledged they are over, and once cleared nobody is called. A call or a person stays until resolved."""

ALWAYS = frozenset({events.PRESS, STRANGER, SECOND_KEY})
"""Raised also for a device in maintenance or out of service."""


def suppresses(window: str, kind: str) -> bool:
    """Whether a window of this kind keeps an incident from being raised and told. A power cut explains faults and silence, not a person in
    a forbidden place; maintenance explains all but a press."""
    return kind in SELF_CLOSING if window == PLANNED_POWER else kind not in ALWAYS


@dataclass(frozen=True)
class Raise:
    """Open an incident under ``key``, or join the one that is open. ``source``, if given, is one of several causes (a track)
    that are over one by one."""

    key: str
    kind: str
    severity: Severity
    title: str
    detail: dict[str, Any] = field(default_factory=dict)
    snapshot: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Clear:
    """The cause under ``key`` is over; with ``source`` only that one of its causes."""

    key: str
    source: str | None = None
    snapshot: str | None = None


Verdict = Raise | Clear
Config = PeripheralConfig | None
"""What the twin says of the peripheral; None for one that it does not name."""


def judge(fact: Fact, config: Config) -> list[Verdict]:
    """What follows from one event. Whether it may raise (it may be late) is the service's to decide."""
    rule = RULES.get(fact.kind)
    return [] if rule is None else rule(fact, fact.body, config)


def judge_transition(transition: Transition, desired: Desired | None) -> list[Verdict]:
    """``desired``: the device's twin, which says what is out of reach when the device is."""
    rule = TRANSITIONS.get((transition.kind, transition.after))
    return [] if rule is None else [rule(transition, desired)]


def _key(fact: Fact, *parts: str) -> str:
    return "/".join((fact.device, fact.peripheral or "", *parts))


def _press(fact: Fact, body: Press, config: Config) -> list[Verdict]:
    detail = {"press": body.press, "presses": body.count}
    return [Raise(_key(fact, "press"), fact.kind, Severity.CRITICAL, "Emergency call", detail)]


def _track(fact: Fact, body: Track, config: Config) -> list[Verdict]:
    """One verdict a region that the object was in and that watches for its class."""
    regions = config.regions if isinstance(config, CameraConfig) else []
    watched = [region for region in regions if region.id in body.regions and _watches(region, body.label)]
    snapshot = body.snapshot.sha256 if body.snapshot else None
    found: list[Verdict] = []
    for region in watched:
        key = _key(fact, "track", region.id)
        detail = {
            "region": region.name,
            "label": body.label,
            "score": round(body.score, 3),
            "track": body.track,
        }
        title = f"{body.label.capitalize()} in {region.name}"
        found.append(Raise(key, fact.kind, region.severity, title, detail, snapshot, body.track))
        if body.phase is TrackPhase.ENDED:
            found.append(Clear(key, body.track, snapshot))
    return found


def _rule(fact: Fact, body: RuleEvent, config: Config) -> list[Verdict]:
    """One incident a rule, with its cases as causes. A rule that the twin knows no more raises nothing; the end of a case clears it."""
    key = _key(fact, "rule", body.rule)
    if body.phase is RulePhase.ENDED:
        return [Clear(key, body.event)]
    rules = config.rules if isinstance(config, CameraConfig) else []
    rule = next((rule for rule in rules if rule.id == body.rule), None)
    if rule is None:
        return []
    detail: dict[str, Any] = {
        "rule": rule.name,
        "type": body.type,
        "label": body.label,
        "score": round(body.score, 3),
        "track": body.event,
        "since": body.started_at.isoformat(),
    }
    title = f"{body.label.capitalize()}: {rule.name}"
    if body.count is not None:
        detail["count"] = body.count
        title = f"{body.count} at once: {rule.name}"
    if body.direction is not None:
        detail["direction"] = str(body.direction)
    snapshot = body.snapshot.sha256 if body.snapshot else None
    return [Raise(key, fact.kind, rule.severity, title, detail, snapshot, body.event)]


def _watches(region: Region, label: str) -> bool:
    return not region.classes or label in region.classes


def _camera_fault(fact: Fact, body: CameraFault, config: Config) -> list[Verdict]:
    key = _key(fact, "fault", body.fault)
    if not body.active:
        return [Clear(key)]
    severity = config.fault_severity if isinstance(config, CameraConfig) else Severity.MAJOR
    detail = {"fault": str(body.fault), "since": body.since.isoformat(), "note": body.detail}
    return [Raise(key, fact.kind, severity, f"Camera fault: {_said(body.fault)}", detail)]


def _said(fault: str) -> str:
    """As an operator reads it; the detail keeps the standard's name."""
    return WORDS["fault"].get(str(fault), str(fault))


def _display_fault(fact: Fact, body: DisplayFault, config: Config) -> list[Verdict]:
    key = _key(fact, "fault", body.fault)
    if not body.active:
        return [Clear(key)]
    severity = config.fault_severity if isinstance(config, DisplayConfig) else Severity.MINOR
    detail = {"fault": body.fault, "note": body.detail}
    return [Raise(key, fact.kind, severity, f"Display fault: {_said(body.fault)}", detail)]


def _stuck(fact: Fact, body: ButtonStuck, config: Config) -> list[Verdict]:
    key = _key(fact, "stuck")
    if not body.active:
        return [Clear(key)]
    return [Raise(key, fact.kind, Severity.MAJOR, "Button stuck", {"held_s": body.held_s})]


def _selftest(fact: Fact, body: SelfTest, config: Config) -> list[Verdict]:
    key = _key(fact, "selftest")
    if body.passed:
        return [Clear(key)]
    detail = {"lamp": body.lamp, "button": body.button, "note": body.detail}
    return [Raise(key, fact.kind, Severity.MAJOR, "Call box failed its self-test", detail)]


def _agent_fault(fact: Fact, body: AgentFault, config: Config) -> list[Verdict]:
    key = _key(fact, "agent", body.part)
    if not body.active:
        return [Clear(key)]
    severity = getattr(config, "fault_severity", Severity.MAJOR)
    detail = {"part": body.part, "note": body.detail}
    return [Raise(key, fact.kind, severity, f"The device's {body.part} fails", detail)]


def _shed(fact: Fact, body: Shed, config: Config) -> list[Verdict]:
    detail = {"class": body.cls, "count": body.count, "note": body.reason}
    return [Raise(_key(fact, "shed"), fact.kind, Severity.WARNING, "Events were given up", detail)]


def _set_aside(fact: Fact, body: JournalSetAside, config: Config) -> list[Verdict]:
    detail = {"file": body.file, "note": body.detail}
    return [Raise(_key(fact, "journal"), fact.kind, Severity.MINOR, "Broken event store set aside", detail)]


Rule = Callable[[Fact, Any, Config], list[Verdict]]
RULES: dict[str, Rule] = {
    events.PRESS: _press,
    events.TRACK: _track,
    events.RULE: _rule,
    events.CAMERA_FAULT: _camera_fault,
    events.DISPLAY_FAULT: _display_fault,
    events.BUTTON_STUCK: _stuck,
    events.SELF_TEST: _selftest,
    events.AGENT_FAULT: _agent_fault,
    events.SHED: _shed,
    events.SET_ASIDE: _set_aside,
}
NEEDS_CONFIG = frozenset(
    {events.TRACK, events.RULE, events.CAMERA_FAULT, events.DISPLAY_FAULT, events.AGENT_FAULT}
)


def silence(desired: Desired | None) -> Severity:
    """How bad it is that a device is offline: as bad as the worst of what it serves. A call box that is out of reach is critical."""
    served = desired.peripherals.values() if desired else ()
    found = [
        Severity.CRITICAL if isinstance(config, CallboxConfig) else config.fault_severity for config in served
    ]
    return min(found, key=RANK.__getitem__, default=Severity.MAJOR)


def _offline(transition: Transition, desired: Desired | None) -> Verdict:
    detail = {"note": transition.detail}
    return Raise(offline_key(transition.device), OFFLINE, silence(desired), "Device offline", detail)


def _online(transition: Transition, _desired: Desired | None) -> Verdict:
    return Clear(offline_key(transition.device))


def _clone(transition: Transition, _desired: Desired | None) -> Verdict:
    detail = {"note": transition.detail}
    return Raise(clone_key(transition.device), CLONE, Severity.CRITICAL, "Two boxes use one identity", detail)


def _single(transition: Transition, _desired: Desired | None) -> Verdict:
    return Clear(clone_key(transition.device))


def _stranger(transition: Transition, _desired: Desired | None) -> Verdict:
    title = "A box that was taken out of service speaks again"
    detail = {"note": transition.detail}
    return Raise(f"{transition.device}//stranger", STRANGER, Severity.CRITICAL, title, detail)


def _second_key(transition: Transition, _desired: Desired | None) -> Verdict:
    title = "Another box tried to use a claim that is taken"
    detail = {"note": transition.detail}
    return Raise(f"{transition.device}//second-key", SECOND_KEY, Severity.MAJOR, title, detail)


def _flood(transition: Transition, _desired: Desired | None) -> Verdict:
    title = "Floods the hub and is shut out for a while"
    return Raise(flood_key(transition.device), FLOOD, Severity.MAJOR, title, {"note": transition.detail})


def flapping(device: str, falls: int, desired: Desired | None) -> Raise:
    """A device that comes and goes: one incident with a count instead of one a fall."""
    return Raise(flapping_key(device), FLAPPING, silence(desired), flapping_title(falls), {"falls": falls})


def flapping_title(falls: int) -> str:
    return f"Comes and goes: offline {falls} times in an hour"


def offline_key(device: str) -> str:
    return f"{device}//offline"


def clone_key(device: str) -> str:
    return f"{device}//clone"


def flood_key(device: str) -> str:
    return f"{device}//flood"


def flapping_key(device: str) -> str:
    return f"{device}//flapping"


TRANSITIONS: dict[tuple[str, str], Callable[[Transition, Desired | None], Verdict]] = {
    ("presence", "offline"): _offline,
    ("presence", "online"): _online,
    ("clone", "clone"): _clone,
    ("clone", "single"): _single,
    (STRANGER, "alarm"): _stranger,
    (SECOND_KEY, "alarm"): _second_key,
    (FLOOD, "alarm"): _flood,
}
