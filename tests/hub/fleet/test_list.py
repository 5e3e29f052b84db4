"""The fleet as a list: filters, sorts, pages that stay true while devices come and go; and the one-line verdict."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import queries, registry
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.queries import SORTS, Filter
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.fleet.verdict import Situation, verdict
from prahari_hub.store import Store, Unit

from .conftest import ASHA, Time, build_town


@pytest.fixture(scope="module")
def many(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with forty more devices for those who only look."""
    time = Time()
    with new_database(tmp_path_factory.mktemp("many")) as url:
        found = Store.open(url, clock=time)
        found.write_sync(build_town)
        add_forty(found, time)
        yield found
        found.close()


def add_forty(store: Store, time: Time) -> None:
    """Devices with every combination of presence and health, some without name or site."""

    def build(unit: Unit) -> None:
        states = itertools.cycle(itertools.product(Presence, queries.HEALTH_STATES))
        for number in range(40):
            presence, health = next(states)
            device = f"box-{number:03d}"
            registry.create_device(
                unit,
                ASHA,
                device,
                name=f"Box {number % 7}" if number % 3 else None,
                site="wada" if number % 2 else None,
            )
            values = {"presence": str(presence), "health_state": health}
            if number % 4:
                time.pass_s(1)
                values["last_seen"] = time.now
            unit.conn.execute(devices.update().where(devices.c.id == device).values(values))

    store.write_sync(build)


def ids(store: Any, wanted: Filter = Filter(), **options: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = store.read_sync(
            lambda conn, cursor=cursor: queries.list_devices(conn, wanted, cursor=cursor, limit=7, **options)
        )
        found += [device.id for device in page.items]
        cursor = page.next
        if cursor is None:
            return found


def test_pages_of_every_order_give_each_device_once(many: Any) -> None:
    for sort in [sign + name for name in SORTS for sign in ("", "-")]:
        found = ids(many, sort=sort)
        assert len(found) == 43, sort
        assert len(set(found)) == 43, sort
        whole = many.read_sync(lambda conn, by=sort: queries.list_devices(conn, Filter(), sort=by, limit=100))
        assert found == [device.id for device in whole.items], sort


def test_the_worst_come_first_by_presence(many: Any) -> None:
    found = many.read_sync(lambda conn: queries.list_devices(conn, Filter(), sort="presence", limit=100))
    order = [device.presence for device in found.items]
    assert order == sorted(order, key=["offline", "suspect", "unknown", "online"].index)


def test_pages_are_stable_while_devices_come_and_go(store: Any, asha: Any, time: Any) -> None:
    add_forty(store, time)
    first = store.read_sync(lambda conn: queries.list_devices(conn, Filter(), limit=10))
    seen = [device.id for device in first.items]

    def change(unit: Any) -> None:
        registry.create_device(unit, asha, "box-0000")
        unit.conn.execute(devices.delete().where(devices.c.id == seen[3]))

    store.write_sync(change)
    rest = store.read_sync(lambda conn: queries.list_devices(conn, Filter(), cursor=first.next, limit=100))
    assert not set(seen) & {device.id for device in rest.items}
    assert len(seen) + len(rest.items) == 43


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        pytest.param(Filter(q="BOX-01"), 10, id="q finds ids in any case"),
        pytest.param(Filter(q="box 3"), 4, id="q finds names"),
        pytest.param(Filter(q="shaniwar"), 23, id="q finds sites"),
        pytest.param(Filter(q="100%_"), 0, id="q takes wildcards as text"),
        pytest.param(Filter(presence=[Presence.OFFLINE]), 8, id="presence"),
        pytest.param(Filter(presence=[Presence.OFFLINE], health_state=["fail"]), 2, id="presence and health"),
        pytest.param(Filter(zone="pune"), 23, id="zone with those below"),
        pytest.param(Filter(zone="kasba"), 23, id="zone"),
        pytest.param(Filter(site="nowhere"), 0, id="site"),
        pytest.param(Filter(service="retired"), 0, id="service"),
    ],
)
def test_filters(many: Any, wanted: Filter, count: int) -> None:
    found = ids(many, wanted)
    assert len(found) == count
    counted = many.read_sync(lambda conn: queries.counts(conn, wanted))
    assert sum(counted["presence"].values()) == sum(counted["health_state"].values()) == count


def test_a_filter_by_type_finds_who_serves_one(store: Any, born: Any) -> None:
    born("pune-vms-01", serves={"sign1": "display"})
    born("pune-cam-01", serves={"cam1": "camera"})
    assert ids(store, Filter(type="display")) == ["pune-vms-01"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "AAAA",
        "W10",
        "WyJpZCIsMSwyXQ",
        "é",
        "WyJpZCIsICJcdTAwMDAiLCAieCJd",
        "W" * 500,
        "WyJuYW1lIiwgIngiLCAieCJd",
    ],
)
def test_a_cursor_that_is_none_is_refused(store: Any, cursor: str) -> None:
    with pytest.raises(Invalid):
        store.read_sync(lambda conn: queries.list_devices(conn, Filter(), cursor=cursor))


def test_retired_devices_are_left_out_unless_asked_for(store: Any, asha: Any) -> None:
    store.write_sync(lambda unit: registry.change_device(unit, asha, "pune-cam-01", {"service": "retired"}))
    assert "pune-cam-01" not in ids(store)
    assert ids(store, Filter(service="retired")) == ["pune-cam-01"]
    assert store.read_sync(lambda conn: queries.device(conn, "pune-cam-01")).verdict.code == "retired"


def test_places_and_devices_are_refused_where_they_contradict(store: Any, asha: Any) -> None:
    def attempt(work: Any) -> None:
        store.write_sync(work)

    with pytest.raises(Conflict, match="already"):
        attempt(lambda unit: registry.create_device(unit, asha, "pune-cam-01"))
    with pytest.raises(Conflict, match="in use"):
        attempt(lambda unit: registry.delete_site(unit, asha, "wada"))
    with pytest.raises(Conflict, match="in use"):
        attempt(lambda unit: registry.delete_zone(unit, asha, "pune"))
    with pytest.raises(Conflict, match="below itself"):
        attempt(lambda unit: registry.put_zone(unit, asha, "pune", "Pune", parent="kasba"))
    with pytest.raises(NotFound, match="no site"):
        attempt(lambda unit: registry.create_device(unit, asha, "pune-new-01", site="nowhere"))
    with pytest.raises(Invalid, match="not a device id"):
        attempt(lambda unit: registry.create_device(unit, asha, "Pune_1"))
    with pytest.raises(Invalid, match="latitude"):
        attempt(lambda unit: registry.create_site(unit, asha, "moon", "Moon", lat=91, lon=0))
    with pytest.raises(Invalid, match="name"):
        attempt(lambda unit: registry.create_zone(unit, asha, "z", " "))


FINE: dict[str, Any] = {"service": "active", "presence": Presence.ONLINE, "ever_seen": True}


@pytest.mark.parametrize(
    ("situation", "level", "code"),
    [
        pytest.param({}, "ok", "fine", id="fine"),
        pytest.param(
            {"ever_seen": False, "presence": Presence.UNKNOWN}, "unknown", "never-seen", id="never seen"
        ),
        pytest.param(
            {"presence": Presence.OFFLINE, "faults": [("cam1", "Frozen")]}, "fail", "offline", id="offline"
        ),
        pytest.param({"presence": Presence.UNKNOWN}, "unknown", "unknown", id="blind"),
        pytest.param({"presence": Presence.SUSPECT}, "warn", "suspect", id="suspect"),
        pytest.param({"faults": [("Gate", "SignalLoss"), ("Gate", "x")]}, "fail", "fault", id="fault"),
        pytest.param({"checks": [("disk", "fail", "full")]}, "fail", "check-failed", id="check fails"),
        pytest.param({"checks": [("disk", "warn", "90 %")]}, "warn", "check-warns", id="check warns"),
        pytest.param({"twin_version": 2, "applied_version": 1}, "warn", "twin-pending", id="drift"),
        pytest.param({"open_commands": 2}, "ok", "commands-open", id="commands"),
        pytest.param({"service": "maintenance"}, "ok", "maintenance", id="maintenance"),
    ],
)
def test_the_verdict_names_the_worst_that_somebody_can_act_on(situation: Any, level: str, code: str) -> None:
    found = verdict(Situation(**(FINE | situation)))
    assert (found.level, found.code) == (level, code)
    assert found.text


def test_peripherals_keep_their_state_over_a_birth(store: Any, born: Any) -> None:
    born("pune-cam-01", serves={"cam1": "camera"})
    store.write_sync(
        lambda unit: unit.conn.execute(peripherals.update().values(state="fail", faults=["Frozen"]))
    )
    born("pune-cam-01", serves={"cam1": "camera", "cam2": "camera"})
    found = store.read_sync(lambda conn: queries.device(conn, "pune-cam-01"))
    assert [(item.id, item.state, item.faults) for item in found.peripherals] == [
        ("cam1", "fail", ["Frozen"]),
        ("cam2", "unknown", []),
    ]


@pytest.mark.parametrize("sort", ["presence", "-presence"])
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(presence=[Presence.ONLINE, Presence.OFFLINE]),
        Filter(presence=[Presence.SUSPECT], health_state=["fail", "ok"]),
        Filter(q="box 1"),
        Filter(zone="pune"),
        Filter(site="wada"),
        Filter(service="*"),
    ],
    ids=lambda wanted: str({name: value for name, value in vars(wanted).items() if value}) if wanted else "",
)
def test_the_order_by_presence_is_that_of_sorting_every_device(many: Any, sort: str, wanted: Filter) -> None:
    found = ids(many, wanted, sort=sort)
    every = many.read_sync(lambda conn: queries.list_devices(conn, wanted, limit=200)).items
    sign = -1 if sort.startswith("-") else 1
    ranked = sorted(every, key=lambda one: (sign * queries.PRESENCES.index(str(one.presence)), one.id))
    assert found == [one.id for one in ranked]
    assert found
