"""Light devices in one process: the real contract over real MQTT with real certificates, and a ledger of what they said."""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire.ack import Ack
from prahari_wire.base import Clock, Message, Refused, now_utc, parse
from prahari_wire.callbox import Press, SelfTest
from prahari_wire.display import OverrideSet
from prahari_wire.envelope import Event, EventBatch
from prahari_wire.events import PRESS, SELF_TEST
from prahari_wire.health import Check, Health, HealthMessage, State
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

from bench.swarm.ledger import Ledger

REPEAT_S = 1.5
BATCH = 40
IN_FLIGHT = 3


@dataclass
class Flight:
    """A batch that waits for its ack."""

    seqs: list[int]
    due_s: float


@dataclass
class Habits:
    """How a device behaves; a test may change it while it runs. ``echo``: so often is each batch sent again although not due; ``sign``: its
    next birth tells of a display."""

    heartbeat_s: float = 2.0
    events_a_s: float = 2.0
    echo: float = 0.0
    shuffle: bool = False
    sign: bool = False


class LightDevice(threading.Thread):
    """One device with a thread of its own. It keeps an event until the hub's ack names it, as the real outbox does."""

    def __init__(self, device: str, home: Path, root_pem: str, broker: Callable[[], tuple[str, int]], ledger: Ledger,
                 seed: int) -> None:  # fmt: skip
        super().__init__(name=device, daemon=True)
        self.id, self._broker, self._ledger = device, broker, ledger
        self.habits = Habits()
        self.held: dict[int, Event] = {}
        self.told: list[OverrideSet] = []
        self.welcomed = False
        self.retry_after_s = 0.0
        self._dice = random.Random(f"{seed} {device}")
        self._context = ssl.create_default_context(cadata=root_pem)
        self._context.load_cert_chain(home / f"{device}.pem", home / f"{device}.key")
        self._boot, self._conn, self._journal, self._seq = uuid4(), 0, uuid4(), 0
        self._began = time.monotonic()
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._birth = ""
        self._flights: dict[str, Flight] = {}
        self._hold_until = 0.0

    # What a test does

    def emit(self, kind: str, body: Message, *, peripheral: str = "box1") -> tuple[UUID, int]:
        with self._lock:
            self._seq += 1
            seq = self._seq
            event = Event(**self._stamp(), id=ulid(), seq=seq, kind=kind, peripheral=peripheral,
                          body=body.model_dump(mode="json"))  # fmt: skip
            self._ledger.made(self.id, str(self._journal), seq, kind, event.id)
            self.held[seq] = event
        return self._journal, seq

    def press(self) -> tuple[UUID, int]:
        return self.emit(PRESS, Press(press=ulid(), count=1))

    @staticmethod
    def self_test() -> tuple[str, Message]:
        """An event that raises no incident."""
        return SELF_TEST, SelfTest(passed=True, lamp=True, button=True)

    def stop(self) -> None:
        """Leave with a last word."""
        self._stopping.set()
        self.join(10)

    # The thread

    def run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(OSError, ValueError):
                self._one_connection()
            self.welcomed = False
            self._stopping.wait(self._dice.uniform(0.1, 1.0))

    def _one_connection(self) -> None:
        self._conn += 1
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self.id, clean_session=True, reconnect_on_failure=False
        )
        client.tls_set_context(self._context)
        client.connect_timeout = 5
        client.on_message = self._received
        client.on_connect = lambda c, *_: c.subscribe(down_filter(self.id))
        gone = GoneMessage(**self._stamp(), id=ulid(), body=Gone(reason=GoneReason.LOST))
        client.will_set(up(self.id, Up.GONE), gone.model_dump_json(), qos=1)
        with self._lock:
            self._flights.clear()
            self._birth = ""
        client.connect(*self._broker(), keepalive=10)
        try:
            self._serve(client)
        finally:
            client.disconnect()
            if (sock := client.socket()) is not None:
                sock.close()

    def _serve(self, client: mqtt.Client) -> None:
        now = time.monotonic()
        birth_at, beat_at, event_at = now, now + self._dice.uniform(0, self.habits.heartbeat_s), now
        while not self._stopping.is_set():
            if client.loop(0.02) != mqtt.MQTT_ERR_SUCCESS:
                return
            now = time.monotonic()
            if not client.is_connected():
                continue
            if not self.welcomed and now >= birth_at:
                birth_at = now + REPEAT_S
                self._say_birth(client)
            if now >= beat_at:
                beat_at = now + self.habits.heartbeat_s
                self._say(
                    client,
                    Up.HEALTH,
                    HealthMessage(**self._stamp(), id=ulid(), body=_health(now - self._began, self._dice)),
                )
            if self.habits.events_a_s and now >= event_at:
                event_at = now + self._dice.expovariate(self.habits.events_a_s)
                self.emit(*self.self_test())
            if self.welcomed and now >= self._hold_until:
                self._say_events(client, now)
        self._say(
            client, Up.GONE, GoneMessage(**self._stamp(), id=ulid(), body=Gone(reason=GoneReason.SHUTDOWN))
        )
        client.loop(0.05)

    def _say(self, client: mqtt.Client, channel: Up, message: Message) -> None:
        client.publish(up(self.id, channel), message.model_dump_json(by_alias=True))

    def _say_birth(self, client: mqtt.Client) -> None:
        self._birth = ulid()
        versions = Versions(agent="faults", python="3", os="simulated", board="simulated")
        served = {"box1": PeripheralType.CALLBOX} | (
            {"sign1": PeripheralType.DISPLAY} if self.habits.sign else {}
        )
        body = Birth(
            peripherals=[Peripheral(id=id, type=type) for id, type in served.items()], versions=versions, journal=self._journal,
            low=self._low(), boot_reason=BootReason.POWER_ON,
        )  # fmt: skip
        self._say(client, Up.BIRTH, BirthMessage(**self._stamp(), id=self._birth, body=body))

    def _low(self) -> int:
        with self._lock:
            return min(self.held, default=self._seq + 1)

    def _say_events(self, client: mqtt.Client, now: float) -> None:
        with self._lock:
            due = [flight for flight in self._flights.values() if flight.due_s <= now]
            flying = {seq for flight in self._flights.values() for seq in flight.seqs}
            fresh = [seq for seq in sorted(self.held) if seq not in flying][:BATCH]
        for flight in due:
            flight.due_s = now + REPEAT_S
            self._say_batch(client, flight.seqs, flight)
        if fresh and len(self._flights) < IN_FLIGHT:
            self._say_batch(client, fresh, Flight(fresh, now + REPEAT_S))

    def _say_batch(self, client: mqtt.Client, seqs: Sequence[int], flight: Flight) -> None:
        with self._lock:
            events = [self.held[seq] for seq in seqs if seq in self.held]
            batch, low = ulid(), min(self.held, default=self._seq + 1)
            self._flights = {k: f for k, f in self._flights.items() if f is not flight}
            if not events:
                return
            self._flights[batch] = flight
        if self.habits.shuffle:
            self._dice.shuffle(events)
        for seq in [event.seq for event in events]:
            self._ledger.sent(self.id, str(self._journal), seq, late=False)
        message = EventBatch(id=batch, journal=self._journal, low=low, events=events)
        for _ in range(1 + (self._dice.random() < self.habits.echo)):
            self._say(client, Up.EVENT, message)

    def _received(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        channel = parse_topic(message.topic).channel
        if channel is Down.OVERRIDE:
            self.told.append(parse(OverrideSet, message.payload))
        if channel is not Down.ACK:
            return
        try:
            ack = parse(Ack, message.payload)
        except Refused:
            return
        if ack.retry_after_s:
            self.retry_after_s = ack.retry_after_s
            self._hold_until = time.monotonic() + ack.retry_after_s
        if ack.birth == self._birth:
            self.welcomed = True
        with self._lock:
            if ack.batch:
                self._flights.pop(ack.batch, None)
            if ack.journal == self._journal:
                self._settle(ack)

    def _settle(self, ack: Ack) -> None:
        refused = {refusal.seq: refusal.detail for refusal in ack.refused}
        upto = -1 if ack.upto is None else ack.upto
        for seq in list(self.held):
            if seq in refused:
                self._ledger.refused(self.id, str(self._journal), seq, refused[seq])
            elif seq <= upto or any(first <= seq <= last for first, last in ack.beyond):
                self._ledger.acked(self.id, str(self._journal), seq, ack.at.isoformat())
            else:
                continue
            del self.held[seq]

    def _stamp(self) -> dict[str, object]:
        mono_ms = int((time.monotonic() - self._began) * 1000)
        return {
            "boot": self._boot,
            "conn": self._conn,
            "at": now_utc(),
            "mono_ms": mono_ms,
            "clock": Clock.SYNCED,
        }


def _health(uptime_s: float, dice: random.Random) -> Health:
    checks = [
        Check(name="cpu", state=State.OK, value=round(dice.uniform(8, 30), 1)),
        Check(name="temperature", state=State.OK, value=round(dice.uniform(44, 58), 1)),
    ]
    return Health(uptime_s=int(uptime_s), checks=checks, peripherals=[])


@dataclass
class Field:
    """Many light devices with one ledger."""

    devices: list[LightDevice] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def set(self, **habits: float | bool) -> None:
        for device in self.devices:
            for name, value in habits.items():
                setattr(device.habits, name, value)

    @property
    def acked(self) -> int:
        return sum(1 for entry in list(self.ledger.entries.values()) if entry.acked_s)

    @property
    def held(self) -> int:
        return sum(len(device.held) for device in self.devices)

    @property
    def all_welcomed(self) -> bool:
        return all(device.welcomed for device in self.devices)

    def stop(self) -> None:
        for device in self.devices:
            device._stopping.set()
        for device in self.devices:
            device.stop()
