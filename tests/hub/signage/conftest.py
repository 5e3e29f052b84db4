"""A store with one display and a call box, and a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_hub.fleet import registry, twins
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.served import Serves, serve
from prahari_hub.fleet.tables import devices
from prahari_hub.http.actor import Actor, Role
from prahari_hub.signage import displays, overrides
from prahari_hub.signage.overrides import Wanted
from prahari_hub.store import Store, Unit
from prahari_wire.base import Message
from prahari_wire.display import DisplayClass, DisplayConfig, OverrideState, PlaylistItem, TextContent
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired

ASHA = Actor("asha", Role.OPERATOR)
SIGN = ("pune-vms-01", "sign1")
PLAYLIST = [
    PlaylistItem(id="slow", content=TextContent(text="DRIVE SLOWLY")),
    PlaylistItem(id="belt", content=TextContent(text="WEAR BELTS")),
]


class Signs:
    """What an operator, a display and the clock do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def create(self, text: str = "ROAD CLOSED", *, minutes: float = 10, **more: Any) -> str:
        values: dict[str, Any] = {
            "cls": DisplayClass.EMERGENCY,
            "priority": 2,
            "content": TextContent(text=text),
            "reason": "water main burst",
            "expires_at": self.now + timedelta(minutes=minutes),
        }
        wanted = Wanted(**(values | more))
        return self.store.write_sync(lambda unit: overrides.create(unit, ASHA, SIGN, wanted))

    def cancel(self, override: str) -> None:
        self.store.write_sync(lambda unit: overrides.cancel(unit, ASHA, override))

    def due(self) -> list[Any]:
        return [item.message for item in self.store.write_sync(overrides.take_due)]

    def renew(self) -> int:
        return self.store.write_sync(overrides.renew)

    def expire(self) -> int:
        return self.store.write_sync(overrides.expire)

    def birth(self) -> None:
        self.store.write_sync(lambda unit: overrides.on_birth(unit, SIGN[0]))

    def say(
        self,
        kind: str,
        body: Message,
        *,
        late: bool = False,
        at: datetime | None = None,
        peripheral: str = SIGN[1],
    ) -> None:
        at = at or self.now
        fact = Fact(SIGN[0], None, peripheral, "display", kind, body, at, late, ulid(), self.now)
        handle: Callable[[Unit, Fact], None] = (
            overrides.reported if isinstance(body, OverrideState) else displays.shown
        )
        self.store.write_sync(lambda unit: handle(unit, fact))

    def display(self) -> displays.Display:
        return self.store.read_sync(lambda conn: displays.get(conn, ":".join(SIGN), self.now))


@pytest.fixture
def signs(database_url: str) -> Iterator[Signs]:
    store = Store.open(database_url)
    found = Signs(store)
    store.clock = lambda: found.now

    def build(unit: Unit) -> None:
        registry.create_device(unit, ASHA, SIGN[0], name="Gantry")
        serve(unit, SIGN[0], Serves({SIGN[1]: "display", "box1": "callbox"}, {}))
        unit.conn.execute(devices.update().values(presence="online", born_at=unit.now))
        desired = Desired(peripherals={SIGN[1]: DisplayConfig(playlist=PLAYLIST)})
        twins.put(unit, ASHA, SIGN[0], desired, if_version=0)

    store.write_sync(build)
    yield found
    store.close()
