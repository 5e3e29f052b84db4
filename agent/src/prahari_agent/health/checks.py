"""The table of health checks: one probe a row, each a function of what the box can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from prahari_wire.base import Clock as Quality
from prahari_wire.health import Check, PeripheralHealth, State

from prahari_agent.clock import Clock
from prahari_agent.hardware.port import Board


@dataclass(frozen=True)
class Probes:
    """What checks may look at. ``link`` gives (trouble or None, round trip in ms), ``outbox`` (events held, trouble or None).

    ``footage`` gives how many seconds ago the footage ends of the recording camera that is furthest behind; None where none records.
    ``night_light``: how bright the view of each camera that knows it is by night, 0 to 255.
    """

    home: Path
    board: Board
    clock: Clock
    link: Callable[[], tuple[str | None, float | None]]
    outbox: Callable[[], tuple[int, str | None]]
    identity: Callable[[], tuple[float | None, str | None]]
    uploads: Callable[[], tuple[int, str | None]]
    footage: Callable[[], float | None] = lambda: None
    night_light: Callable[[], Mapping[str, float]] = dict


def graded(value: float, warn: float, fail: float) -> State:
    if value >= fail:
        return State.FAIL
    return State.WARN if value >= warn else State.OK


def cpu(_probes: Probes) -> Check:
    """Percent since the last look. A busy processor is no fault by itself, so it never fails."""
    percent = psutil.cpu_percent(None)
    return Check(name="cpu", state=graded(percent, 95, 1000), value=percent)


def memory(_probes: Probes) -> Check:
    percent = psutil.virtual_memory().percent
    return Check(name="memory", state=graded(percent, 85, 95), value=percent)


def disk(probes: Probes) -> Check:
    percent = psutil.disk_usage(str(probes.home)).percent
    state = graded(percent, 85, 97)
    return Check(
        name="disk", state=state, value=percent, text=None if state is State.OK else "free space on the card"
    )


def temperature(probes: Probes) -> Check | None:
    celsius = probes.board.temperature_c()
    return (
        None if celsius is None else Check(name="temperature", state=graded(celsius, 75, 85), value=celsius)
    )


def power(probes: Probes) -> Check | None:
    supply = probes.board.power()
    if supply.under_voltage is None and supply.throttled is None and supply.under_voltage_since_boot is None:
        return None
    if supply.under_voltage:
        return Check(name="power", state=State.FAIL, text="under-voltage now: check the supply and its cable")
    if supply.throttled:
        return Check(name="power", state=State.WARN, text="throttled now: check cooling and supply")
    if supply.under_voltage_since_boot:
        return Check(name="power", state=State.WARN, text="under-voltage since boot: check the supply")
    return Check(name="power", state=State.OK)


def clock(probes: Probes) -> Check:
    """The offset to the hub's time in ms, and how far the box trusts its own."""
    quality, offset_ms = probes.clock.quality(), probes.clock.offset_ms()
    value = None if offset_ms is None else round(offset_ms, 1)
    if quality is not Quality.SYNCED:
        state = State.FAIL if quality is Quality.FLOOR else State.WARN
        return Check(
            name="clock",
            state=state,
            value=value,
            text=f"{quality}: check that the box reaches a time server",
        )
    if probes.clock.agrees_with_hub() is False:
        text = "a time server and the hub disagree: check the hub's clock"
        return Check(name="clock", state=State.WARN, value=value, text=text)
    return Check(name="clock", state=State.OK, value=value)


def link(probes: Probes) -> Check:
    trouble, rtt_ms = probes.link()
    return Check(
        name="link", state=State.FAIL if trouble else State.OK, value=rtt_ms, text=trouble and trouble[:120]
    )


def outbox(probes: Probes) -> Check:
    held, trouble = probes.outbox()
    return Check(
        name="outbox",
        state=State.FAIL if trouble else graded(held, 1000, 1e9),
        value=held,
        text=trouble and trouble[:120],
    )


def identity(probes: Probes) -> Check:
    """Days that the certificate is still good."""
    days, trouble = probes.identity()
    state = State.FAIL if days is None or days <= 0 else State.WARN if trouble or days < 7 else State.OK
    return Check(
        name="certificate",
        state=state,
        value=None if days is None else round(days, 1),
        text=trouble and trouble[:120],
    )


def uploads(probes: Probes) -> Check:
    """Files that wait for upload."""
    waiting, trouble = probes.uploads()
    return Check(
        name="uploads",
        state=State.WARN if trouble else State.OK,
        value=waiting,
        text=trouble and trouble[:120],
    )


def footage(probes: Probes) -> Check | None:
    """A segment ends every ten seconds or so; the recorder has a minute more before that is a fault."""
    age_s = probes.footage()
    if age_s is None:
        return None
    state = graded(age_s, 90, 180)
    text = None if state is State.OK else "a camera is not recorded: see its state"
    return Check(name="footage", state=state, value=round(age_s, 1), text=text)


CHECKS: tuple[Callable[[Probes], Check | None], ...] = (
    cpu, memory, disk, temperature, power, clock, link, outbox, identity, uploads, footage,
)  # fmt: skip
"""A check that gives None does not exist on this board."""


def of_peripheral(health: PeripheralHealth, value: float | None = None) -> Check:
    text = ", ".join(health.faults)[:120] or health.note
    return Check(name=f"peripheral:{health.id}", state=health.state, value=value, text=text)
