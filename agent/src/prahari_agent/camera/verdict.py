"""A camera's health in one line, from what its process last said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prahari_wire.health import State
from prahari_wire.owner import Denied, Owner

NOTE_LIMIT = 120
STALE_S = 90.0
"""Footage is late when its last segment was closed so long ago: the longest segment and some."""
RECORDING = "Recording"

Verdict = tuple[State, list[str], str]
"""State, faults, note."""


def verdict(facts: Mapping[str, Any] | None, down: str | None) -> Verdict:
    """``facts`` of the running process, None before it spoke; ``down``: why there is none or it cannot start."""
    if facts is None:
        return _noted(State.FAIL, ["Process"], down) if down else (State.UNKNOWN, [], "starting")
    faults = [str(fault) for fault in facts["faults"]]
    if faults:
        return _noted(State.FAIL, faults, facts["problem"] or ", ".join(faults))
    if facts["problem"]:
        return _noted(State.WARN, [], facts["problem"])
    if not facts["frames"]:
        return State.UNKNOWN, [], "waiting for the first picture"
    without = facts["without_model"]
    seen_by = (
        f"model {facts['model']}, {facts['detector_ms']:.0f} ms"
        if without is None
        else f"motion only: {without}"
    )
    if without not in (None, "no model"):
        return _noted(State.WARN, ["Model"], seen_by)
    if facts["ended"]:
        return _noted(State.OK, [], f"the file has been played to its end; {seen_by}")
    pace = f"{facts['fps']:.1f} fps, {facts['dropped']} dropped"
    uneasy = [f"{facts[what]} {what} an hour" for what in ("reconnections", "stalls") if facts[what]]
    return _noted(State.OK, [], "; ".join([seen_by, pace, *uneasy]))


def recorded(seen: Verdict, recorder: Mapping[str, Any] | None, trouble: str | None) -> Verdict:
    """``seen`` with what recording adds: ``recorder``, the recorder's facts, None where there is none; ``trouble`` of the footage kept."""
    state, faults, note = seen
    if recorder is None:
        return seen if trouble is None else _noted(_worse(state, State.WARN), faults, trouble)
    if (fault := recorder_trouble(recorder)) is not None:
        return _noted(State.FAIL, [*faults, RECORDING], fault)
    if trouble is not None:
        return _noted(_worse(state, State.WARN), faults, trouble)
    said = "recording begins" if recorder["age_s"] is None else "records"
    return _noted(state, faults, f"{note}; {said}" if note else said)


def by_terms(why: Denied, owner: Owner | None) -> Verdict:
    """Of a camera that its owner's terms keep off: no fault, but what has ended wants somebody to ask."""
    if why is Denied.ENDED and owner is not None and owner.until is not None:
        return State.WARN, [], f"off: the owner's consent ended on {owner.until:%Y-%m-%d}"
    state = State.UNKNOWN if why is Denied.CLOCK else State.OK
    return state, [], _OFF[why]


_OFF = {
    Denied.WITHDRAWN: "off: the owner has withdrawn the consent",
    Denied.ENDED: "off: the owner's consent has ended",
    Denied.HOURS: "off: outside of the owner's hours",
    Denied.CLOCK: "off: the owner's terms need the time, and the clock is not trusted yet",
}


def recorder_trouble(recorder: Mapping[str, Any]) -> str | None:
    """Why nothing is recorded, in a sentence, or None."""
    if recorder["problem"]:
        return str(recorder["problem"])
    age_s = recorder["age_s"]
    if age_s is not None and age_s > STALE_S:
        return f"no footage for {age_s:.0f} s: check that the camera gives a picture"
    return None


def _worse(one: State, other: State) -> State:
    order = [State.OK, State.UNKNOWN, State.WARN, State.FAIL]
    return max(one, other, key=order.index)


def _noted(state: State, faults: list[str], note: str) -> Verdict:
    return state, faults, note if len(note) <= NOTE_LIMIT else f"{note[: NOTE_LIMIT - 1]}…"
