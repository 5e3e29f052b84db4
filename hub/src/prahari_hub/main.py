"""The hub: build the parts, run, stop. Read ``run`` from top to bottom to see what there is and what flows where."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prahari_wire.topics import PARTITIONS
from uvicorn import Config

from prahari_hub import log as logs
from prahari_hub.broker.connection import Sight
from prahari_hub.broker.gate import reconnect_window_s
from prahari_hub.broker.role import Broker, open_broker
from prahari_hub.evidence.sealing import Sealer
from prahari_hub.fleet import dispatch, intake, registry
from prahari_hub.fleet.map.board import Board, keep
from prahari_hub.fleet.presence import Limits
from prahari_hub.http.health import Probe
from prahari_hub.identity import spread
from prahari_hub.identity.ca import pem
from prahari_hub.identity.service import Identity, open_identity
from prahari_hub.incidents import lamp
from prahari_hub.incidents import service as incidents
from prahari_hub.ingest.chance import Spread
from prahari_hub.ingest.handlers import BIRTH_HOOKS, BirthHook, table
from prahari_hub.ingest.role import Ingest
from prahari_hub.live.feed import Feed
from prahari_hub.live.relay import Listening, Relay
from prahari_hub.roles import watching
from prahari_hub.roles.alone import alone
from prahari_hub.roles.certificate import Certificate
from prahari_hub.roles.heard import Heard
from prahari_hub.roles.share import Share
from prahari_hub.roles.workers import Workers
from prahari_hub.scheduler.escalation import Escalation
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.scheduler.trust import Trust
from prahari_hub.settings import Settings
from prahari_hub.signage import overrides
from prahari_hub.store import Change, FencedStore, Store, leases
from prahari_hub.store.copy import refuse_damaged
from prahari_hub.store.migrate import migrate
from prahari_hub.web.listen import Listener, bind
from prahari_hub.web.status import status_app

SWITCH_S = 0.0002
"""How long the event loop may keep the writer's thread waiting after each of its statements. SQLite's driver gives Python's lock
back at every step, and with the usual 5 ms a transaction of 200 statements took seconds while heartbeats were folded in."""
COLLECT = (50_000, 20, 100)
"""When Python looks for cycles: heartbeats leave none, and looking through what is known of a state's devices takes a second."""
log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run this process's roles until SIGTERM or SIGINT; SetupError says in one sentence what stands in the way."""
    logs.configure(form=settings.log_format, level=settings.log_level, roles=settings.roles)
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT)
    if "web" in settings.roles:
        import prahari_hub.web.doors  # noqa: F401 - before anything is answered; half a second and 10 MB that other roles are spared
    spool_in(settings.home)
    asyncio.run(run(settings))


def spool_in(home: Path) -> None:
    """Large uploads wait on the disk of the home until they are checked: /tmp is often a small piece of memory."""
    folder = home / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(folder)


async def run(settings: Settings) -> None:
    """Open what every process has, then the roles of this one; close them the other way round."""
    async with AsyncExitStack() as stack:
        stack.enter_context(alone(settings))
        sockets = open_sockets(settings, stack)
        hub = await open_hub(settings, stack)
        await connect(hub, stack)
        if "ingest" in settings.roles:
            await start_ingest(hub, stack)
        if "scheduler" in settings.roles:
            await start_scheduler(hub, stack)
        if "web" in settings.roles:
            await start_web(hub, stack, *sockets)
        elif sockets:
            await start_status(hub, stack, *sockets)
        log.info("ready: %s", said(settings))
        await asked_to_stop()


@dataclass
class Hub:
    """What every process of the hub has. ``listeners`` hear each change, made here or in another process."""

    settings: Settings
    store: Store
    identity: Identity
    broker: Broker
    relay: Relay
    certificate: Certificate
    trust: Trust
    feed: Feed = field(default_factory=Feed)
    listeners: list[Listening] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)

    async def seen(self, sees: bool) -> None:
        """The hub lost or regained sight of its devices."""
        for sight in self.sights:
            await sight(sees)

    def hear(self, changes: list[Change]) -> None:
        for listener in self.listeners:
            listener(changes)


async def open_hub(settings: Settings, stack: AsyncExitStack) -> Hub:
    """Store, identity and the broker's parts; nothing is connected yet."""
    store = open_store(settings)
    stack.callback(store.close)
    identity = open_identity(settings.home, store, city=settings.city)
    stack.push_async_callback(identity.close)
    own = Certificate(identity.authority, settings.hosts, clock=store.clock)
    identity.alarm = intake.alarm
    identity.retired = registry.retired
    certificate, key = identity.authority.server_files
    broker = open_broker(
        settings,
        identity.admission,
        certificate=certificate,
        key=key,
        ca=identity.authority.ca_file,
        on_sight=lambda sees: hub.seen(sees),  # noqa: PLW0108 - the hub comes below
    )
    relay = Relay(broker.between)
    watching.watch_store(store)
    hub = Hub(settings, store, identity, broker, relay, own, Trust(accept=settings.accept_clock))
    stack.callback(hub.feed.close)
    hub.listeners += [hub.feed.publish, identity.on_changes]
    alone_here = store.engine.dialect.name == "sqlite"  # no other process could listen
    store.on_changes = hub.hear if alone_here else tell(hub.hear, relay.send)
    return hub


def open_store(settings: Settings) -> Store:
    """The store with the newest schema; SetupError if its file is damaged."""
    refuse_damaged(settings.store_url)
    store = Store.open(
        settings.store_url, readers=settings.database_readers, timeout_s=settings.database_timeout_s
    )
    migrate(store.engine)
    if store.engine.dialect.name == "sqlite":
        store.write_sync(leases.clear)  # this process is the only one
    return store


async def connect(hub: Hub, stack: AsyncExitStack) -> None:
    """Broker, then the line to other processes, then whatever may have changed until that stood; then devices may come in."""
    await hub.broker.open()
    stack.push_async_callback(hub.broker.stop)
    await spread.attach(hub.identity, hub.broker)
    await hub.relay.start(hub.hear, partial(catch_up, hub))
    stack.push_async_callback(hub.relay.stop)
    if "broker" in hub.settings.roles:
        await hub.broker.answer()
    if hub.broker.server:
        hub.certificate.shown_by.append(hub.broker.server.reload)
    keeper = Workers(hub.certificate.run)
    await keeper.start()
    stack.push_async_callback(keeper.stop)


async def catch_up(hub: Hub) -> None:
    """Changes of other processes were missed: read again what this one holds, and let browsers fetch everything."""
    await hub.identity.catch_up()
    hub.feed.missed()


async def start_ingest(hub: Hub, stack: AsyncExitStack) -> None:
    """Its share of the partitions: all of them while no other worker lives."""
    settings = hub.settings
    own = settings.own_partitions
    names = [f"partition/{number}" for number in (range(PARTITIONS) if own is None else own)]
    share = Share(hub.store, "ingest", names, fixed=own is not None, nudge=hub.relay.nudge)
    ingest = Ingest(
        FencedStore(hub.store, share.guard, beside=True),
        hub.broker.downlink.send,
        handlers=table(incidents.on_event),
        limits=Limits(settings.suspect_s, settings.offline_s, settings.heartbeat_s),
        flush_s=settings.flush_s,
        birth_hooks=(*BIRTH_HOOKS, BirthHook(lamp.pressed, lamp.on_birth)),
        partitions=(),
    )
    ingest.lane.window_s = lambda: reconnect_window_s(ingest.fleet_size, settings.admission_rate)
    ingest.memory.spread = lambda: Spread(ingest.lane.window_s(), ingest.fleet_size / settings.admission_rate)
    hub.broker.crowd.heard = ingest.on_crowd
    ingest.shut_out = hub.broker.shut_out
    watching.watch_ingest(ingest)
    hub.sights.append(ingest.on_sight)
    hub.listeners.append(ingest.on_changes)
    hub.relay.on_nudge(share.wake)
    await ingest.start(hub.broker.bus)
    gc.freeze()  # what was taken up stays
    stack.push_async_callback(ingest.stop)
    await share.start(
        lambda taken: ingest.take(numbers_of(taken)), lambda given: ingest.give_up(numbers_of(given))
    )
    stack.push_async_callback(share.stop)


def numbers_of(names: set[str]) -> set[int]:
    """``partition/7`` as 7."""
    return {int(name.rpartition("/")[2]) for name in names}


async def start_scheduler(hub: Hub, stack: AsyncExitStack) -> None:
    """Jobs, what goes to devices, and who is told of incidents: in one process at a time."""
    share = Share(hub.store, "scheduler", ["scheduler"], nudge=hub.relay.nudge)
    store = FencedStore(hub.store, share.guard)
    sources = (*dispatch.SOURCES, overrides.take_due)
    dispatcher = dispatch.Dispatcher(
        store, hub.broker.downlink.send, hub.identity.signer.sign, sources=sources
    )
    watching.watch_trust(hub.trust)
    sealer = Sealer(hub.settings.city, pem(hub.identity.authority.chain), hub.identity.signer)
    scheduler = Scheduler(store, jobs(hub.settings, sealer.seal), trust=hub.trust)
    escalation = Escalation(store, hub.settings)
    hub.listeners += [dispatcher.on_changes, scheduler.on_changes]
    workers = Workers(dispatcher.run, scheduler.run, escalation.run)
    hub.relay.on_nudge(share.wake)
    await share.start(workers.start, workers.stop)
    stack.push_async_callback(share.stop)


async def start_web(hub: Hub, stack: AsyncExitStack, console: socket.socket, devices: socket.socket) -> None:
    """What people and devices reach."""
    from prahari_hub.web.doors import open_doors

    heard, board = Heard(hub.store), Board()
    watch = Workers(heard.run, partial(keep, board, hub.store))
    await watch.start()
    stack.push_async_callback(watch.stop)
    watching.watch_feed(hub.feed)
    doors = open_doors(
        hub.settings,
        hub.store,
        hub.identity,
        state={"feed": hub.feed, "board": board},
        probes={**probes_of(hub), "ingest": heard.missing},
        notices={"clock": lambda: hub.trust.held},
        samplers=[watching.watch_broker(hub.broker)],
        sockets=(console, devices),
    )
    for listener in doors:
        await listener.start()
        hub.certificate.shown_by.append(listener.renew)
        stack.push_async_callback(listener.stop)
    stack.callback(hub.feed.close)  # first of all: streams to browsers would hold their server open


async def start_status(hub: Hub, stack: AsyncExitStack, sock: socket.socket) -> None:
    """Health and metrics of a process without a console."""
    notices = {"clock": lambda: hub.trust.held}
    app = status_app(hub.store, probes_of(hub), notices, [watching.watch_broker(hub.broker)])
    config = Config(app, log_config=None, access_log=False, server_header=False, ws="none")
    listener = Listener(config, sock, "status")
    await listener.start()
    stack.push_async_callback(listener.stop)


def probes_of(hub: Hub) -> dict[str, Probe]:
    return {"broker": lambda: None if hub.broker.bus.sees else "the broker is not reachable"}


def open_sockets(settings: Settings, stack: AsyncExitStack) -> list[socket.socket]:
    """Of console and device HTTPS, or of the status, before anything slow: a port that is taken is said at once."""
    if "web" not in settings.roles:
        port = settings.metrics_port
        return [bind(settings.listen, port + settings.port_offset, "metrics")] if port is not None else []
    found = [
        bind(settings.listen, settings.console_port, "console"),
        bind(settings.listen, settings.device_port, "device HTTPS"),
    ]
    for each in found:
        stack.callback(each.close)
    return found


def said(settings: Settings) -> str:
    parts = {
        "web": f"console on port {settings.console_port}, device HTTPS on {settings.device_port}",
        "broker": "devices are let in" if settings.nats_url else f"devices on port {settings.mqtt_port}",
        "ingest": "ingest",
        "scheduler": "scheduler",
    }
    return ", ".join(
        parts[role] for role in ("web", "broker", "ingest", "scheduler") if role in settings.roles
    )


def tell(*listeners: Listening) -> Listening:
    """One listener that passes changes on to all, in this order."""

    def to_each(changes: list[Change]) -> None:
        for listener in listeners:
            listener(changes)

    return to_each


async def asked_to_stop() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
