"""From one fault on many cameras to one incident of what they have in common, as silence.py does with devices that fall silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from prahari_hub.fleet.tree import Tree, site_node
from prahari_hub.incidents import outages, rootcause, spread
from prahari_hub.incidents.rootcause import Bars
from prahari_hub.incidents.spread import Alone, Spread
from prahari_hub.scheduler import census
from prahari_hub.scheduler.silence import raise_faults
from prahari_hub.store import Unit


class Likeness:
    """``gather`` runs by the clock, inside a caller's transaction. What is kept between two calls is a copy of what the store says."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._census = census.Census()

    def gather(self, unit: Unit) -> None:
        """End what is over; take cameras with the same fault into the incident of their place, or begin one."""
        holding = spread.holding(unit.conn)
        for one in holding.values():
            spread.let_go(unit, one)
        for one in spread.holding(unit.conn).values() if holding else ():
            if self._is_over(unit, one):
                self._end(unit, one)
                del holding[one.node, one.fault]
        found = spread.alone(unit.conn, unit.now - 2 * self._bars.window)
        if not found or (not holding and len(found) < self._bars.least):
            return
        self._census.look(unit.conn, unit.now)
        tree, by_fault = self._census.tree, defaultdict(list)
        for camera in found:
            by_fault[camera.fault].append(camera)
        for fault, cameras in by_fault.items():
            rest = _joined(unit, tree, fault, cameras, holding)
            if len(rest) >= self._bars.least:
                self._explained(unit, tree, fault, rest)

    def _explained(self, unit: Unit, tree: Tree, fault: str, cameras: Sequence[Alone]) -> None:
        of = rootcause.summed(
            tree, {site_node(site): n for site, n in spread.with_cameras(unit.conn).items()}
        )
        for first, last in rootcause.together([one.since for one in cameras], self._bars.window):
            here = [one for one in cameras if first <= one.since <= last]
            by_site: dict[str, set[str]] = defaultdict(set)
            for one in here:
                by_site[site_node(one.site)].add(one.device)
            counts = {site: len(ids) for site, ids in by_site.items()}
            for node, devices in rootcause.find(tree, of, {}, counts, self._bars):
                inside = [one for one in here if node in tree.chain(site_node(one.site))]
                spread.begin(unit, node, fault, inside, of=devices)

    def _is_over(self, unit: Unit, one: Spread) -> bool:
        return rootcause.is_over(
            one.node,
            children=one.children,
            of=one.devices,
            last_change=one.last_change,
            now=unit.now,
            bars=self._bars,
        )

    def _end(self, unit: Unit, one: Spread) -> None:
        """What still has the fault stands for itself."""
        rest = [child.device for child in outages.end(unit, one.id, still="faulty")]
        left = [found for found in census.faults_of(unit.conn, rest) if one.fault in found.faults]
        raise_faults(unit, [found._replace(faults=[one.fault]) for found in left if found.type == "camera"])


def _joined(
    unit: Unit,
    tree: Tree,
    fault: str,
    cameras: Sequence[Alone],
    holding: dict[tuple[str, str], Spread],
) -> list[Alone]:
    """Those that no incident of a place explains that holds already."""
    joins: dict[str, list[Alone]] = defaultdict(list)
    rest = []
    for camera in cameras:
        chain = tree.chain(site_node(camera.site))
        place = next((holding[node, fault] for node in chain if (node, fault) in holding), None)
        if place is None:
            rest.append(camera)
        else:
            joins[place.id].append(camera)
    for incident, found in joins.items():
        spread.join(unit, incident, found)
    return rest
