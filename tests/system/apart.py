"""A hub whose roles are apart: PostgreSQL, a NATS of its own, and any number of processes that can be killed one by one."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import sqlalchemy as sa
from prahari_provisioning.demo.processes import Program, installed

from bench.swarm.enrol import Registry, enrol, est_client, root_of
from tests.faults.field import Field, LightDevice
from tests.system.conftest import HEARTBEAT_S, Town, eventually


class Apart(Town):
    """``broker,web`` runs as the town's hub; workers are started and killed by name."""

    def __init__(self, folder: Path, offset: int, database: str) -> None:
        super().__init__(
            folder,
            offset,
            {
                "PRAHARI_DATABASE_URL": database,
                "PRAHARI_NATS_URL": f"nats://127.0.0.1:{4222 + offset}",
                "PRAHARI_OFFLINE_AFTER_S": "6",
            },
        )
        self.database = database
        self.field = Field()
        self.workers: dict[str, Program] = {}
        self._engine = sa.create_engine(database, poolclass=sa.NullPool)

    def build(self) -> None:
        self.do("prahari-hub", "init", "--broker-config")
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(
            self.do("prahari-hub", "token", "create", "tests", "--role", "admin", "--days", "1")
        )
        self.api.headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        configuration = str(self.folder / "hub" / "broker" / "nats.conf")
        self.programs.append(
            Program(
                "nats", [installed("nats-server"), "-c", configuration], self.folder / "nats.log", self.env
            )
        )
        eventually(lambda: self._listens(4222), "the broker to listen")

    def start_hub(self) -> None:
        """The process that people and devices reach."""
        self.hub = self.worker("front", "broker,web")
        eventually(self._hub_ready, "the console to be ready", within_s=90)

    def worker(self, name: str, roles: str, *more: str, **settings: str) -> Program:
        env = {**self.env, **settings}
        program = Program(
            name,
            [installed("prahari-hub"), "serve", "--roles", roles, *more],
            self.folder / f"{name}.log",
            env,
        )
        self.programs.append(program)
        self.workers[name] = program
        return program

    def kill(self, name: str) -> None:
        self.workers[name].process.send_signal(signal.SIGKILL)
        self.workers[name].process.wait()

    def leases(self) -> dict[str, str]:
        """Name → holder, of those that have not ended."""
        query = "SELECT name, holder FROM leases WHERE holder <> '' AND until > now() AND name NOT LIKE 'worker/%'"
        return {row[0]: row[1] for row in self.rows(query)}

    def rows(self, query: str, **values: object) -> list[sa.Row]:
        with self._engine.connect() as conn:
            return list(conn.execute(sa.text(query), values))

    def presences(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT presence FROM devices")}

    def light_devices(self, count: int) -> None:
        """More devices that speak the real contract, each in a thread, with one ledger of what they said."""
        if not self.field.devices:
            self.post("/sites", {"id": "wada", "name": "Shaniwar Wada", "lat": 18.5195, "lon": 73.8553})
        registry = Registry.connect(self.console, self.token_file.read_text().strip())
        root = root_of(registry)
        where = ("localhost", 8883 + self.offset)
        with est_client(registry, root) as est:
            for number in range(len(self.field.devices), len(self.field.devices) + count):
                name = f"light-{number:03d}"
                registry.ensure_device(name, "wada")
                enrol(registry, name, self.folder, est)
                device = LightDevice(name, self.folder, root, lambda: where, self.field.ledger, number)
                self.field.devices.append(device)
        registry.api.close()
        self.field.set(heartbeat_s=float(HEARTBEAT_S))
        for device in self.field.devices[-count:]:
            device.start()

    def close(self) -> None:
        self.field.stop()
        super().close()
        self._engine.dispose()

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port + self.offset)) == 0

    def second_console(self, offset: int) -> str:
        """Another web process, whose ports are shifted by ``offset``; its address."""
        self.worker("second front", "web", PRAHARI_PORT_OFFSET=str(offset))
        address = f"http://localhost:{8080 + offset}"
        eventually(
            lambda: self.api.get(f"{address}/readyz", timeout=2).status_code == 200,
            "the second console to be ready",
            within_s=90,
        )
        return address
