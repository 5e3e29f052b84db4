"""The hub's own certificate is renewed while the hub runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prahari_hub.broker import server as servers
from prahari_hub.broker.config import Plan
from prahari_hub.broker.keys import open_keys
from prahari_hub.broker.server import EmbeddedServer
from prahari_hub.identity.ca import Authority, open_authority
from prahari_hub.roles.certificate import Certificate
from prahari_hub.web.listen import Listener, bind
from prahari_wire.base import now_utc
from uvicorn import Config


class Clock:
    def __init__(self) -> None:
        self.now = now_utc()

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = open_authority(tmp_path, city="Pune", now=now_utc())
    found.server_certificate(["localhost"], now=now_utc())
    return found


@pytest.fixture
async def server(
    tmp_path: Path, authority: Authority, free_port: Callable[[], int]
) -> AsyncIterator[EmbeddedServer]:
    certificate, key = authority.server_files
    plan = Plan(tmp_path / "broker", free_port(), free_port(), certificate, key, authority.ca_file)
    found = EmbeddedServer(plan, open_keys(plan.folder / "keys.json"))
    await found.start()
    yield found
    await found.stop()


def shown(port: int) -> bytes:
    """The certificate that a listener shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw) as wrapped:
        certificate = wrapped.getpeercert(binary_form=True)
        assert certificate
        return certificate


async def until(condition: Callable[[], object], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def test_a_certificate_near_its_end_is_renewed_and_shown_by_broker_and_https(
    authority: Authority, server: EmbeddedServer, free_port: Callable[[], int]
) -> None:
    clock, port = Clock(), free_port()
    certificate, key = authority.server_files
    config = Config(lambda: None, ssl_certfile=certificate, ssl_keyfile=key, log_config=None, lifespan="off")
    listener = Listener(config, bind("127.0.0.1", port, "device HTTPS"), "device HTTPS")
    await listener.start()
    own = Certificate(authority, ["localhost"], clock=clock)
    own.shown_by += [server.reload, listener.renew]
    ports = (server.plan.mqtt_port, port)
    before = [await asyncio.to_thread(shown, each) for each in ports]

    await own.check()
    assert [await asyncio.to_thread(shown, each) for each in ports] == before
    clock.now += timedelta(days=330)
    await own.check()
    for each, old in zip(ports, before, strict=True):
        await until(lambda each=each, old=old: shown(each) != old)
    assert server.restarts == 0
    await listener.stop()


async def test_a_certificate_that_another_process_renewed_is_shown_as_well(authority: Authority) -> None:
    own = Certificate(authority, ["localhost"], clock=Clock())
    told: list[str] = []
    own.shown_by.append(lambda: told.append("new"))
    authority.server_certificate(["localhost"], now=now_utc() + timedelta(days=330))
    await own.check()
    await own.check()
    assert told == ["new"]


async def test_a_broker_that_hangs_is_started_again(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LISTEN_S", 0.5)
    first = server.pid
    for task in server._tasks[1:]:
        task.cancel()
    server._tasks[1:] = [asyncio.create_task(server._listen())]
    assert server._process
    server._process.send_signal(signal.SIGSTOP)
    await until(lambda: server.pid not in (None, first))
    assert server.restarts == 1


async def test_a_broker_that_cannot_be_started_again_is_tried_until_it_can(server: EmbeddedServer) -> None:
    folder = server.plan.folder
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    folder.write_text("in the way")
    assert server._process
    server._process.kill()
    await until(lambda: server.restarts >= 2)
    folder.unlink()
    hidden.rename(folder)
    await until(lambda: server.pid is not None)
