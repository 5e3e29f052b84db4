"""From transitions to incidents: each is told once, in order, and one that cannot be handled does not hold up the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.exc import OperationalError

from prahari_hub import metrics
from prahari_hub.fleet import transitions
from prahari_hub.fleet.facts import Transition
from prahari_hub.fleet.presence import STILL_OFFLINE
from prahari_hub.scheduler.silence import Silence, alone_
from prahari_hub.store import Unit

READER = "scheduler.incidents"
AT_ONCE = 2000
log = logging.getLogger(__name__)


def tell_incidents(unit: Unit, silence: Silence) -> bool:
    """Act on the next transitions; whether there may be more."""
    found = transitions.unread(unit, READER, limit=AT_ONCE)
    presence = [one for one in found if one.kind == "presence" and one.detail != STILL_OFFLINE]
    last = {one.device: one for one in presence if one.after in ("online", "offline")}
    _together(unit, silence.back, [one for one in last.values() if one.after == "online"])
    _together(unit, silence.fell, [one for one in last.values() if one.after == "offline"])
    service = {one.device: one for one in found if one.kind == "service"}
    _together(unit, silence.served, list(service.values()))
    for transition in found:
        if transition.kind not in ("presence", "service"):
            alone_(unit, transition)
    if found:
        transitions.have_read(unit, READER, found[-1].id)
    return len(found) == AT_ONCE


Act = Callable[[Unit, Sequence[Transition]], None]


def _together(unit: Unit, act: Act, told: Sequence[Transition]) -> None:
    """In bulk; one by one, without looking for a common cause, if that cannot be done."""
    if not told:
        return
    changes, after = len(unit.changes), len(unit.callbacks)
    try:
        with unit.conn.begin_nested():
            act(unit, told)
    except OperationalError:
        raise
    except Exception:
        del unit.changes[changes:], unit.callbacks[after:]
        metrics.WORKER_FAILURES.labels("transitions").inc()
        log.exception("%d transitions could not be handled together", len(told))
        for transition in told:
            alone_(unit, transition)
