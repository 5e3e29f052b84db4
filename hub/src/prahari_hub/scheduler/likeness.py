"""From one fault on many cameras to one incident of what they have in common, as silence.py does with devices that fall silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prahari_hub.fleet.tree import Tree, site_node
from prahari_hub.incidents import of_place, rootcause, spread
from prahari_hub.incidents.of_place import Held
from prahari_hub.incidents.rootcause import Bars
from prahari_hub.incidents.spread import Alone
from prahari_hub.scheduler.census import KEPT, Census, faults_of
from prahari_hub.scheduler.silence import raise_faults
from prahari_hub.store import Unit


class Likeness:
    """``gather`` runs by the clock, inside a caller's transaction. What is kept between two calls is a copy of what the store says: how
    many devices of each place serve cameras takes a second to count at 400,000.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._census = Census()
        self._cameras: dict[str, int] = {}
        self._counted: datetime | None = None
        self._asked: datetime | None = None

    def prepare(self, conn: Connection, now: datetime) -> None:
        """Outside any transaction that writes: bring the copies up to date, as long as they are asked for."""
        if self._asked is not None and now - self._asked < 2 * KEPT:
            self._look(conn, now, kept=KEPT)

    def _look(self, conn: Connection, now: datetime, *, kept: timedelta) -> None:
        self._census.look(conn, now, kept=kept)
        if self._counted is None or not timedelta() <= now - self._counted < kept:
            by_site = spread.with_cameras(conn)
            self._cameras = rootcause.summed(
                self._census.tree, {site_node(site): n for site, n in by_site.items()}
            )
            self._counted = now

    def gather(self, unit: Unit) -> None:
        """End what is over; take cameras with the same fault into the incident of their place, or begin one."""
        holding = spread.holding(unit.conn)
        for (_, fault), one in holding.items():
            spread.let_go(unit, one.id, fault)
        for (node, fault), one in spread.holding(unit.conn).items() if holding else ():
            if one.is_over(unit.now, self._bars):
                _end(unit, one.id, fault)
                del holding[node, fault]
        found = spread.alone(unit.conn, unit.now - 2 * self._bars.window)
        if not found or (not holding and len(found) < self._bars.least):
            return
        self._asked = unit.now
        self._look(unit.conn, unit.now, kept=2 * KEPT)
        tree, by_fault = self._census.tree, defaultdict(list)
        for camera in found:
            by_fault[camera.fault].append(camera)
        for fault, cameras in by_fault.items():
            rest = _joined(unit, tree, fault, cameras, holding)
            if len(rest) >= self._bars.least:
                self._explained(unit, tree, fault, rest)

    def _explained(self, unit: Unit, tree: Tree, fault: str, cameras: Sequence[Alone]) -> None:
        for first, last in rootcause.together([one.since for one in cameras], self._bars.window):
            here = [one for one in cameras if first <= one.since <= last]
            by_site: dict[str, set[str]] = defaultdict(set)
            for one in here:
                by_site[site_node(one.site)].add(one.device)
            counts = {site: len(ids) for site, ids in by_site.items()}
            for node, devices in rootcause.find(tree, self._cameras, {}, counts, self._bars):
                inside = [one for one in here if node in tree.chain(site_node(one.site))]
                spread.begin(unit, node, fault, inside, of=devices)


def _end(unit: Unit, incident: str, fault: str) -> None:
    """What still has the fault stands for itself."""
    rest = of_place.end(unit, incident, still="faulty")
    left = [found for found in faults_of(unit.conn, rest) if fault in found.faults]
    raise_faults(unit, [found._replace(faults=[fault]) for found in left if found.type == "camera"])


def _joined(
    unit: Unit,
    tree: Tree,
    fault: str,
    cameras: Sequence[Alone],
    holding: dict[tuple[str, str], Held],
) -> list[Alone]:
    """Those that no incident of a place explains that holds already."""
    same = {node: one for (node, of), one in holding.items() if of == fault}
    joins, rest = of_place.explained(tree, same, cameras, lambda camera: camera.site)
    for incident, found in joins.items():
        spread.join(unit, incident, found)
    return rest
