"""Identity and broker together: real certificates, real callout, real MQTT clients."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import sqlalchemy as sa
from cryptography import x509
from prahari_hub.broker.callout import Peer
from prahari_hub.broker.role import Broker, open_broker
from prahari_hub.identity import certificates
from prahari_hub.identity.ca import serial_text
from prahari_hub.identity.spread import attach, tell_running_hub
from prahari_hub.settings import Settings

from .conftest import TECHNICIAN

A = "pune-cam-01"


@pytest.fixture
def settings(desk, port_offset: int) -> Settings:
    return Settings(home=desk.folder / "home", city="Pune", port_offset=port_offset)


@pytest.fixture
async def broker(desk, settings: Settings) -> AsyncIterator[Broker]:
    certificate, key = desk.identity.authority.server_files
    ca = desk.identity.authority.ca_file
    found = open_broker(settings, desk.identity.admission, certificate=certificate, key=key, ca=ca)
    await found.start()
    await attach(desk.identity, found)
    yield found
    await desk.identity.close()
    await found.stop()


class Client:
    """An MQTT connection with one certificate."""

    def __init__(self, desk, settings: Settings, certificate: Path, key: Path) -> None:
        self.up, self.down = threading.Event(), threading.Event()
        self.lost_at = 0.0
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=A, protocol=mqtt.MQTTv311, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=str(desk.identity.authority.ca_file))
        context.load_cert_chain(certificate, key)
        self.mqtt.tls_set_context(context)
        self.mqtt.on_connect = lambda _c, _u, _f, code, _p: (self.down if code.is_failure else self.up).set()
        self.mqtt.on_disconnect = self._lost
        self.mqtt.connect("127.0.0.1", settings.mqtt_port)
        self.mqtt.loop_start()

    def _lost(self, *_: object) -> None:
        self.lost_at = time.monotonic()
        self.down.set()

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture
def connect(desk, settings: Settings) -> AsyncIterator[Callable[[Path, Path], Client]]:
    made: list[Client] = []

    def make(certificate: Path, key: Path) -> Client:
        made.append(Client(desk, settings, certificate, key))
        return made[-1]

    yield make
    for client in made:
        client.close()


async def settled(condition: Callable[[], object], within_s: float = 5) -> bool:
    for _ in range(int(within_s / 0.01)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return bool(condition())


async def enrol(desk, box) -> Path:
    answer = await desk.enrol(box, await desk.claim(A))
    return box.keep(answer.certificates[0])


async def test_the_first_connection_makes_a_certificate_current_and_the_claim_used(
    desk, broker, box, connect
) -> None:
    file = await enrol(desk, box(A))
    assert list((await desk.serials(A)).values()) == ["next"]
    client = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(client.up.wait, 60)
    assert await settled(lambda: list(desk.identity.admission.serials(A).values()) == ["current"])


async def test_a_renewed_device_comes_in_with_the_old_pair_until_it_came_with_the_new_one(
    desk, broker, box, connect
) -> None:
    old = await enrol(desk, box(A))
    first = await asyncio.to_thread(connect, old, box(A).key())
    assert await asyncio.to_thread(first.up.wait, 60)
    assert await settled(lambda: list(desk.identity.admission.serials(A).values()) == ["current"])
    await asyncio.to_thread(first.close)
    answer = await desk.reenrol(box(A), old, key="second")
    new = box(A).keep(answer.certificates[0], "second")
    still = await asyncio.to_thread(connect, old, box(A).key())
    assert await asyncio.to_thread(still.up.wait, 60)
    await asyncio.to_thread(still.close)
    fresh = await asyncio.to_thread(connect, new, box(A).key("second"))
    assert await asyncio.to_thread(fresh.up.wait, 60)
    wanted = {serial_text(answer.certificates[0]): "current"}
    assert await settled(lambda: desk.identity.admission.serials(A) == wanted)
    late = await asyncio.to_thread(connect, old, box(A).key())
    assert await asyncio.to_thread(late.down.wait, 60)
    assert not late.up.is_set()


@pytest.mark.parametrize("read", ["one device", "all"])
async def test_a_hub_that_read_while_its_clock_was_ahead_lets_in_and_cuts_nobody(
    desk, broker, box, connect, read: str
) -> None:
    file = await enrol(desk, box(A))
    client = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(client.up.wait, 60)
    desk.clock.shift = timedelta(days=365)
    await (desk.identity.reload(A) if read == "one device" else desk.identity.catch_up())
    desk.clock.shift = timedelta()
    await asyncio.sleep(0.5)
    assert not client.down.is_set()
    await asyncio.to_thread(client.close)
    again = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(again.up.wait, 60)


async def test_a_revocation_cuts_within_two_seconds_and_refuses_the_next_connection(
    desk, broker, box, connect
) -> None:
    file = await enrol(desk, box(A))
    client = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(client.up.wait, 60)
    begun = time.monotonic()
    await desk.store.write(lambda unit: desk.identity.revoke(unit, TECHNICIAN, A, "stolen"))
    assert await asyncio.to_thread(client.down.wait, 60)
    assert client.lost_at - begun < 2
    again = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(again.down.wait, 60)
    assert not again.up.is_set()


async def test_what_was_read_before_a_revocation_lets_nobody_in_after_it(desk, box) -> None:
    await enrol(desk, box(A))
    reading, revoked = threading.Event(), threading.Event()

    def hold(_conn, _cursor, statement: str, *_: object) -> None:
        if "certificates" in statement and threading.current_thread().name.startswith("hub.store.read"):
            reading.set()
            revoked.wait(20)

    sa.event.listen(desk.store.engine, "after_cursor_execute", hold)
    reloading = asyncio.create_task(desk.identity.reload(A))
    assert await asyncio.to_thread(reading.wait, 20)
    await desk.store.write(lambda unit: desk.identity.revoke(unit, TECHNICIAN, A, "stolen"))
    revoked.set()
    await reloading
    sa.event.remove(desk.store.engine, "after_cursor_execute", hold)
    assert desk.identity.admission.serials(A) == {}


async def test_a_revocation_by_a_command_line_reaches_the_running_hub(
    desk, broker, settings, box, connect
) -> None:
    file = await enrol(desk, box(A))
    client = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(client.up.wait, 60)
    await desk.store.write(lambda unit: certificates.revoke_all(unit, A, "from a shell"))
    assert await tell_running_hub(settings, A)
    assert await asyncio.to_thread(client.down.wait, 60)


async def test_a_command_line_without_a_running_hub_is_told_so(desk, settings) -> None:
    assert not await tell_running_hub(settings, A)


async def test_a_retired_device_is_cut_and_refused_at_every_door_until_it_is_active_again(
    desk, broker, settings, box, connect
) -> None:
    retired: set[str] = set()
    desk.identity.retired = lambda conn: retired
    desk.store.on_changes = desk.identity.on_changes
    file = await enrol(desk, box(A))
    client = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(client.up.wait, 60)
    retired.add(A)
    await desk.store.write(lambda unit: unit.tell("devices", id=A, service="retired"))
    assert await asyncio.to_thread(client.down.wait, 60)
    again = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(again.down.wait, 60)
    answer = await desk.reenrol(box(A), file, key="new")
    assert (answer.status, "retired" in answer.detail) == (403, True)
    answer = await desk.enrol(box(A), await desk.claim(A), key="new")
    assert (answer.status, "retired" in answer.detail) == (403, True)
    retired.clear()
    assert await tell_running_hub(settings, A)
    peer = Peer.of(x509.load_pem_x509_certificate(file.read_bytes()))
    assert await settled(lambda: desk.identity.admission.refusal(peer) is None)
    back = await asyncio.to_thread(connect, file, box(A).key())
    assert await asyncio.to_thread(back.up.wait, 60)


async def test_a_hub_that_starts_knows_who_is_retired(desk, box) -> None:
    certificate = (await desk.enrol(box(A), await desk.claim(A))).certificates[0]
    desk.identity.retired = lambda conn: {A}
    await desk.identity.load()
    assert desk.identity.admission.refusal(Peer.of(certificate)) == "the device is retired"
