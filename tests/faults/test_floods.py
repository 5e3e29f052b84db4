"""One device, one event or one browser that misbehaves: everybody else is served as before."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire.topics import Up, up

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]
MALFORMED = (
    b"{",
    b"\xff\xfe\x00",
    b"[" * 4000,
    b'{"v":1,"v":1}',
    b'{"v":1,"id":"x"}',
    json.dumps({"v": 2}).encode(),
    b"",
)


class Flooder:
    """Sends as fast as it is told over one device's connection; ``sent`` counts."""

    def __init__(self, place: Any, *, a_second: int) -> None:
        self.sent, self._a_second = 0, a_second
        field = place.field(1, events_a_s=0.0)
        [device] = field.devices
        field.stop()
        self.device = device.id
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device.id, clean_session=True)
        context = ssl.create_default_context(cadata=place.root_pem)
        homes = place.folder / "field"
        context.load_cert_chain(homes / f"{device.id}.pem", homes / f"{device.id}.key")
        self._client.tls_set_context(context)
        self._client.connect("localhost", 8883 + place.offset)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def flooding(self) -> Iterator[None]:
        self._client.loop_start()
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join(10)
            self._client.disconnect()
            self._client.loop_stop()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopping.is_set():
            due = int((time.monotonic() - began) * self._a_second) - self.sent
            for _ in range(min(due, 2000)):
                payload = MALFORMED[self.sent % len(MALFORMED)]
                channel = (Up.EVENT, Up.HEALTH, Up.BIRTH, Up.GONE)[self.sent % 4]
                self._client.publish(up(self.device, channel), payload)
                self.sent += 1
            time.sleep(0.01)


def test_a_press_arrives_while_another_device_sends_10000_malformed_messages_a_second(place: Any) -> None:
    box, [other] = place.box, place.field(1, events_a_s=0.0).devices
    place.press(box)
    flood, before = Flooder(place, a_second=10_000), place.before()
    with flood.flooding():
        took = [place.light_press(other), place.press(box), *(place.light_press(other) for _ in range(5))]
        place.eventually(lambda: place.incidents(state="all", kind="device.flood"), "the flood to be said")
        took += [place.press(box), place.light_press(other)]
    print(f"{flood.sent} messages were sent; presses took {[round(s, 2) for s in took]} s")
    place.whole(before, box=box, away=frozenset({flood.device}))
    assert place.rows("SELECT sum(count) FROM refusal_counts WHERE device_id = :d", d=flood.device)[0][0] > 0
    assert [said["device"] for said in place.incidents(state="all", kind="device.flood")] == [flood.device]


def test_a_device_that_floods_with_good_events_is_held_back_and_loses_none(place: Any) -> None:
    box, before = place.box, place.before()
    field = place.field(2, events_a_s=0.0)
    for device in field.devices:
        for _ in range(1500):
            device.emit(*device.self_test())
    place.press(box)
    assert place.settle(field).stored == 3000
    place.whole(before, field=field, box=box)
    field.stop()


def test_an_event_whose_handler_raises_is_set_aside_and_its_neighbours_pass(place: Any) -> None:
    """The database itself makes the handler fail: no incident of that device can be written."""
    box, before = place.box, place.before()
    field = place.field(1, events_a_s=0.0)
    [device] = field.devices
    place.execute(
        f"CREATE TRIGGER poison BEFORE INSERT ON incidents WHEN new.device_id = '{device.id}' "
        "BEGIN SELECT RAISE(ABORT, 'poison'); END"
    )
    try:
        device.emit(*device.self_test())
        _, poisoned = device.press()
        device.emit(*device.self_test())
        place.eventually(lambda: field.held == 0, "every event to be settled")
        place.press(box)
    finally:
        place.execute("DROP TRIGGER poison")
    balance = field.ledger.check(place.database)
    assert (balance.refused, balance.stored, balance.missing, balance.doubled) == (1, 2, [], [])
    kept = place.rows("SELECT seq, reason FROM refusals WHERE device_id = :d", d=device.id)
    assert [row[0] for row in kept] == [poisoned]
    place.whole(before, box=box)
    field.stop()


def test_a_browser_that_does_not_read_slows_nobody(place: Any) -> None:
    box, field = place.box, place.near
    place.all_online(field, box)
    field.set(events_a_s=2.0)
    token, before = place.api.headers["Authorization"], place.before()
    sleepers = []
    for _ in range(20):
        sleeper = socket.create_connection(("localhost", 8080 + place.offset))
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        path = "/live?topics=devices,incidents,transitions,commands"
        sleeper.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode())
        sleepers.append(sleeper)
    try:
        took = [place.press(box), *(place.light_press(field.devices[0]) for _ in range(5))]
        started = time.monotonic()
        assert place.get("/devices")["items"]
        print(f"presses took {[round(s, 2) for s in took]} s, a page {time.monotonic() - started:.2f} s")
    finally:
        for sleeper in sleepers:
            with closing(sleeper):
                pass
    place.whole(before, field=field, box=box)
