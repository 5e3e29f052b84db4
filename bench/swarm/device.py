"""One light device: a session, a heartbeat, a small outbox with end-to-end acks. No threads of its own."""

from __future__ import annotations

import random
import ssl
import time
from pathlib import Path
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire.ack import Ack
from prahari_wire.base import Clock, Message, now_utc, parse
from prahari_wire.camera import CameraFault, ContentFault
from prahari_wire.envelope import Event, EventBatch
from prahari_wire.events import CAMERA_FAULT
from prahari_wire.health import Check, Health, HealthMessage, PeripheralHealth, State
from prahari_wire.ids import ulid
from prahari_wire.presence import (
    Birth,
    BirthMessage,
    BootReason,
    Gone,
    GoneMessage,
    GoneReason,
    Peripheral,
    PeripheralType,
    Versions,
)
from prahari_wire.topics import Down, Up, down_filter, up
from prahari_wire.topics import parse as parse_topic

REPEAT_S = 5.0
"""Births and batches are sent again after this long without an ack."""


class LightDevice:
    def __init__(
        self, device: str, home: Path, root_pem: str, *, heartbeat_s: float, fault_share: float
    ) -> None:
        self.id = device
        self.heartbeat_s = heartbeat_s
        self.fault_share = fault_share
        self.boot, self.conn, self.journal, self.seq = uuid4(), 0, uuid4(), 0
        self.started = time.monotonic()
        self.next_beat = self.started + random.uniform(0, heartbeat_s)
        self.birth_due: float | None = None
        self.birth_id = ""
        self.held: dict[int, Event] = {}
        self.batch_due = 0.0
        self.fault_since = None if random.random() > fault_share else now_utc()
        self.client = self._client(home, root_pem)

    def _client(self, home: Path, root_pem: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.id, clean_session=True)
        context = ssl.create_default_context(cadata=root_pem)
        context.load_cert_chain(home / f"{self.id}.pem", home / f"{self.id}.key")
        client.tls_set_context(context)
        client.on_connect = self._connected
        client.on_message = self._received
        return client

    def connect(self, host: str, port: int) -> None:
        self.conn += 1
        gone = GoneMessage(**self._stamp(), id=ulid(), body=Gone(reason=GoneReason.LOST))
        self.client.will_set(up(self.id, Up.GONE), gone.model_dump_json(), qos=1)
        self.client.connect(host, port, keepalive=60)

    def tick(self, now: float) -> None:
        """Say what is due."""
        self.client.loop_misc()
        if self.birth_due is not None and now >= self.birth_due:
            self._say_birth(now)
        if now >= self.next_beat:
            self.next_beat = now + self.heartbeat_s
            self._publish(Up.HEALTH, HealthMessage(**self._stamp(), id=ulid(), body=self._health(now)))
            self._maybe_change()
        if self.held and now >= self.batch_due:
            self._say_events(now)

    def leave(self) -> None:
        self._publish(Up.GONE, GoneMessage(**self._stamp(), id=ulid(), body=Gone(reason=GoneReason.SHUTDOWN)))
        self.client.disconnect()

    def emit(self, kind: str, body: Message) -> None:
        self.seq += 1
        self.held[self.seq] = Event(
            **self._stamp(),
            id=ulid(),
            seq=self.seq,
            kind=kind,
            peripheral="cam1",
            body=body.model_dump(mode="json"),
        )
        self.batch_due = 0.0

    def _stamp(self) -> dict[str, object]:
        mono_ms = int((time.monotonic() - self.started) * 1000)
        return {
            "boot": self.boot,
            "conn": self.conn,
            "at": now_utc(),
            "mono_ms": mono_ms,
            "clock": Clock.SYNCED,
        }

    def _publish(self, channel: Up, message: Message) -> None:
        self.client.publish(up(self.id, channel), message.model_dump_json())

    def _connected(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(down_filter(self.id))
        self.birth_due = 0.0

    def _say_birth(self, now: float) -> None:
        self.birth_due = now + REPEAT_S
        self.birth_id = ulid()
        body = Birth(
            peripherals=[Peripheral(id="cam1", type=PeripheralType.CAMERA)],
            versions=Versions(agent="swarm", python="3", os="simulated", board="simulated"),
            journal=self.journal,
            low=min(self.held, default=self.seq + 1),
            boot_reason=BootReason.POWER_ON,
        )
        self._publish(Up.BIRTH, BirthMessage(**self._stamp(), id=self.birth_id, body=body))

    def _health(self, now: float) -> Health:
        faults = [str(ContentFault.FROZEN)] if self.fault_since else []
        state = State.FAIL if faults else State.OK
        checks = [
            Check(name="cpu", state=State.OK, value=round(random.uniform(8, 30), 1)),
            Check(name="memory", state=State.OK, value=round(random.uniform(30, 45), 1)),
            Check(name="disk", state=State.OK, value=41.0),
            Check(name="temperature", state=State.OK, value=round(random.uniform(44, 58), 1)),
        ]
        peripheral = PeripheralHealth(id="cam1", state=state, faults=faults)
        return Health(uptime_s=int(now - self.started), checks=checks, peripherals=[peripheral])

    def _maybe_change(self) -> None:
        """Now and then a picture freezes or comes back."""
        if random.random() > self.fault_share:
            return
        since = self.fault_since
        self.fault_since = None if since else now_utc()
        body = CameraFault(fault=ContentFault.FROZEN, active=since is None, since=since or now_utc())
        self.emit(CAMERA_FAULT, body)

    def _say_events(self, now: float) -> None:
        self.batch_due = now + REPEAT_S
        events = [self.held[seq] for seq in sorted(self.held)[:50]]
        self._publish(
            Up.EVENT, EventBatch(id=ulid(), journal=self.journal, low=min(self.held), events=events)
        )

    def _received(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if parse_topic(message.topic).channel is not Down.ACK:
            return
        ack = parse(Ack, message.payload)
        if ack.birth == self.birth_id:
            self.birth_due = None
        if ack.journal == self.journal and ack.upto is not None:
            self._forget(ack)

    def _forget(self, ack: Ack) -> None:
        upto = -1 if ack.upto is None else ack.upto
        done = {refusal.seq for refusal in ack.refused}
        for seq in list(self.held):
            if seq <= upto or seq in done or any(first <= seq <= last for first, last in ack.beyond):
                del self.held[seq]
