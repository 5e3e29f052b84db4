"""From devices that fall silent and come back to incidents: one for each cause, none for what is planned.

A device that fell is, in this order: under a window (nothing), part of an outage that holds (a child), flapping (counted), explained by a
place of which enough fell together (an outage begins), or an incident of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from prahari_wire.base import Message, Refused
from prahari_wire.events import parse_body
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from prahari_hub import metrics
from prahari_hub.fleet import intake, windows
from prahari_hub.fleet.facts import Fact, Transition
from prahari_hub.fleet.tables import transitions
from prahari_hub.fleet.tree import Tree
from prahari_hub.fleet.windows import Cover
from prahari_hub.incidents import flapping, of_place, outages, rootcause, service
from prahari_hub.incidents.of_place import Held
from prahari_hub.incidents.outages import Silent
from prahari_hub.incidents.rootcause import Bars, Flapping
from prahari_hub.incidents.rules import OFFLINE
from prahari_hub.incidents.tables import incidents
from prahari_hub.scheduler import census
from prahari_hub.scheduler.census import IN_CLAUSE, Census, Faulty, Standing
from prahari_hub.settings import Settings
from prahari_hub.store import Unit

HOUR = timedelta(hours=1)
log = logging.getLogger(__name__)


def bars_of(settings: Settings) -> Bars:
    return Bars(
        window=timedelta(seconds=settings.outage_window_s),
        share=settings.outage_share,
        least=settings.outage_devices,
        fleet_share=settings.outage_fleet_share,
    )


class Silence:
    """``fell`` and ``back`` take what transitions say, ``settle`` and ``follow`` run by the clock; each inside a caller's transaction.

    What is kept between two calls is a copy of what the store says and may be lost at any time.
    """

    def __init__(self, bars: Bars, flaps: Flapping) -> None:
        self._bars = bars
        self._flaps = flaps
        self._census = Census()

    def prepare(self, conn: Connection, now: datetime) -> None:
        """Outside any transaction that writes: bring the copy up to date."""
        self._census.look(conn, now, kept=census.KEPT)

    def back(self, unit: Unit, told: Sequence[Transition]) -> None:
        """Devices speak again: they leave their outages, and their own incidents clear."""
        ids = [transition.device for transition in told]
        outages.back(unit, ids)
        alone = with_incident(unit.conn, ids)
        for transition in told:
            if transition.device in alone:
                alone_(unit, transition)

    def fell(self, unit: Unit, told: Sequence[Transition]) -> None:
        """Devices are offline."""
        if not told:
            return
        self._census.look(unit.conn, unit.now)
        cover = Cover(windows.holding(unit.conn, unit.now), self._census.tree)
        known = census.standing(unit.conn, [transition.device for transition in told])
        rest = [
            transition
            for transition in told
            if (found := known.get(transition.device)) is not None
            and found.service not in ("maintenance", "retired")
            and cover.window(found.id, found.site) is None
        ]
        held = outages.held(unit.conn, [transition.device for transition in rest])
        rest = [transition for transition in rest if transition.device not in held]
        rest = self._flapping(unit, rest)
        rest = self._joined(unit, rest, known, outages.holding(unit.conn))
        rest = self._explained(unit, rest, known, cover)
        for transition in rest:
            alone_(unit, transition)

    def served(self, unit: Unit, told: Sequence[Transition]) -> None:
        """Devices changed their service. Out of service they leave their outages; active again, what is wrong with them is raised now."""
        outages.back(unit, [one.device for one in told if one.after in ("maintenance", "retired")])
        active = [one.device for one in told if one.after == "active" and one.before == "maintenance"]
        self._stands_for_itself(unit, active)
        raise_faults(unit, census.faults_of(unit.conn, active))

    def _flapping(self, unit: Unit, told: Sequence[Transition]) -> list[Transition]:
        """Those that do not flap. One that does is counted in its one incident."""
        known = flapping.holding(unit.conn)
        falls = falls_since(unit.conn, [one.device for one in told], unit.now - HOUR, self._flaps.per_hour)
        for transition in told:
            if transition.device in known:
                flapping.again(unit, transition.device, falls.get(transition.device, 1))
            elif self._flaps.begins(falls.get(transition.device, 0)):
                flapping.begin(unit, transition, falls[transition.device])
                known.add(transition.device)
        return [one for one in told if one.device not in known]

    def _joined(
        self,
        unit: Unit,
        told: Sequence[Transition],
        known: dict[str, Standing],
        holding: dict[str, Held],
    ) -> list[Transition]:
        """Those that no outage explains that holds already."""
        joins, rest = of_place.explained(self._census.tree, holding, told, lambda one: known[one.device].site)
        for incident, found in joins.items():
            outages.join(unit, incident, [Silent(one.device, known[one.device].heard_at) for one in found])
        return rest

    def _explained(
        self, unit: Unit, told: Sequence[Transition], known: dict[str, Standing], cover: Cover
    ) -> list[Transition]:
        """Those that no place explains; outages begin for the others."""
        taken: set[str] = set()
        heard = {one.device: known[one.device].heard_at or one.at for one in told}
        for first, last in rootcause.together(list(heard.values()), self._bars.window):
            since, until = first - self._bars.window, max(last, first + self._bars.window)
            gone, silent = census.silence(unit.conn, cover, since, until)
            tree, devices = self._census.tree, self._census.devices
            for node, alive in rootcause.find(tree, devices, gone, silent, self._bars):
                ids = taken_over(unit.conn, tree, node) | heard.keys()
                found = census.fallen(unit.conn, self._census, cover, node, ids, since=since, until=until)
                if not found or taken.issuperset(one.device for one in found):
                    continue
                outages.begin(unit, node, found, devices=alive)
                taken |= {one.device for one in found}
        return [one for one in told if one.device not in taken]

    def settle(self, unit: Unit) -> None:
        """End the outages that are over, and what flaps no more."""
        for outage in outages.holding(unit.conn).values():
            if outage.is_over(unit.now, self._bars):
                self._stands_for_itself(unit, of_place.end(unit, outage.id, still="silent"))
        for device in flapping.quiet(unit.conn, unit.now, self._flaps):
            if flapping.end(unit, device):
                self._stands_for_itself(unit, [device])

    def follow(self, unit: Unit) -> None:
        """After a window and its grace: what is still silent raises its alarm now, and so do faults that still hold."""
        for window in windows.to_follow(unit.conn, unit.now):
            self._census.look(unit.conn, unit.now)
            found = census.silent_under(unit.conn, self._census.tree, window)
            self._stands_for_itself(unit, [one.id for one in found])
            raise_faults(unit, census.faults_under(unit.conn, self._census.tree, window))
            windows.followed(unit, window.id)

    def _stands_for_itself(self, unit: Unit, ids: Iterable[str]) -> None:
        """Devices that are offline without an incident: as if they had fallen now. A hub that was blind cannot tell yet of some:
        they fall if they are found to be silent."""
        known = census.standing(unit.conn, ids)
        intake.judge_afresh(unit, [one.id for one in known.values() if one.presence == "unknown"])
        alone = with_incident(unit.conn, list(known))
        self.fell(
            unit,
            [
                Transition(0, one.id, one.site, None, "presence", one.presence, "offline", unit.now, "silent")
                for one in known.values()
                if one.presence == "offline" and one.id not in alone
            ],
        )


def raise_faults(unit: Unit, found: Iterable[Faulty]) -> None:
    """Faults that began while nobody was told, as if their events came now."""
    for one in found:
        for fault in one.faults:
            body = body_of(one.type, fault, unit.now, one.note)
            if body is None:
                continue
            fact = Fact(
                device=one.device,
                site_id=one.site,
                peripheral=one.peripheral,
                peripheral_type=one.type,
                kind=f"{one.type}.fault",
                body=body,
                at=unit.now,
                late=False,
                ulid="",
                received_at=unit.now,
            )
            service.on_event(unit, fact)


def body_of(peripheral_type: str, fault: str, now: datetime, note: str | None) -> Message | None:
    """The event that a peripheral's fault was; None for a fault that is none of an event."""
    body = {"fault": fault, "active": True, "detail": note}
    if peripheral_type == "camera":
        body["since"] = now.isoformat()
    try:
        return parse_body(f"{peripheral_type}.fault", body)
    except Refused:
        return None


def alone_(unit: Unit, transition: Transition) -> None:
    """One device's own incident; what cannot be handled holds up no other."""
    told, after = len(unit.changes), len(unit.callbacks)
    try:
        with unit.conn.begin_nested():
            service.on_transition(unit, transition)
    except OperationalError:
        raise
    except Exception:
        del unit.changes[told:], unit.callbacks[after:]
        metrics.WORKER_FAILURES.labels("transitions").inc()
        log.exception("transition %d of %s could not be handled", transition.id, transition.device)


def with_incident(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` whose own incident of being offline holds."""
    found: set[str] = set()
    for start in range(0, len(ids), IN_CLAUSE):
        query = sa.select(incidents.c.device_id).where(
            incidents.c.device_id.in_(ids[start : start + IN_CLAUSE]),
            incidents.c.kind == OFFLINE,
            incidents.c.resolved_at.is_(None),
            incidents.c.cleared_at.is_(None),
        )
        found |= {str(device) for device in conn.scalars(query)}
    return found


def taken_over(conn: Connection, tree: Tree, node: str) -> set[str]:
    """Devices with incidents that an outage of ``node`` may explain: their own, or that of a place below. The others that are offline
    there come with their own transitions, so that no transaction grows with the outage."""
    alone = sa.select(incidents.c.device_id).where(
        incidents.c.kind == OFFLINE, incidents.c.resolved_at.is_(None), incidents.c.cleared_at.is_(None)
    )
    found = {str(device) for device in conn.scalars(alone)}
    for place, outage in outages.holding(conn).items():
        if place != node and node in tree.chain(place):
            found |= of_place.devices_in(conn, outage.id)
    return found


def falls_since(conn: Connection, ids: Sequence[str], since: datetime, more_than: int) -> dict[str, int]:
    """How often each went offline since then, those at or below ``more_than`` left out."""
    found: dict[str, int] = {}
    for start in range(0, len(ids), IN_CLAUSE):
        query = (
            sa.select(transitions.c.device_id, sa.func.count())
            .where(
                transitions.c.device_id.in_(ids[start : start + IN_CLAUSE]),
                transitions.c.at > since,
                transitions.c.kind == "presence",
                transitions.c.after == "offline",
            )
            .group_by(transitions.c.device_id)
            .having(sa.func.count() > more_than)
        )
        found |= {str(device): int(n) for device, n in conn.execute(query)}
    return found
