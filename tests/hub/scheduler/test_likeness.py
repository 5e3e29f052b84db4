"""One fault on many cameras of a place becomes one incident; what is left of it stands for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

import pytest
from prahari_hub.fleet import faults, registry
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import peripherals
from prahari_hub.incidents import actions, of_place, queries, service, spread
from prahari_hub.incidents.rootcause import Bars
from prahari_hub.scheduler.likeness import Likeness
from prahari_hub.store import Unit
from prahari_wire.camera import CameraFault

from .test_root_cause import ASHA, FAR, FEEDER, START, A, B, C
from .test_root_cause import City as Town


class City(Town):
    """The same town; every device serves one camera."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.likeness = Likeness(Bars())

        def cameras(unit: Unit) -> None:
            rows = [
                {"device_id": device, "id": "cam1", "type": "camera", "faults": [], "updated_at": START}
                for device in (*FEEDER, *FAR)
            ]
            unit.conn.execute(peripherals.insert(), rows)

        self.store.write_sync(cameras)

    def fault(self, names: Iterable[str], fault: str = "ImageTooDark", *, active: bool = True) -> None:
        def work(unit: Unit) -> None:
            for name in names:
                body = CameraFault.model_validate_json(
                    f'{{"fault": "{fault}", "active": {str(active).lower()}, "since": "{unit.now.isoformat()}"}}'
                )
                fact = Fact(
                    name, name.rpartition("-")[0], "cam1", "camera", "camera.fault", body, unit.now, False, "", unit.now
                )  # fmt: skip
                faults.noted(unit, fact)
                service.on_event(unit, fact)

        self.store.write_sync(work)

    def gather(self, **parts: float) -> None:
        self.now += timedelta(**parts)
        self.store.write_sync(self.likeness.gather)


@pytest.fixture
def city(database_url: str) -> Iterator[City]:
    found = City(database_url)
    yield found
    found.store.close()


def test_a_fault_on_the_cameras_of_a_switch_is_one_incident_with_its_devices_as_children(city: City) -> None:
    city.fault((*A, *B))
    city.gather(seconds=5)
    assert city.shown() == [("place.fault", "s1", 8)]
    found = city.only()
    assert found.title == "Switch 1: Picture too dark at 8 of 8 devices with cameras"
    assert str(found.severity) == "major"
    listed = city.store.read_sync(lambda conn: of_place.children(conn, found.id))
    assert [child.device for child in listed.items] == [*A, *B]


def test_two_switches_of_a_feeder_are_the_feeder(city: City) -> None:
    city.fault((*A, *B))
    city.now += timedelta(seconds=20)
    city.fault(C)
    city.gather(seconds=5)
    assert city.shown() == [("place.fault", "f1", 12)]


def test_different_faults_and_far_apart_ones_stay_apart(city: City) -> None:
    city.fault(A[:2])
    city.fault(A[2:], "SignalLoss")
    city.fault(FAR[:1])
    city.gather(seconds=5)
    assert {kind for kind, _, _ in city.shown()} == {"camera.fault"}
    assert len(city.shown()) == 5


def test_faults_that_began_long_after_one_another_have_no_common_cause(city: City) -> None:
    for device in A:
        city.fault([device])
        city.gather(minutes=4)
    assert [kind for kind, _, _ in city.shown()] == ["camera.fault"] * 4


def test_who_gets_the_fault_later_joins_and_who_is_well_again_leaves(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    city.fault(B[:1])
    city.fault(A[:1], active=False)
    city.gather(minutes=10)
    assert ("place.fault", "s1-a", 3) in city.shown()
    assert ("camera.fault", B[0], 0) in city.shown(), "another site: not what the one has in common"
    city.fault(A[:1])
    city.gather(seconds=5)
    assert ("place.fault", "s1-a", 4) in city.shown()


def test_when_all_are_well_it_clears_and_once_acknowledged_it_is_over(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    found = city.only()
    city.store.write_sync(lambda unit: actions.acknowledge(unit, ASHA, found.id))
    city.fault(A, active=False)
    city.gather(minutes=3)
    assert city.open() == []


def test_what_is_left_of_it_stands_for_itself(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    city.fault(A[1:], active=False)
    city.gather(seconds=5)
    city.gather(minutes=3)
    assert city.shown() == [("camera.fault", A[0], 0)]


def test_a_device_that_is_silent_and_back_stays_among_the_faulty(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    city.fall(A[:1])
    city.back(A[:1])
    city.gather(seconds=5)
    assert city.shown() == [("place.fault", "s1-a", 4)]


def test_a_device_that_is_taken_into_maintenance_leaves(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    change = {"service": "maintenance"}
    city.store.write_sync(lambda unit: registry.change_device(unit, ASHA, A[0], change))
    city.gather(seconds=5)
    assert ("place.fault", "s1-a", 3) in city.shown()


def test_what_an_operator_has_resolved_is_not_changed_when_devices_leave_it(city: City) -> None:
    city.fault(A)
    city.gather(seconds=5)
    found = city.only()
    city.store.write_sync(lambda unit: actions.resolve(unit, ASHA, found.id))
    before = city.store.read_sync(lambda conn: queries.get(conn, found.id))
    city.fault(A[:2], active=False)
    city.now += timedelta(seconds=5)
    city.store.write_sync(lambda unit: spread.let_go(unit, found.id, "ImageTooDark"))
    assert city.store.read_sync(lambda conn: queries.get(conn, found.id)) == before
    left = city.store.read_sync(lambda conn: of_place.devices_in(conn, found.id))
    assert left == set(A[2:])


def test_fog_over_the_whole_city_is_one_incident_of_the_fleet(city: City) -> None:
    city.fault((*FEEDER, *FAR), "ImageTooBlurry")
    city.gather(seconds=5)
    found = city.only()
    assert (found.kind, found.scope, found.children) == ("place.fault", None, 56)
    assert found.title == "Whole fleet: Picture too blurred at 56 of 56 devices with cameras"
