"""What hangs on what, and windows of planned work, as the registry keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.access.tables import audit
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import topology, topology_csv, windows
from prahari_hub.fleet.tables import sites, zones
from prahari_hub.fleet.topology import Link
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Store

from tests.hub.clock import Clock

ASHA = Actor("asha", Role.TECHNICIAN)
START = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
CITY = """kind,id,name,parent,zone
site,wada,,cab-3,
cabinet,cab-3,Cabinet 3,sw-12,
switch,sw-12,Laxmi Road,feeder-7,
feeder,feeder-7,Feeder 7,,kasba
"""
Do = Callable[..., Any]


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    found = Store.open(database_url, clock=clock)
    found.write_sync(
        lambda unit: (
            unit.conn.execute(zones.insert().values(id="kasba", name="Kasba")),
            unit.conn.execute(sites.insert().values(id="wada", name="Wada", zone_id="kasba", lat=0, lon=0)),
        )
    )
    yield found
    found.close()


@pytest.fixture
def do(store: Store) -> Do:
    return lambda work, *args, **more: store.write_sync(lambda unit: work(unit, ASHA, *args, **more))


def test_a_table_in_any_order_is_a_chain_from_site_to_zone(store: Store, do: Do) -> None:
    assert do(topology.bring, *topology_csv.parse(CITY)) == {"assets": 3, "sites": 1}
    chain = ["site/wada", "asset/cab-3", "asset/sw-12", "asset/feeder-7", "zone/kasba", "fleet/"]
    assert store.read_sync(lambda conn: topology.chain_of(conn, "site/wada")) == chain
    assert store.read_sync(lambda conn: list(topology.load(conn).chain("site/wada"))) == chain


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("id,name\nx,y", "kind is missing"),
        ("kind,id\npole,p1", "Line 2: 'pole' is none of"),
        ("kind,id,name,parent\nswitch,a,A,b\nswitch,b,B,a", "hangs on itself"),
        ("kind,id,name,parent\nswitch,a,A,nobody", "which nobody knows"),
        ("kind,id,name,parent\nsite,nowhere,,", "no site 'nowhere'"),
    ],
    ids=["no-header", "no-kind", "circle", "no-parent", "no-site"],
)
def test_a_wrong_table_changes_nothing_and_says_what_is_wrong(
    store: Store, do: Do, table: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        do(lambda unit, actor: topology.bring(unit, actor, *topology_csv.parse(table)))
    assert store.read_sync(topology.list_assets).items == []


def test_nothing_hangs_on_itself_nor_too_deep(do: Do) -> None:
    do(topology.put_asset, Link("a0", "feeder", "A"))
    for n in range(1, 8):
        do(topology.put_asset, Link(f"a{n}", "switch", "A", f"a{n - 1}"))
    with pytest.raises(Conflict, match="8 deep"):
        do(topology.put_asset, Link("a8", "switch", "A", "a7"))
    with pytest.raises(Conflict, match="cannot hang on itself"):
        do(topology.put_asset, Link("a0", "feeder", "A", "a3"))


def test_what_holds_something_is_not_removed(do: Do) -> None:
    do(topology.bring, *topology_csv.parse(CITY))
    with pytest.raises(Conflict, match="wada hangs on cab-3"):
        do(topology.delete_asset, "cab-3")
    do(topology.hang_site, "wada", None)
    do(topology.delete_asset, "cab-3")
    with pytest.raises(NotFound):
        do(topology.hang_site, "wada", "cab-3")


def planned(do: Do, clock: Clock, **more: Any) -> windows.Window:
    wanted = {"kind": "planned_power", "scope": ("zone", "kasba"), "reason": "works"}
    times = {"starts_at": clock.now + timedelta(hours=1), "ends_at": clock.now + timedelta(hours=3)}
    found: windows.Window = do(windows.plan, **(wanted | times | more))
    return found


def test_a_window_runs_between_its_times_and_holds_for_a_grace_after_them(
    store: Store, do: Do, clock: Clock
) -> None:
    window = planned(do, clock)
    for hours, state, holds in ((0, "planned", 0), (1, "running", 1), (3, "over", 1), (3.1, "over", 0)):
        clock.now = START + timedelta(hours=hours)
        assert window.state(clock.now) == state
        assert len(store.read_sync(lambda conn: windows.holding(conn, clock.now))) == holds


def test_a_window_that_has_not_begun_is_cancelled_and_never_counts(
    store: Store, do: Do, clock: Clock
) -> None:
    window = planned(do, clock)
    assert do(windows.end, window.id).cancelled_at == START
    clock.now += timedelta(hours=2)
    assert store.read_sync(lambda conn: windows.holding(conn, clock.now)) == []
    with pytest.raises(Conflict, match="cancelled already"):
        do(windows.end, window.id)


def test_a_running_window_ends_now_and_both_steps_are_in_the_audit_log(
    store: Store, do: Do, clock: Clock
) -> None:
    window = planned(do, clock)
    clock.now += timedelta(hours=2)
    assert do(windows.end, window.id).ends_at == clock.now
    query = sa.select(audit.c.action).where(audit.c.subject == f"window:{window.id}").order_by(audit.c.id)
    assert store.read_sync(lambda conn: list(conn.scalars(query))) == ["window.plan", "window.end"]


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"kind": "holiday"}, Invalid),
        ({"scope": ("zone", "nowhere")}, NotFound),
        ({"scope": ("planet", "earth")}, Invalid),
        ({"ends_at": START}, Invalid),
        ({"ends_at": START + timedelta(days=90)}, Invalid),
        ({"reason": "  "}, Invalid),
    ],
    ids=["kind", "place", "scope", "backwards", "too-long", "no-reason"],
)
def test_a_window_that_makes_no_sense_is_refused(
    do: Do, clock: Clock, more: dict[str, Any], wrong: type[Exception]
) -> None:
    with pytest.raises(wrong):
        planned(do, clock, **more)


def test_a_window_in_the_past_begins_now(do: Do, clock: Clock) -> None:
    assert planned(do, clock, starts_at=START - timedelta(days=2)).starts_at == START
