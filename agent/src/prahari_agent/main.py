"""The agent: build the parts, run, stop. Read ``run`` from top to bottom to see what there is and what flows where."""

from __future__ import annotations

import fcntl
import os
import platform
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from prahari_wire.base import Refused, parse
from prahari_wire.command import CommandName
from prahari_wire.display import OverrideOutcome, OverrideSet, OverrideState
from prahari_wire.events import OVERRIDE_STATE
from prahari_wire.presence import Birth, GoneReason, Versions
from prahari_wire.signing import SignedMessage
from prahari_wire.topics import Down
from prahari_wire.twin import Desired

from prahari_agent import log as logging  # first: it keeps Rich out of this process
from prahari_agent.clock import Clock, saved_floor
from prahari_agent.commands import Commands
from prahari_agent.control import Control
from prahari_agent.delivery import Delivery
from prahari_agent.enrolment import Keeper, prepare
from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.footage import Footage
from prahari_agent.hardware import detect
from prahari_agent.hardware.port import Board
from prahari_agent.hardware.simulated import SimulatedBoard
from prahari_agent.health.checks import Probes
from prahari_agent.health.monitor import Monitor
from prahari_agent.identity import Hub as HubRecord
from prahari_agent.identity import Identity, UnknownKey
from prahari_agent.lean import give_back, one_heap
from prahari_agent.link import Link
from prahari_agent.outbox import Outbox
from prahari_agent.peripheral import Peripheral, Surroundings
from prahari_agent.pulse import Pulses, Systemd
from prahari_agent.roster import Roster
from prahari_agent.session import Sessions, boot_id
from prahari_agent.settings import Settings, load, open_home, secret
from prahari_agent.spool import Spool
from prahari_agent.state import State
from prahari_agent.transfer import Cache, Hub, show, twin_document
from prahari_agent.twin import Twin
from prahari_agent.worker import Worker

log = logging.get_logger("main")

ENROL_RETRY_S = (1.0, 60.0)
KEEPER_TICK_S = 5.0
FLOOR_EVERY_S = 600.0


def _camera(peripheral_id: str, around: Surroundings, _settings: Settings) -> Peripheral:
    from prahari_agent.camera.camera import Camera

    return Camera(peripheral_id, around)


def _callbox(peripheral_id: str, around: Surroundings, _settings: Settings) -> Peripheral:
    from prahari_agent.callbox.callbox import CallBox

    return CallBox(peripheral_id, around)


def _display(peripheral_id: str, around: Surroundings, settings: Settings) -> Peripheral:
    from prahari_agent.display.display import Display

    return Display(peripheral_id, around, mpv_vo=settings.display_vo)


PERIPHERALS: dict[str, Callable[[str, Surroundings, Settings], Peripheral]] = {
    "camera": _camera,
    "callbox": _callbox,
    "display": _display,
}
"""Type → factory. Each is imported when the twin first asks for it, so a box pays only for what it serves."""


class Box(NamedTuple):
    """What stands before anything runs: the home, its settings, who this box is, its clock."""

    home: Path
    settings: Settings
    state: State
    clock: Clock
    identity: Identity
    record: HubRecord
    board: Board


def run(home: Path) -> int:
    """Serve the peripherals until SIGTERM or SIGINT; the exit status. SetupError where the box is not set up."""
    one_heap()
    stop, pulses = _Stop(), Pulses()
    with Systemd(pulses) as systemd:
        box = open_box(home, stop.event, pulses)
        if box is None:
            return 0
        sessions = Sessions(box.state, boot_id(box.home))
        serve(box, sessions, stop, pulses, systemd)
        sessions.stopped_clean()
    log.info("stopped", reason=str(stop.reason))
    if stop.reason is GoneReason.RESTART:
        _start_again()
    return 0


def serve(box: Box, sessions: Sessions, stop: _Stop, pulses: Pulses, systemd: Systemd) -> None:
    """Build the parts, start them, wait until asked to stop, stop them in the reverse order."""
    with ExitStack() as stack:
        outbox = _outbox(box, sessions)
        stack.callback(outbox.close)
        hub, spool, cache = _transfer(box, pulses)
        footage = Footage(box.home, hub, box.identity, pulses, emit=outbox.emit, now_s=time.monotonic)
        roster = Roster(_builders(box, outbox, hub, spool, cache, footage))
        verify = _verifier(box, hub)
        twin = Twin(
            box.home, apply=roster.apply, resume=roster.resume, emit=outbox.emit, verify=verify,
            fetch=lambda number: twin_document(hub, number),
            on_change=lambda desired: _adopted(desired, monitor, link),
        )  # fmt: skip
        commands = Commands(
            outbox=outbox, clock=box.clock, verify=verify, own={CommandName.RESTART: stop.restart_command},
            peripheral=roster.run,
        )  # fmt: skip
        obeying, adopting = Worker("commands", pulses), Worker("twin", pulses, limit=8, silent_s=600)
        overriding = Worker("overrides", pulses)
        link = Link(
            device=box.record.device, broker=box.record.broker, credentials=box.identity, next_session=sessions.next,
            birth=lambda: _birth(box, sessions, roster, twin, outbox),
            on_ack=lambda ack: delivery.acked(ack),  # noqa: PLW0108 - delivery needs the link first
            on_down={
                Down.TWIN: lambda payload: adopting.put(lambda: twin.receive(payload)),
                Down.COMMAND: lambda payload: obeying.put(lambda: commands.receive(payload)),
                Down.OVERRIDE: lambda payload: overriding.put(lambda: _override(payload, verify, roster, outbox)),
            },
            on_welcome=lambda: _welcomed(delivery, monitor, spool, footage, keeper),
            clock=box.clock, pulses=pulses, urgent=outbox.urgent, window_s=_last_window_s(box.state),
            on_window=lambda window_s: box.state.put(reconnect_window_s=window_s),
        )  # fmt: skip
        delivery = Delivery(outbox, link, pulses, now_s=time.monotonic, on_progress=spool.nudge)
        keeper = Keeper(box.identity, hub, box.clock, box.record, on_new_pair=link.reconnect)
        monitor = Monitor(
            device=box.record.device, probes=_probes(box, link, outbox, keeper, spool, roster), peripherals=roster.health,
            send=link.publish_health, pulses=pulses,
        )  # fmt: skip
        control = Control(box.home, _requests(box, link, monitor, twin, outbox))

        stack.callback(roster.stop)
        twin.resume()
        obeying.put(commands.resume)
        for part in (overriding, obeying, adopting, control, spool, footage, delivery, monitor):
            part.start()
            stack.callback(part.stop)
        link.start()
        stack.callback(lambda: link.stop(stop.reason))
        systemd.status = lambda: link.trouble or "connected"
        log.info("running", home=str(box.home), board=box.board.name, boot_reason=str(sessions.boot_reason))
        keeping = threading.Thread(target=_keep, args=(stop, keeper, box, pulses), name="keeper", daemon=True)
        keeping.start()
        stop.event.wait()
        keeping.join(3)


def _outbox(box: Box, sessions: Sessions) -> Outbox:
    return Outbox(
        box.home / "outbox.db",
        session=sessions.current,
        stamp=box.clock.stamp,
        max_bytes=int(box.settings.outbox_max_mb * 2**20),
        max_events=box.settings.outbox_max_events,
    )


def _transfer(box: Box, pulses: Pulses) -> tuple[Hub, Spool, Cache]:
    hub = Hub(box.record.hub, box.identity, check_time=box.clock.dates_count)
    spool_bytes, cache_bytes = int(box.settings.spool_max_mb * 2**20), int(box.settings.cache_max_mb * 2**20)
    spool = Spool(box.home, hub, pulses, max_bytes=spool_bytes, now_s=time.monotonic)
    return hub, spool, Cache(box.home, hub, max_bytes=cache_bytes)


def open_box(home: Path, stop: threading.Event, pulses: Pulses) -> Box | None:
    """Everything that must stand before the first connection, enrolment included; None if asked to stop meanwhile."""
    settings = load(open_home(home))
    _only_agent(home)
    logging.configure(device="unknown", level=settings.log_level, as_json=settings.log_format == "json")
    state, identity = State(home), Identity(home)
    floor = saved_floor(state)
    pair = identity.current() or identity.trial()
    clock = Clock(max(floor, pair.not_before) if pair else floor)
    attempt = 0
    while not stop.is_set():
        pulses.beat("enrolment", limit_s=600)
        try:
            record = prepare(home, identity, settings, clock)
        except (HubUnreachable, Rejected) as error:
            log.warning("not enrolled yet, tried again soon", reason=str(error))
            first_s, longest_s = ENROL_RETRY_S
            stop.wait(random.uniform(first_s / 2, min(longest_s, first_s * 2**attempt)))  # noqa: S311 - jitter
            attempt = min(attempt + 1, 10)
            continue
        logging.configure(
            device=record.device, level=settings.log_level, as_json=settings.log_format == "json"
        )
        board = detect.build(settings.board if settings.board != "auto" else record.board)
        pulses.end("enrolment")
        return Box(home, settings, state, clock, identity, record, board)
    return None


def _only_agent(home: Path) -> None:
    """Hold the home until this process ends; SetupError where another agent does."""
    lock = os.open(home / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SetupError(
            f"Another agent runs in {home}: stop it first, or give this one a home of its own."
        ) from None


class _Stop:
    """Asked to stop: by a signal, or by the command agent.restart."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason = GoneReason.SHUTDOWN
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: self.event.set())

    def restart_command(self, _args: object) -> dict[str, Any]:
        self.reason = GoneReason.RESTART
        self.event.set()
        return {}


def _builders(
    box: Box, outbox: Outbox, hub: Hub, spool: Spool, cache: Cache, footage: Footage
) -> dict[str, Callable[[str], Peripheral]]:
    def around(peripheral_id: str) -> Surroundings:
        return Surroundings(
            device=box.record.device, home=box.home / "peripherals" / peripheral_id, board=box.board, emit=outbox.emit,
            upload=spool.upload, fetch=cache.fetch, stamp=box.clock.stamp, secret=lambda name: secret(box.home, name),
            transfers=footage, show=lambda view, pictures: show(hub, view, pictures),
            networks=box.settings.camera_networks, undisputed=box.clock.undisputed,
        )  # fmt: skip

    def builder(make: Callable[[str, Surroundings, Settings], Peripheral]) -> Callable[[str], Peripheral]:
        return lambda peripheral_id: make(peripheral_id, around(peripheral_id), box.settings)

    return {kind: builder(make) for kind, make in PERIPHERALS.items()}


def _verifier(box: Box, hub: Hub) -> Callable[[SignedMessage], None]:
    """Check the hub's signature; a key that is not known here is fetched once and tried again."""

    def verify(message: SignedMessage) -> None:
        try:
            box.identity.verify(box.record.device, message)
        except UnknownKey:
            Keeper(box.identity, hub, box.clock, box.record, on_new_pair=lambda: None).refresh_keys()
            box.identity.verify(box.record.device, message)

    return verify


def _last_window_s(state: State) -> float | None:
    """Over how long a hub asked this box to come back, as the last one said; None where none did."""
    kept = state.get("reconnect_window_s")
    return float(kept) if isinstance(kept, int | float) else None


def _override(
    payload: bytes, verify: Callable[[SignedMessage], None], roster: Roster, outbox: Outbox
) -> None:
    """Hand an override set to its display; one that is the hub's but cannot be obeyed is answered as refused."""
    try:
        overrides = parse(OverrideSet, payload)
        verify(overrides)
    except (Refused, Rejected, HubUnreachable) as error:
        log.warning("an override from the hub is not accepted", error=str(error)[:300])
        return
    try:
        roster.override(overrides)
    except Rejected as error:
        refused = OverrideState(
            epoch=overrides.epoch, outcome=OverrideOutcome.REFUSED, detail=str(error)[:120]
        )
        outbox.emit(OVERRIDE_STATE, refused, peripheral=overrides.display)


def _birth(box: Box, sessions: Sessions, roster: Roster, twin: Twin, outbox: Outbox) -> Birth:
    versions = Versions(
        agent=version("prahari-agent"),
        python=platform.python_version(),
        os=_os_name(),
        board=box.board.name[:120],
    )
    return Birth(
        peripherals=roster.infos()[:64], versions=versions, capabilities=roster.types(), twin_version=twin.version,
        journal=outbox.journal, low=outbox.low(), boot_reason=sessions.boot_reason, seed_sha256=box.record.seed_sha256,
    )  # fmt: skip


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())[:120]
    except OSError:
        return platform.system()


def _adopted(desired: Desired, monitor: Monitor, link: Link) -> None:
    """A configuration holds from now on: its rhythm, and what the birth says of the peripherals."""
    monitor.set_interval(desired.heartbeat_s)
    link.announce()


def _welcomed(delivery: Delivery, monitor: Monitor, spool: Spool, footage: Footage, keeper: Keeper) -> None:
    """The hub has acked the birth: what waited may go."""
    delivery.wake()
    monitor.beat_soon()
    spool.nudge(every=True)
    footage.nudge()
    keeper.try_now()


def _probes(box: Box, link: Link, outbox: Outbox, keeper: Keeper, spool: Spool, roster: Roster) -> Probes:
    def identity() -> tuple[float | None, str | None]:
        pair = box.identity.current() or box.identity.trial()
        today = box.clock.hub_now() or box.clock.now()
        days = (pair.not_after - today).total_seconds() / 86400 if pair else None
        return days, keeper.trouble

    return Probes(
        home=box.home, board=box.board, clock=box.clock, link=lambda: (link.trouble, link.rtt_ms),
        outbox=lambda: (outbox.held(), outbox.trouble), identity=identity,
        uploads=lambda: (len(spool.waiting()), spool.trouble or spool.loss), footage=roster.footage_age_s,
        night_light=roster.night_light,
    )  # fmt: skip


def _requests(
    box: Box, link: Link, monitor: Monitor, twin: Twin, outbox: Outbox
) -> dict[str, Callable[[Any], dict[str, Any]]]:
    def status(_request: object) -> dict[str, Any]:
        return {
            "device": box.record.device, "version": version("prahari-agent"), "connected": link.welcomed,
            "trouble": link.trouble, "twin_version": twin.version, "outbox": outbox.held(),
            "health": monitor.examine().model_dump(mode="json"),
        }  # fmt: skip

    found: dict[str, Callable[[Any], dict[str, Any]]] = {"status": status}
    if isinstance(box.board, SimulatedBoard):
        found.update(box.board.requests())
    return found


def _keep(stop: _Stop, keeper: Keeper, box: Box, pulses: Pulses) -> None:
    """Until asked to stop: keep the identity good, the clock's floor up to date and the memory small."""
    next_floor_s = 0.0
    while True:
        pulses.beat("keeper", limit_s=600)
        try:
            keeper.step()
            if time.monotonic() >= next_floor_s:
                box.clock.save_floor(box.state)
                give_back()
                next_floor_s = time.monotonic() + FLOOR_EVERY_S
        except Exception:
            log.exception("keeping the identity failed once and carries on")
        if stop.event.wait(KEEPER_TICK_S):
            box.clock.save_floor(box.state)
            return


def _start_again() -> None:
    """Let systemd start a fresh process, which it does after every end; elsewhere replace this one: the same in a container
    and in a terminal.
    """
    if os.environ.get("NOTIFY_SOCKET"):
        return
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the very command that started it
