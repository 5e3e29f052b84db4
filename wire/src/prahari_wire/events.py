"""The one table of durable event kinds: body and outbox class."""

from __future__ import annotations

from typing import Any, NamedTuple

from prahari_wire.base import Message, Reason, Refused, validate
from prahari_wire.callbox import ButtonStuck, Press, SelfTest
from prahari_wire.camera import CameraFault, LineCount, RuleEvent, Track
from prahari_wire.command import CommandReport
from prahari_wire.display import DisplayFault, OverrideState, Shown
from prahari_wire.recording import Coverage, Sent
from prahari_wire.redaction import Redacted
from prahari_wire.system import AgentFault, JournalSetAside, Shed
from prahari_wire.twin import TwinReport


class Kind(NamedTuple):
    """``cls`` is the outbox class: 0 press, override state; 1 alarms; 2 state changes; 3 evidence and proof; 4 the rest."""

    body: type[Message]
    cls: int


PRESS = "callbox.press"
BUTTON_STUCK = "callbox.stuck"
SELF_TEST = "callbox.selftest"
TRACK = "camera.track"
RULE = "camera.rule"
LINE_COUNT = "camera.count"
CAMERA_FAULT = "camera.fault"
SHOWN = "display.shown"
DISPLAY_FAULT = "display.fault"
OVERRIDE_STATE = "override.state"
COMMAND_STATE = "command.state"
TWIN_REPORT = "twin.report"
SHED = "outbox.shed"
SET_ASIDE = "outbox.set_aside"
AGENT_FAULT = "agent.fault"
COVERAGE = "recording.coverage"
SENT = "recording.sent"
REDACTED = "recording.redacted"

KINDS: dict[str, Kind] = {
    PRESS: Kind(Press, 0),
    OVERRIDE_STATE: Kind(OverrideState, 0),
    TRACK: Kind(Track, 1),
    RULE: Kind(RuleEvent, 1),
    CAMERA_FAULT: Kind(CameraFault, 1),
    BUTTON_STUCK: Kind(ButtonStuck, 1),
    DISPLAY_FAULT: Kind(DisplayFault, 1),
    AGENT_FAULT: Kind(AgentFault, 1),
    SET_ASIDE: Kind(JournalSetAside, 1),
    SHED: Kind(Shed, 1),
    COMMAND_STATE: Kind(CommandReport, 2),
    TWIN_REPORT: Kind(TwinReport, 2),
    SELF_TEST: Kind(SelfTest, 2),
    SHOWN: Kind(Shown, 3),
    COVERAGE: Kind(Coverage, 3),
    SENT: Kind(Sent, 3),
    REDACTED: Kind(Redacted, 3),
    LINE_COUNT: Kind(LineCount, 4),
}


def parse_body(kind: str, body: dict[str, Any]) -> Message:
    """The typed body of an event, or Refused."""
    known = KINDS.get(kind)
    if known is None:
        raise Refused(Reason.UNKNOWN_KIND, f"no event kind {kind[:60]!r}")
    return validate(known.body, body)
