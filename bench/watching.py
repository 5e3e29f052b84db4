"""What is looked at while a swarm plays: pages and API, the hub's own counters, CPU of each part."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from typing import Any

import httpx

from bench.place import Meter, Place, Player
from bench.results import percentiles
from bench.swarm import name_of

PAGE_EVERY_S = 0.5


class Asker(threading.Thread):
    """A person and a program who look at pages and API all the time: one request every half second."""

    def __init__(self, place: Place, devices: int) -> None:
        super().__init__(name="asker", daemon=True)
        self._place, self._devices = place, devices
        self._ending = threading.Event()
        self.took: dict[str, list[float]] = {}
        self.failed: dict[str, int] = {}
        self._console, self._api = place.signed_in(), place.api()

    def run(self) -> None:
        with closing(self._console) as console, closing(self._api) as api:
            asks = {
                "sign-in page": lambda: console.get("/login"),
                "device list": lambda: console.get("/devices"),
                "device page": lambda: console.get(f"/devices/{name_of(random.randrange(self._devices))}"),
                "incidents": lambda: console.get("/incidents"),
                "API: devices": lambda: api.get("/devices", params={"limit": 100}),
                "API: a device": lambda: api.get(f"/devices/{name_of(random.randrange(self._devices))}"),
                "API: map of the state": lambda: api.get("/map/view", params={"zoom": 6}),
            }
            while not self._ending.is_set():
                for name, ask in asks.items():
                    self._ask(name, ask)
                    if self._ending.wait(PAGE_EVERY_S):
                        return

    def _ask(self, name: str, ask: Any) -> None:
        begun_s = time.monotonic()
        try:
            answer = ask()
            good = answer.status_code == 200
        except httpx.HTTPError:
            good = False
        self.took.setdefault(name, []).append(time.monotonic() - begun_s)
        if not good:
            self.failed[name] = self.failed.get(name, 0) + 1

    def end(self) -> dict[str, Any]:
        self._ending.set()
        self.join(60)
        found: dict[str, Any] = {name: percentiles(took) for name, took in self.took.items()}
        everything = [seconds for took in self.took.values() for seconds in took]
        return {"each": found, "all": percentiles(everything), "failed": self.failed}


class Counters:
    """What the hub's processes together say they took and dropped, from /metrics."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def read(self) -> dict[str, float]:
        found: dict[str, float] = {}
        headers = {"Authorization": f"Bearer {self._place.token}"}
        for address in self._place.status:
            text = httpx.get(f"{address}/metrics", headers=headers, timeout=30).raise_for_status().text
            for line in text.splitlines():
                if line and not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    found[name] = found.get(name, 0.0) + float(value)
        return found

    @staticmethod
    def messages(found: dict[str, float], channel: str, outcome: str) -> float:
        return found.get(f'prahari_messages_total{{channel="{channel}",outcome="{outcome}"}}', 0.0)

    def lost(self, found: dict[str, float]) -> float:
        """Messages that the hub counted and did not take."""
        return sum(
            value
            for name, value in found.items()
            if name.startswith("prahari_messages_total") and 'outcome="taken"' not in name
        )


def hub_took(place: Place, seconds: float, player: Player) -> dict[str, Any]:
    """Let it run; rates, CPU shares, microseconds a heartbeat, backlog at begin and end."""
    counters, meter = Counters(place), Meter(place.processes)
    before, sent_before = counters.read(), player.status()
    meter.restart()
    time.sleep(seconds)
    cpu = meter.since()
    after, sent_after = counters.read(), player.status()
    sent = sent_after["heartbeats"] - sent_before["heartbeats"]
    taken = counters.messages(after, "health", "taken") - counters.messages(before, "health", "taken")
    span_s = sent_after["at"] - sent_before["at"]
    return {
        "seconds": round(span_s, 1),
        "heartbeats_sent": sent,
        "heartbeats_taken": int(taken),
        "sent_per_s": round(sent / span_s),
        "taken_per_s": round(taken / cpu["wall"]),
        "left_out": sent_after.get("heartbeats_left_out", 0) - sent_before.get("heartbeats_left_out", 0),
        "lost": counters.lost(after) - counters.lost(before),
        "cpu_percent": {name: round(cpu[name] / cpu["wall"] * 100, 1) for name in cpu if name != "wall"},
        "cpu_us_a_heartbeat": {
            name: round(cpu[name] / max(1, taken) * 1e6, 1) for name in cpu if name != "wall"
        },
        "rss_mb": meter.rss_mb(),
        "held": sent_after["held"],
    }


def backlog(took: dict[str, Any]) -> int:
    """Heartbeats that were sent and not taken; a second's worth is the time between two looks."""
    return int(took["heartbeats_sent"] - took["heartbeats_taken"])


def shares(cpu: dict[str, float]) -> str:
    """In words, of one core."""
    return f"of one core: {', '.join(f'{name} {share} %' for name, share in cpu.items())}"
