"""A store with three devices, and facts as ingest hands them over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.access import users
from prahari_hub.fleet.facts import Fact, Transition
from prahari_hub.fleet.tables import commands, devices, sites, twins
from prahari_hub.http.actor import Actor, Role, system
from prahari_hub.incidents import service
from prahari_hub.store import Store
from prahari_wire.base import Severity
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.display import DisplayConfig
from prahari_wire.events import parse_body
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired

from tests.hub.clock import Clock

START = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
ASHA = Actor("asha", Role.OPERATOR)
ROAD = Region(id="road", name="Road", polygon=[(0, 0), (1, 0), (1, 1)], severity=Severity.MINOR)
GATE = Region(
    id="gate", name="Gate", polygon=[(0, 0), (1, 0), (1, 1)], classes=[], severity=Severity.CRITICAL
)
TWINS = {
    "pune-cam-01": {
        "cam1": CameraConfig(source="/clip.mp4", regions=[ROAD, GATE], fault_severity=Severity.WARNING)
    },
    "pune-ecb-01": {"box1": CallboxConfig()},
    "pune-vms-01": {"sign1": DisplayConfig(fault_severity=Severity.MAJOR)},
}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.write_sync(_fill)
    yield opened
    opened.close()


def _fill(unit: Any) -> None:
    unit.conn.execute(sites.insert().values(id="wada", name="Wada", lat=18.5, lon=73.8))
    for device, peripherals in TWINS.items():
        unit.conn.execute(
            devices.insert().values(id=device, site_id="wada", service="active", created_at=START)
        )
        document = Desired(peripherals=peripherals).model_dump(mode="json", by_alias=True)
        unit.conn.execute(
            twins.insert().values(
                device_id=device,
                version=1,
                sha256="0" * 64,
                document=document,
                updated_at=START,
                updated_by="t",
            )
        )
    for name, role in (("asha", Role.OPERATOR), ("ravi", Role.TECHNICIAN), ("audi", Role.AUDITOR)):
        users.add(unit, system("test"), name, password="four unrelated words here", role=role)


class Field:
    """Says what devices say. ``now`` of a fact is the clock's, unless given."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def event(
        self,
        device: str,
        peripheral: str | None,
        kind: str,
        *,
        late: bool = False,
        at: datetime | None = None,
        seq: int | None = None,
        **body: Any,
    ) -> None:
        fact = Fact(
            device=device,
            site_id="wada",
            peripheral=peripheral,
            peripheral_type=None,
            kind=kind,
            body=parse_body(kind, body),
            at=at or self.clock.now,
            late=late,
            ulid=ulid(),
            received_at=self.clock.now,
            journal="a-journal" if seq is not None else None,
            seq=seq,
        )
        self.store.write_sync(lambda unit: service.on_event(unit, fact))

    def press(self, **more: Any) -> None:
        self.event("pune-ecb-01", "box1", "callbox.press", press=ulid(), count=1, **more)

    def track(self, track: str, phase: str, *regions: str, **more: Any) -> None:
        body = {
            "phase": phase,
            "track": track,
            "label": "person",
            "score": 0.8,
            "started_at": self.clock.now.isoformat(),
            "box": {"left": 0.1, "top": 0.1, "right": 0.2, "bottom": 0.2},
            "frames": 3,
            "regions": list(regions),
        }
        self.event("pune-cam-01", "cam1", "camera.track", **(body | more))

    def camera_fault(self, *, active: bool, fault: str = "Frozen", **more: Any) -> None:
        since = self.clock.now.isoformat()
        self.event("pune-cam-01", "cam1", "camera.fault", fault=fault, active=active, since=since, **more)

    def transition(self, kind: str, before: str, after: str, device: str = "pune-cam-01") -> None:
        told = Transition(1, device, "wada", None, kind, before, after, self.clock.now, None)
        self.store.write_sync(lambda unit: service.on_transition(unit, told))

    def lamps(self) -> list[str]:
        """The lamp states that were commanded, in order."""
        query = sa.select(commands.c.args).order_by(commands.c.id)
        return [args["state"] for (args,) in self.store.read_sync(lambda conn: conn.execute(query).all())]


@pytest.fixture
def field(store: Store, clock: Clock) -> Field:
    return Field(store, clock)


@pytest.fixture
def do(store: Store) -> Callable[..., Any]:
    """do(action, *args) runs one write of a service as asha."""
    return lambda action, *args, actor=ASHA, **more: store.write_sync(
        lambda unit: action(unit, actor, *args, **more)
    )
