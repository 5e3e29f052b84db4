"""A town whose every part can be broken: hub, broker, database, links, clocks, disks. What it knows is read from the database."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import sqlalchemy as sa
from prahari_agent import control
from prahari_agent.callbox.callbox import PRESS_EVERY_MS
from prahari_agent.errors import AgentError
from prahari_wire.callbox import CallboxConfig

from bench.swarm.enrol import Registry, enrol, est_client, root_of
from bench.swarm.ledger import Balance
from tests.faults.clockshim import Hands
from tests.faults.field import Field, LightDevice
from tests.faults.proxy import Proxy
from tests.system.conftest import Box, Town
from tests.system.conftest import eventually as soon

T = TypeVar("T")
LONG = os.environ.get("PRAHARI_FAULTS") == "long"
DEVICES = 40 if LONG else 12
PATIENCE_S = 120.0
PRESS_S = 2.0
QUIET = 0.7
MEMORY_MB = 120
"""What a fault may leave behind in the hub: the allocator keeps what Python has freed."""
"""From the finger to the row in the database, at a load below QUIET a core; the short form leaves a busy machine more than the long one."""


class Before(NamedTuple):
    """How it was before a fault: the last transition, the hub's process and its memory."""

    transition: int
    hub: int
    memory_mb: float


def eventually(found: Callable[[], T], what: str, *, within_s: float = PATIENCE_S) -> T:
    """As in tests/system, with patience for a machine that does much else: nothing here depends on when it comes."""

    def tried() -> T | None:
        try:
            return found()
        except sa.exc.OperationalError:
            return None

    return soon(tried, what, within_s=within_s)


class Place(Town):
    """``hands`` turns the clocks of what it starts, where this machine has a C compiler."""

    serve = ("prahari-hub", "serve")
    eventually = staticmethod(eventually)
    nobody = Field()

    def __init__(
        self, folder: Path, offset: int, settings: Mapping[str, str], seed: int, hands: Hands | None
    ) -> None:
        super().__init__(folder, offset, settings)
        self.seed, self.hands = seed, hands
        self.proxy = Proxy(("localhost", 8883 + offset), seed=seed).start()
        self.fields: list[Field] = []
        self.root_pem = ""
        self._pressed: dict[str, float] = {}
        self.boxes: list[Box] = []
        self._engine: sa.Engine | None = None
        self._names = 0

    # Parts, made when a test first asks for them

    @cached_property
    def near(self) -> Field:
        """Light devices with a good link."""
        return self.field(DEVICES)

    @cached_property
    def far(self) -> Field:
        """Light devices behind the proxy."""
        return self.field(DEVICES // 2, through=self.proxy)

    @cached_property
    def box(self) -> Box:
        """A call box with a good link."""
        return self.callbox("ecb-01")

    @cached_property
    def far_box(self) -> Box:
        """A call box behind the proxy."""
        return self.callbox("ecb-02", through_proxy=True)

    def field(self, count: int, *, through: Proxy | None = None, **habits: Any) -> Field:
        """``count`` new light devices, enrolled and running."""
        field = Field()
        registry = Registry.connect(self.console, self.token_file.read_text().strip())
        self.root_pem = root_pem = root_of(registry)
        homes = self.folder / "field"
        homes.mkdir(exist_ok=True)
        where = through.address if through else ("localhost", 8883 + self.offset)
        with closing(registry.api), est_client(registry, root_pem) as est:
            for _ in range(count):
                self._names += 1
                name = f"light-{self._names:03d}"
                registry.ensure_device(name, "wada")
                enrol(registry, name, homes, est)
                field.devices.append(
                    LightDevice(name, homes, root_pem, lambda: where, field.ledger, self.seed)
                )
        field.set(**habits)
        for device in field.devices:
            device.start()
        self.fields.append(field)
        eventually(lambda: field.all_welcomed, "the field to be welcomed")
        return field

    def callbox(self, device: str, *, through_proxy: bool = False, settings: Mapping[str, str] = {}) -> Box:
        """A real agent with one simulated call box, online with its twin applied."""
        kept = self.env
        self.env = {**kept, **settings, **self.shift(device)}
        if through_proxy:
            self.env["PRAHARI_AGENT_MQTT"] = f"localhost:{self.proxy.port}"
        try:
            box = PlaceBox(self, device, self.env)
            self.boxes.append(box)
            self.post("/devices", {"id": device, "site": "wada"})
            self._give_twin(device)
            box.seed()
            box.start()
        finally:
            self.env = kept
        eventually(lambda: self.twin_applied(device), f"{device} to come online with its twin applied")
        return box

    def build_from(self, template: Path, *, start: bool) -> None:
        """As ``build``, from a home and a token that were made once."""
        self.copy(template)
        self.api.headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        if not start:
            return
        self.start_hub()
        self.post("/zones", {"id": "kasba", "name": "Kasba Peth"})
        site = {"id": "wada", "name": "Shaniwar Wada", "zone": "kasba", "lat": 18.5195, "lon": 73.8553}
        self.post("/sites", site)

    def _give_twin(self, device: str) -> None:
        from prahari_wire.twin import Desired

        desired = Desired(heartbeat_s=2, peripherals={"box1": CallboxConfig()})
        answer = self.api.put(
            f"/devices/{device}/twin", json=desired.model_dump(mode="json"), headers={"If-Match": '"0"'}
        )
        assert answer.status_code == 200, answer.text

    def shift(self, name: str) -> dict[str, str]:
        """Environment with which the clock of ``name`` can be turned."""
        return self.hands.environment(name) if self.hands else {}

    # What breaks

    def start_hub(self) -> None:
        kept = self.env
        self.env = {**kept, **self.shift("hub")}
        try:
            self.hub = self.launch("hub", *self.serve, log=self.folder / "hub.log")
        finally:
            self.env = kept
        eventually(self._hub_ready, "the hub to be ready")

    @property
    def hub_process(self) -> psutil.Process:
        assert self.hub
        return psutil.Process(self.hub.process.pid)

    @property
    def broker_process(self) -> psutil.Process:
        def found() -> psutil.Process | None:
            children = self.hub_process.children(recursive=True)
            return next((child for child in children if "nats-server" in child.name()), None)

        return eventually(found, "the broker's process")

    def kill_broker(self) -> None:
        self.broker_process.send_signal(signal.SIGKILL)

    @property
    def memory_mb(self) -> float:
        return self.hub_process.memory_info().rss / 1e6

    # What is known

    @property
    def database(self) -> str:
        return (
            self.env.get("PRAHARI_DATABASE_URL")
            or f"sqlite:///file:{self.folder}/hub/hub.db?mode=ro&uri=true"
        )

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Read from the hub's database by a second reader."""
        if self._engine is None:
            url = (
                self.env.get("PRAHARI_DATABASE_URL")
                or f"sqlite:///file:{self.folder}/hub/hub.db?mode=ro&uri=true"
            )
            self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query), values))

    def last_transition(self) -> int:
        return int(self.rows("SELECT coalesce(max(id), 0) FROM transitions")[0][0])

    def called_offline(self, since: int) -> list[str]:
        """Devices that the hub called offline after the transition ``since``."""
        rows = self.rows(
            "SELECT device_id FROM transitions WHERE id > :since AND kind = 'presence' AND after = 'offline'",
            since=since,
        )
        return [row[0] for row in rows]

    def presences(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows("SELECT id, presence FROM devices")}

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        text = self.api.get(f"{self.console}/metrics", timeout=10).text
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    # What is claimed

    def before(self) -> Before:
        return Before(self.last_transition(), self.hub_process.pid, self.memory_mb)

    def whole(
        self,
        before: Before,
        *,
        field: Field | None = None,
        box: Box | None = None,
        away: frozenset[str] = frozenset(),
    ) -> Balance | None:
        """What holds after every fault: nothing acknowledged is missing or doubled, presence is right and nobody was called offline
        but those who were ``away``, memory is back, a press arrives in time. The field's balance."""
        balance = self.settle(field) if field else None
        self.all_online(field or self.nobody, *([box] if box else []))
        assert set(self.called_offline(before.transition)) <= away
        took = []
        if box:
            took.append(self.press(box))
            doubled = self.doubled(box)
            assert doubled == []
        if field:
            took.append(self.light_press(field.devices[0]))
        print(f"afterwards presses took {[round(s, 2) for s in took]} s")
        if self.hub_process.pid == before.hub:
            eventually(lambda: self.memory_mb < before.memory_mb + MEMORY_MB, "the hub's memory to be back")
        return balance

    def settle(self, field: Field, *, within_s: float = PATIENCE_S) -> Balance:
        """Let the field's outboxes run empty, then compare its ledger with the database; fails where they differ."""
        field.set(events_a_s=0.0)
        eventually(lambda: field.held == 0, "every event to be acknowledged", within_s=within_s)
        balance = field.ledger.check(self.database)
        assert balance.balanced, str(balance)
        return balance

    def all_online(self, field: Field, *boxes: Box, within_s: float = PATIENCE_S) -> None:
        names = {device.id for device in field.devices} | {box.device for box in boxes}

        def online() -> bool:
            found = self.presences()
            return all(found[name] == "online" for name in names)

        eventually(online, "every device to be called online", within_s=within_s)

    def execute(self, statement: str) -> None:
        """Change the hub's database behind its back."""
        with closing(sqlite3.connect(self.folder / "hub" / "hub.db", timeout=20)) as database:
            database.execute(statement)
            database.commit()

    def stored(self, box: Box, kind: str) -> int:
        """How many events of a kind the database holds of a box."""
        query = "SELECT count(*) FROM events WHERE device_id = :device AND kind = :kind"
        return int(self.rows(query, device=box.device, kind=kind)[0][0])

    def kept_presses(self, box: Box) -> int:
        """How many presses of a box are on a disk: its own or the hub's. Its own is looked at first, for none ever goes back."""
        with closing(sqlite3.connect(f"file:{box.home}/outbox.db?mode=ro", uri=True, timeout=20)) as outbox:
            rows = outbox.execute("SELECT event FROM events WHERE kind = 'callbox.press'").fetchall()
        query = "SELECT ulid FROM events WHERE device_id = :device AND kind = 'callbox.press'"
        return len(
            {json.loads(row[0])["id"] for row in rows}
            | {row[0] for row in self.rows(query, device=box.device)}
        )

    def doubled(self, box: Box) -> list[Any]:
        """Events of a box that stand in the database more than once, by what names them or by their id."""
        events = "FROM events WHERE device_id = :device GROUP BY"
        by_number = self.rows(
            f"SELECT journal, seq {events} journal, seq HAVING count(*) > 1", device=box.device
        )
        by_id = self.rows(f"SELECT ulid {events} ulid HAVING count(*) > 1", device=box.device)
        return [*by_number, *by_id]

    def ask_press(self, box: Box) -> None:
        """Press its button, later than the box would count it to the press before."""
        time.sleep(
            max(0.0, self._pressed.get(box.device, 0.0) + PRESS_EVERY_MS / 1000 + 0.1 - time.monotonic())
        )
        self._pressed[box.device] = time.monotonic()
        control.ask(box.home, "press", timeout_s=10, hold_s=0.1)

    def light_press(self, device: LightDevice) -> float:
        """A press of a light device; the seconds until it stands in the hub's database."""
        started = time.monotonic()
        journal, seq = device.press()
        query = "SELECT 1 FROM events WHERE device_id = :d AND journal = :j AND seq = :s"
        eventually(lambda: self.rows(query, d=device.id, j=str(journal), s=seq), "the press to arrive")
        took_s = time.monotonic() - started
        assert took_s < patience_s(), f"the press took {took_s:.2f} s"
        return took_s

    def wait_for_control(self, box: Box) -> None:
        """Until a box that was started serves its button again."""

        def ready() -> bool:
            try:
                return "box1" in str(control.ask(box.home, "status"))
            except AgentError:
                return False

        eventually(ready, f"{box.device} to serve its call box")

    def press(self, box: Box, *, within_s: float | None = None) -> float:
        """Press the button of a real agent; the seconds until its row stands in the hub's database."""
        before = self.stored(box, "callbox.press")
        self.ask_press(box)
        started = self._pressed[box.device]
        eventually(lambda: self.stored(box, "callbox.press") > before, "the press to arrive")
        took_s = time.monotonic() - started
        assert took_s < (within_s or patience_s()), f"the press took {took_s:.2f} s"
        return took_s

    def close(self) -> None:
        for field in self.fields:
            field.stop()
        super().close()
        self.proxy.stop()
        if self._engine:
            self._engine.dispose()


class PlaceBox(Box):
    """An agent that is started again with the environment of its first start."""

    def __init__(self, town: Place, device: str, env: Mapping[str, str]) -> None:
        super().__init__(town, device)
        self.env = dict(env)

    def start(self) -> None:
        kept, self.town.env = self.town.env, self.env
        try:
            super().start()
        finally:
            self.town.env = kept


def largest_file(pid: int, limit: int | None) -> None:
    """Let no file of a running process grow beyond ``limit`` bytes, as on a full disk; None lets all grow again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if limit is None else limit, hard))


def patience_s() -> float:
    """PRESS_S on a machine of our own; where others want its cores as well, so much more."""
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return PRESS_S if crowd <= QUIET else PRESS_S * max(1.0, crowd) * (1 if LONG else 3)
