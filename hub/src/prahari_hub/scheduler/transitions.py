"""From transitions to incidents: each is told once, in order, and one that cannot be handled does not hold up the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from prahari_hub import metrics
from prahari_hub.fleet import transitions
from prahari_hub.fleet.facts import Transition
from prahari_hub.fleet.presence import STILL_OFFLINE
from prahari_hub.incidents import service as incidents
from prahari_hub.store import Unit

READER = "scheduler.incidents"
AT_ONCE = 500
log = logging.getLogger(__name__)


def tell_incidents(unit: Unit, act: Callable[[Unit, Transition], None] = incidents.on_transition) -> bool:
    """Act on the next transitions; whether there may be more."""
    found = transitions.unread(unit, READER, limit=AT_ONCE)
    for transition in found:
        if transition.detail == STILL_OFFLINE:
            continue  # no news: somebody may have closed its incident since
        told, after = len(unit.changes), len(unit.callbacks)
        try:
            with unit.conn.begin_nested():
                act(unit, transition)
        except OperationalError:
            raise
        except Exception:
            del unit.changes[told:], unit.callbacks[after:]
            metrics.WORKER_FAILURES.labels("transitions").inc()
            log.exception("transition %d of %s could not be handled", transition.id, transition.device)
    if found:
        transitions.have_read(unit, READER, found[-1].id)
    return len(found) == AT_ONCE
