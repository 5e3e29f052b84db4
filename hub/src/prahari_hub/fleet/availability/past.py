"""What the store knows of many devices' past, as the calculus takes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet import topology
from prahari_hub.fleet.availability.calculus import Around, Past, Span, Step
from prahari_hub.fleet.cells import CELLS_A_PARTITION, cell_of
from prahari_hub.fleet.tables import blind_spells, devices, sites, transitions, windows
from prahari_hub.fleet.tree import Tree, site_node
from prahari_hub.fleet.windows import MAINTENANCE

PART = 500


@dataclass(frozen=True)
class Counted:
    """A device with its place, as figures are grouped. ``zone`` and ``vendor`` are empty where none is known."""

    id: str
    site: str | None
    zone: str
    vendor: str
    presence: str
    service: str
    counted_from: datetime | None


def counted(
    conn: Connection, *, after: str = "", limit: int | None = None, ids: Sequence[str] = ()
) -> list[Counted]:
    """Devices in the order of their ids: those of ``ids``, or the next after ``after``."""
    query = sa.select(
        devices.c.id,
        devices.c.site_id,
        sa.func.coalesce(sites.c.zone_id, ""),
        sa.func.coalesce(devices.c.vendor, ""),
        devices.c.presence,
        devices.c.service,
        devices.c.counted_from,
    ).outerjoin(sites, sites.c.id == devices.c.site_id)
    query = query.where(devices.c.id.in_(ids)) if ids else query.where(devices.c.id > after)
    return [Counted(*row) for row in conn.execute(query.order_by(devices.c.id).limit(limit))]


def pasts(
    conn: Connection,
    chosen: Sequence[Counted],
    since: datetime,
    *,
    kinds: Sequence[str] = ("presence", "service"),
) -> dict[str, Past]:
    """Each device's steps from ``since`` to now."""
    steps: dict[tuple[str, str], list[Step]] = defaultdict(list)
    ids = [device.id for device in chosen]
    for start in range(0, len(ids), PART):
        query = (
            sa.select(transitions)
            .where(
                transitions.c.device_id.in_(ids[start : start + PART]),
                transitions.c.at >= since,
                transitions.c.kind.in_(kinds),
            )
            .order_by(transitions.c.id)
        )
        for row in conn.execute(query):
            steps[row.device_id, row.kind].append(Step(row.at, row.before, row.after))
    if "presence" not in kinds:
        return {device.id: _past(device, steps, device.presence) for device in chosen}
    hidden = [device.id for device in chosen if _hidden(device, steps[device.id, "presence"])]
    before = _before(conn, hidden, since)
    for device in hidden:
        if device in before and (path := steps[device, "presence"]):
            path[0] = path[0]._replace(before=before[device])
    return {device.id: _past(device, steps, before.get(device.id, device.presence)) for device in chosen}


def _past(device: Counted, steps: Mapping[tuple[str, str], list[Step]], presence: str) -> Past:
    found = steps.get((device.id, "presence"), []), steps.get((device.id, "service"), [])
    return Past(presence, device.service, device.counted_from, *found)


def _hidden(device: Counted, path: Sequence[Step]) -> bool:
    """A hub that goes blind says ``unknown`` without a transition, of all devices at once: the log knows how they were before."""
    return (path[0].before if path else device.presence) == "unknown"


def _before(conn: Connection, ids: Sequence[str], at: datetime) -> dict[str, str]:
    """To what each device changed last before ``at``; none for one that never had."""
    last = (
        sa.select(transitions.c.after)
        .where(
            transitions.c.device_id == devices.c.id, transitions.c.kind == "presence", transitions.c.at < at
        )
        .order_by(transitions.c.at.desc(), transitions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    found: dict[str, str] = {}
    for start in range(0, len(ids), PART):
        query = sa.select(devices.c.id, last.label("after")).where(
            devices.c.id.in_(ids[start : start + PART])
        )
        found |= {row.id: row.after for row in conn.execute(query) if row.after is not None}
    return found


def first_online(conn: Connection, ids: Sequence[str]) -> dict[str, datetime]:
    """When devices were online for the first time, as far as the log says."""
    query = (
        sa.select(transitions.c.device_id, sa.func.min(transitions.c.at).label("at"))
        .where(
            transitions.c.device_id.in_(ids),
            transitions.c.kind == "presence",
            transitions.c.after == "online",
        )
        .group_by(transitions.c.device_id)
    )
    return {row.device_id: row.at for row in conn.execute(query)}


class Chains:
    """The places above a place, from a tree that is loaded once, when it is first needed."""

    def __init__(self) -> None:
        self._tree: Tree | None = None

    def __call__(self, conn: Connection, node: str) -> Iterable[str]:
        if self._tree is None:
            self._tree = topology.load(conn)
        return self._tree.chain(node)


class Surroundings:
    """The blind spells and windows of one span, by device; ``chain`` gives the places above a place, itself first."""

    def __init__(
        self,
        conn: Connection,
        span: Span,
        chain: Callable[[Connection, str], Iterable[str]] = topology.chain_of,
    ) -> None:
        self._conn = conn
        self._chain = chain
        self._blind = _blind(conn, span)
        self._windows = _windows(conn, span)

    def of(self, device: str, site: str | None) -> Around:
        planned: list[Span] = []
        maintenance: list[Span] = []
        if self._windows:
            for node in (f"device/{device}", *self._chain(self._conn, site_node(site))):
                for kind, span in self._windows.get(node, ()):
                    (maintenance if kind == MAINTENANCE else planned).append(span)
        return Around(self.blind(partition_of(device)), planned, maintenance)

    def blind(self, partition: int) -> list[Span]:
        return [*self._blind[None], *self._blind[partition]]

    @property
    def touches(self) -> bool:
        """Whether any window lies over the span."""
        return bool(self._windows)


def partition_of(device: str) -> int:
    return cell_of(device) // CELLS_A_PARTITION


def _blind(conn: Connection, span: Span) -> Mapping[int | None, list[Span]]:
    query = sa.select(blind_spells).where(
        blind_spells.c.since < span[1],
        blind_spells.c.until.is_(None) | (blind_spells.c.until > span[0]),
    )
    found: dict[int | None, list[Span]] = defaultdict(list)
    for row in conn.execute(query):
        found[row.partition].append((row.since, row.until or span[1]))
    return found


def _windows(conn: Connection, span: Span) -> dict[str, list[tuple[str, Span]]]:
    query = sa.select(windows).where(
        windows.c.starts_at < span[1], windows.c.ends_at > span[0], windows.c.cancelled_at.is_(None)
    )
    found: dict[str, list[tuple[str, Span]]] = defaultdict(list)
    for row in conn.execute(query):
        node = f"{row.scope_type}/{row.scope_id}"
        found[node].append((row.kind, (row.starts_at, row.ends_at)))
    return dict(found)
