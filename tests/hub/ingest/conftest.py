"""A real store, the real ingest core driven with bytes, and a device that speaks the wire contract."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.tables import devices
from prahari_hub.ingest.handlers import table
from prahari_hub.ingest.role import Ingest
from prahari_hub.store import Store, Unit
from prahari_wire.ack import Ack
from prahari_wire.ids import ulid
from prahari_wire.topics import Down, Up, gone_subject, mapped_subject


class Time:
    """The hub's clocks, moved by hand."""

    def __init__(self) -> None:
        self.mono_s = 1000.0
        self.wall = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.wall

    def mono(self) -> float:
        return self.mono_s

    def pass_s(self, seconds: float) -> None:
        self.mono_s += seconds
        self.wall += timedelta(seconds=seconds)


class Box:
    """Messages of one device, as JSON values that a test may spoil."""

    def __init__(self, time: Time, device: str = "pune-ecb-01") -> None:
        self.time = time
        self.device = device
        self.boot = str(uuid4())
        self.conn = 1
        self.journal = str(uuid4())
        self.seq = -1

    def stamp(self) -> dict[str, Any]:
        return {
            "id": ulid(),
            "boot": self.boot,
            "conn": self.conn,
            "at": self.time.wall.isoformat(),
            "mono_ms": int(self.time.mono_s * 1000),
            "clock": "synced",
        }

    def birth(self, **body: Any) -> dict[str, Any]:
        peripherals = [{"id": "box1", "type": "callbox"}, {"id": "sign1", "type": "display"}]
        versions = {"agent": "0.1.0", "python": "3.11", "os": "Debian", "board": "simulated"}
        said = {"peripherals": peripherals, "versions": versions, "journal": self.journal, "low": 0}
        return {"v": 1, **self.stamp(), "body": said | body}

    def gone(self, reason: str = "lost") -> dict[str, Any]:
        return {"v": 1, **self.stamp(), "body": {"reason": reason}}

    def heartbeat(self, *checks: dict[str, Any], **body: Any) -> dict[str, Any]:
        return {"v": 1, **self.stamp(), "body": {"uptime_s": 5, "checks": list(checks), **body}}

    def event(self, kind: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.seq += 1
        return self.stamp() | {"seq": self.seq, "kind": kind, "body": body} | more

    def press(self, **more: Any) -> dict[str, Any]:
        return self.event(
            "callbox.press", {"press": ulid(), "count": self.seq + 2}, peripheral="box1", **more
        )

    def batch(self, *events: dict[str, Any], low: int = 0) -> dict[str, Any]:
        return {"v": 1, "id": ulid(), "journal": self.journal, "low": low, "events": list(events)}


class Hub:
    """Ingest without a broker: what a device says goes in, what it would hear is in ``acks``."""

    def __init__(self, store: Store, time: Time, limits: Limits) -> None:
        self.store = store
        self.time = time
        self.acks: list[tuple[str, Ack]] = []
        self.facts: list[Fact] = []
        self.fail: set[str] = set()
        self.failures = 0
        self.ingest = Ingest(
            store, self.hear, handlers=table(self.incident), limits=limits, mono=time.mono, flush_s=5
        )

    async def hear(self, device: str, channel: Down, ack: Ack) -> None:
        assert channel is Down.ACK
        self.acks.append((device, ack))

    def incident(self, unit: Unit, fact: Fact) -> None:
        if fact.ulid in self.fail:
            self.failures += 1
            unit.tell("incidents", id="half-done")
            unit.conn.execute(devices.update().values(name="half-done"))
            raise RuntimeError("a handler that fails")
        self.facts.append(fact)

    async def say(self, box: Box, channel: Up, *messages: dict[str, Any] | bytes) -> list[Ack]:
        """Send messages as one batch; the acks that they brought."""
        before = len(self.acks)
        subject = gone_subject(box.device) if channel is Up.GONE else mapped_subject(box.device, channel)
        for message in messages:
            payload = message if isinstance(message, bytes) else json.dumps(message).encode()
            self.ingest.receive([(subject.encode(), payload)])
        await self.ingest.settle()
        return [ack for _, ack in self.acks[before:]]

    async def flush(self) -> None:
        await self.ingest.flusher.flush()

    async def tick(self, seconds: float) -> None:
        """Let time pass; the hub sweeps each second."""
        flusher = self.ingest.flusher
        for _ in range(int(seconds)):
            self.time.pass_s(1)
            await flusher.sweep()
        self.time.pass_s(seconds - int(seconds))
        await flusher.sweep()
        await flusher.write_due()

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        return self.store.read_sync(lambda conn: conn.execute(query).all())

    def scalar(self, query: sa.Select[Any]) -> Any:
        return self.store.read_sync(lambda conn: conn.scalar(query))


@pytest.fixture
def refuses_writes(
    store: Store, request: pytest.FixtureRequest
) -> Callable[[], AbstractContextManager[None]]:
    """Within refuses_writes() the database takes no writes."""
    if store.engine.dialect.name == "sqlite":
        return lambda: another_process_holds(store)
    return lambda: it_is_a_standby(store, request.getfixturevalue("postgres"))


@contextmanager
def another_process_holds(store: Store) -> Iterator[None]:
    def be_impatient(conn: sa.Connection) -> None:
        conn.exec_driver_sql("PRAGMA busy_timeout = 20")

    sa.event.listen(store.engine, "begin", be_impatient, insert=True)
    other = sqlite3.connect(str(store.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()
        sa.event.remove(store.engine, "begin", be_impatient)


@contextmanager
def it_is_a_standby(store: Store, server: Any) -> Iterator[None]:
    name = store.engine.url.database
    server.do(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.engine.dispose()
    try:
        yield
    finally:
        server.do(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        store.engine.dispose()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(database_url: str, time: Time) -> Iterator[Store]:
    found = Store.open(database_url, clock=time.now)

    def register(unit: Unit) -> None:
        for device in ("pune-ecb-01", "pune-cam-01"):
            unit.conn.execute(devices.insert().values(id=device, created_at=unit.now))

    found.write_sync(register)
    yield found
    found.close()


@pytest.fixture
async def hub(store: Store, time: Time) -> AsyncIterator[Hub]:
    made = Hub(store, time, Limits(45, 90))
    await made.ingest.load()
    await made.ingest.on_sight(True)
    yield made


@pytest.fixture
def box(time: Time) -> Box:
    return Box(time)


@pytest.fixture
def new_box(time: Time) -> Callable[..., Box]:
    """new_box(device) is another box."""
    return lambda device="pune-ecb-01": Box(time, device)
