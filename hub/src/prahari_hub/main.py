"""The hub: build the parts, run, stop. Read ``run`` from top to bottom to see what there is and what flows where."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from uvicorn import Config

from prahari_hub import log as logs
from prahari_hub.broker.role import Broker, open_broker
from prahari_hub.fleet import blobs, device_api, dispatch, intake, registry
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.quota import Quota
from prahari_hub.identity import spread
from prahari_hub.identity.device_http import device_app
from prahari_hub.identity.peer import device_listener
from prahari_hub.identity.service import Identity, open_identity
from prahari_hub.incidents import lamp
from prahari_hub.incidents import service as incidents
from prahari_hub.ingest.handlers import BIRTH_HOOKS, table
from prahari_hub.ingest.role import Ingest
from prahari_hub.live.feed import Feed
from prahari_hub.scheduler.escalation import Escalation
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.scheduler.trust import Trust
from prahari_hub.settings import Settings
from prahari_hub.signage import overrides
from prahari_hub.store import Change, Store
from prahari_hub.store.migrate import migrate
from prahari_hub.web.app import Parts, console_app
from prahari_hub.web.listen import Listener, bind

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run every role until SIGTERM or SIGINT; SetupError says in one sentence what stands in the way."""
    logs.configure()
    spool_in(settings.home)
    asyncio.run(run(settings))


def spool_in(home: Path) -> None:
    """Large uploads wait on the disk of the home until they are checked: /tmp is often a small piece of memory."""
    folder = home / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(folder)


async def run(settings: Settings) -> None:
    """Open the store, then the broker, then the doors; close them the other way round."""
    async with AsyncExitStack() as stack:
        console_socket = bind(settings.listen, settings.console_port, "console")
        stack.callback(console_socket.close)
        device_socket = bind(settings.listen, settings.device_port, "device HTTPS")
        stack.callback(device_socket.close)

        store = open_store(settings)
        stack.callback(store.close)
        identity = open_identity(settings.home, store, city=settings.city)
        stack.push_async_callback(identity.close)
        identity.authority.server_certificate(settings.hosts, now=store.clock())
        identity.alarm = intake.alarm
        identity.retired = registry.retired
        await identity.load()
        feed = Feed()
        stack.callback(feed.close)

        ingest = Ingest(
            store,
            lambda device, channel, ack: broker.downlink.send(device, channel, ack),  # noqa: PLW0108 - broker comes later
            handlers=table(incidents.on_event),
            limits=Limits(settings.suspect_s, settings.offline_s, settings.heartbeat_s),
            flush_s=settings.flush_s,
            birth_hooks=(*BIRTH_HOOKS, lamp.on_birth),
        )
        broker = start_of_broker(settings, identity, ingest)
        dispatcher = dispatch.Dispatcher(
            store,
            broker.downlink.send,
            identity.signer.sign,
            sources=(*dispatch.SOURCES, overrides.take_due),
        )
        trust = Trust(accept=settings.accept_clock)
        scheduler = Scheduler(store, jobs(settings), trust=trust)
        escalation = Escalation(store, settings)
        store.on_changes = tell(
            feed.publish, identity.on_changes, ingest.on_changes, dispatcher.on_changes, scheduler.on_changes
        )

        await broker.start()
        stack.push_async_callback(broker.stop)
        await spread.attach(identity, broker)
        await ingest.start(broker.bus)
        stack.push_async_callback(ingest.stop)
        for part in (dispatcher.run, scheduler.run, escalation.run):
            await stack.enter_async_context(Worker(part))

        for listener in doors(settings, store, identity, feed, broker, trust, console_socket, device_socket):
            await listener.start()
            stack.push_async_callback(listener.stop)
        stack.callback(feed.close)  # first of all: streams to browsers would hold their server open
        ports = settings.console_port, settings.mqtt_port, settings.device_port
        log.info("ready: console on port %d, devices on %d and %d", *ports)
        await asked_to_stop()


def open_store(settings: Settings) -> Store:
    """The store with the newest schema."""
    store = Store.open(settings.store_url)
    migrate(store.engine)
    return store


def doors(
    settings: Settings,
    store: Store,
    identity: Identity,
    feed: Feed,
    broker: Broker,
    trust: Trust,
    console_socket: socket.socket,
    device_socket: socket.socket,
) -> tuple[Listener, Listener]:
    """What people and devices reach: the console with its API, and device HTTPS."""
    blob_store = blobs.open_blobs(settings)
    state = {
        "identity": identity,
        "feed": feed,
        "blobs": blob_store,
        "register_device": registry.ensure_device,
    }
    probes = {"broker": lambda: None if broker.bus.sees else "the broker is not reachable"}
    notices = {"clock": lambda: trust.held}
    console = console_app(Parts(settings, store, state=state, probes=probes, notices=notices))
    devices = device_app(
        identity,
        device_api.router,
        blobs=blob_store,
        settings=settings,
        quota=Quota(settings.upload_mib_a_day * 1024 * 1024),
    )
    listener = device_listener(devices, identity.authority, host=settings.listen, port=settings.device_port)
    return (
        Listener(listener, device_socket, "device HTTPS"),
        Listener(
            Config(console, log_config=None, access_log=False, server_header=False, ws="none"),
            console_socket,
            "console",
        ),
    )


def start_of_broker(settings: Settings, identity: Identity, ingest: Ingest) -> Broker:
    certificate, key = identity.authority.server_files
    return open_broker(
        settings,
        identity.admission,
        certificate=certificate,
        key=key,
        ca=identity.authority.ca_file,
        on_sight=ingest.on_sight,
    )


def tell(*listeners: Callable[[list[Change]], None]) -> Callable[[list[Change]], None]:
    """One listener that passes changes on to all, in this order."""

    def to_each(changes: list[Change]) -> None:
        for listener in listeners:
            listener(changes)

    return to_each


class Worker:
    """A task that lives as long as its block."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._work())

    async def __aexit__(self, *_exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def asked_to_stop() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
