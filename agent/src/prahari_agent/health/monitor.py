"""The heartbeat: the table of checks, told at an interval whose phase differs from box to box."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from prahari_wire.base import MAX_MESSAGE
from prahari_wire.health import HEARTBEAT_S, Check, Health, PeripheralHealth

from prahari_agent.health.checks import CHECKS, Probes, of_peripheral
from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses

log = get_logger("health")

MOST_CHECKS = 32
LARGEST = MAX_MESSAGE - 1024
"""Bytes of a heartbeat's body; the rest is its envelope."""


def phase_s(device: str, interval_s: float) -> float:
    """Where within the interval this device beats: spread evenly over the city by a hash of its id."""
    return int.from_bytes(hashlib.sha256(device.encode()).digest()[:8]) / 2**64 * interval_s


def next_beat_s(now_s: float, interval_s: float, phase: float) -> float:
    """The first moment after ``now_s`` that is ``phase`` into an interval."""
    return ((now_s - phase) // interval_s + 1) * interval_s + phase


def fitting(health: Health) -> Health:
    """``health`` small enough for one message: a box with very many peripherals leaves out the words first, then the last ones."""
    if len(health.model_dump_json()) <= LARGEST:
        return health
    brief = [p.model_copy(update={"note": None, "faults": p.faults[:2]}) for p in health.peripherals]
    checks = [check for check in health.checks if not check.name.startswith("peripheral:")]
    found = health.model_copy(update={"checks": checks, "peripherals": brief})
    while len(found.model_dump_json()) > LARGEST:
        found = found.model_copy(update={"peripherals": found.peripherals[:-1]})
    return found


class Monitor:
    """A thread that examines the box and sends what it finds."""

    def __init__(
        self,
        *,
        device: str,
        probes: Probes,
        peripherals: Callable[[], list[PeripheralHealth]],
        send: Callable[[Health], bool],
        pulses: Pulses,
    ) -> None:
        self._device, self._probes, self._peripherals, self._send = device, probes, peripherals, send
        self._pulses = pulses
        self._interval_s: float = HEARTBEAT_S
        self._soon = False
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join(3)
        self._pulses.end("health")

    def set_interval(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._woken.set()

    def beat_soon(self) -> None:
        """One heartbeat beside the rhythm, e.g. after a new connection."""
        self._soon = True
        self._woken.set()

    def examine(self) -> Health:
        """Run every check of the table; a check that breaks is left out and logged."""
        checks: list[Check] = []
        for probe in CHECKS:
            try:
                found = probe(self._probes)
            except Exception:
                log.exception("a health check failed", check=probe.__name__)
                continue
            if found is not None:
                checks.append(found)
        peripherals = self._peripherals()
        lights = self._probes.night_light()
        checks += [of_peripheral(health, lights.get(health.id)) for health in peripherals]
        uptime_s = self._probes.clock.mono_ms() // 1000
        return fitting(Health(uptime_s=uptime_s, checks=checks[:MOST_CHECKS], peripherals=peripherals[:64]))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._pulses.beat("health", limit_s=self._interval_s + 60)
            now_s = self._probes.clock.mono_ms() / 1000
            due_s = next_beat_s(now_s, self._interval_s, phase_s(self._device, self._interval_s))
            if self._woken.wait(due_s - now_s):
                self._woken.clear()
                if not self._soon:
                    continue
            self._soon = False
            try:
                self._send(self.examine())
            except Exception:
                log.exception("a heartbeat failed")
