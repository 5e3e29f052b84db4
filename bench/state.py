"""A whole state on this machine: 400,000 devices, broker, hub and swarm together.

    python -m bench.state [--short] [--devices N] [--seconds S]

Heartbeats alone, then with 200 events a second while pages and API are asked, then the highest rate, then a restart of the hub.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import CELLS

from bench.place import Meter, Place, Player, Waited, until
from bench.results import Results, in_loops, percentiles, say, spread
from bench.swarm import Ledger, name_of

DEVICES, SHORT_DEVICES = 400_000, 40_000
HEARTBEAT_S = 30
EVENTS_PER_S = 200.0
ALONE_S, WITH_EVENTS_S = 120.0, 600.0
BUCKET_S = 300.0
"""The history's: heartbeats alone are measured at least until one has ended, so that its cost is in them."""
AFTER_BUCKET_S = 40.0
STEPS = (15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000)
STEP_WARM_S, STEP_S = 8.0, 20.0
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
        "rss_mb": place_rss(meter),
        "held": sent_after["held"],
    }


def place_rss(meter: Meter) -> dict[str, float]:
    return meter.rss_mb()


def backlog(took: dict[str, Any]) -> int:
    """Heartbeats that were sent and not taken; a second's worth is the time between two looks."""
    return int(took["heartbeats_sent"] - took["heartbeats_taken"])


def measure(place: Place, results: Results, devices: int, scale: float) -> None:
    took_s, lanes = place.state(devices)
    place.people()
    results.row(f"{devices:,} devices registered in the store, each as after its birth", f"{took_s:.0f} s")
    ready_s = place.start()
    results.row(
        f"start of the hub with {devices:,} devices, until ready",
        f"{ready_s:.1f} s (n = 1)",
        aim="≤ 10 s",
        met=ready_s <= 10,
    )
    player = place.play("alone", "multiplex", lanes, numbers=(0, devices), heartbeat_s=float(HEARTBEAT_S))
    until(lambda: player.status().get("up") == len(lanes), "the swarm to be connected", within_s=60)
    say("a whole round of heartbeats, so that every device is known to be online")
    time.sleep(HEARTBEAT_S + 5)
    until(
        lambda: presence(place).get("online", 0) >= devices, "the store to say so", within_s=180, every_s=2.0
    )
    seconds = alone_s(time.time()) if scale == 1 else ALONE_S * scale
    results.take("heartbeats alone", lambda: alone(place, results, player, devices, seconds))
    stop(place, player)
    results.take(
        "heartbeats, events, pages",
        lambda: with_events(place, results, lanes, devices, WITH_EVENTS_S * scale),
    )
    results.take("highest rate", lambda: highest(place, results, lanes, devices, scale))
    results.take("restart", lambda: restart(place, results, lanes, devices))


def stop(place: Place, player: Player) -> None:
    player.end()
    place.swarms.remove(player)


def alone_s(now_s: float) -> float:
    """So long that the end of a bucket of the history and what it costs lie within."""
    return max(ALONE_S, BUCKET_S - now_s % BUCKET_S + AFTER_BUCKET_S)


def alone(place: Place, results: Results, player: Player, devices: int, seconds: float) -> None:
    begun_s = time.time()
    took = hub_took(place, seconds, player)
    ends = int(time.time() // BUCKET_S - begun_s // BUCKET_S)
    results.details["alone"] = took
    cpu, us = took["cpu_percent"], took["cpu_us_a_heartbeat"]
    what = (
        f"hub CPU a heartbeat, all in (receive to history), {devices:,} devices, {took['taken_per_s']:,}/s for {seconds:.0f} s, "
        f"ends of a five-minute bucket in it: {ends}"
    )
    results.row(what, in_loops(us["hub"]), aim="≤ 20 µs", met=us["hub"] <= 20)
    results.row(
        "the same, broker and swarm a heartbeat",
        f"broker {us['broker']} µs, swarm {us['swarm']} µs; {shares(cpu)}",
    )


def shares(cpu: dict[str, float]) -> str:
    """In words, of one core."""
    return f"of one core: {', '.join(f'{name} {share} %' for name, share in cpu.items())}"


def with_events(
    place: Place, results: Results, lanes: Any, devices: int, seconds: float, *, on: str = ""
) -> None:
    player = place.play(
        "events",
        "multiplex",
        lanes,
        numbers=(0, devices),
        heartbeat_s=float(HEARTBEAT_S),
        events_per_s=EVENTS_PER_S * devices / DEVICES,
    )
    until(lambda: player.status().get("up") == len(lanes), "the swarm to be connected", within_s=60)
    time.sleep(10)
    asker = Asker(place, devices)
    asker.start()
    took = hub_took(place, seconds, player)
    asked = asker.end()
    time.sleep(3)
    stop(place, player)
    ledger = Ledger()
    ledger.merge(player.spec.ledger)
    balance, said = ledger.check(place.settings.store_url), ledger.summary()
    results.details |= {"with_events": took, "asked": asked, "ledger": said, "balance": str(balance)}
    grown, cpu = backlog(took), took["cpu_percent"]
    sustained = abs(grown) <= took["sent_per_s"] * 2 and not took["lost"] and not took["left_out"]
    load = f"{took['sent_per_s']:,} heartbeats/s and {player.spec.events_per_s:.0f} events/s"
    results.row(
        f"{on}{load} from {devices:,} devices for {seconds:.0f} s",
        f"{took['taken_per_s']:,}/s taken; dropped {took['lost']:.0f}, backlog at the end {max(0, grown)}; {shares(cpu)}",
        aim="no backlog growth",
        met=sustained,
    )
    rss = took["rss_mb"]["hub"]
    results.row(f"{on}hub memory (resident)", f"{rss:,.0f} MB", aim="≤ 1,200 MB", met=rss <= 1200)
    ack, whole, press = said["commit_to_ack"], said["sent_to_ack"], said["press_to_ack"]
    results.row(
        f"{on}event's commit (the ack's own time) → ack at the device",
        spread(ack),
        aim="p99 ≤ 250 ms",
        met=ack.get("p99_ms", 1e9) <= 250,
    )
    results.row(
        f"{on}event first sent → ack at the device",
        f"{spread(whole)}; presses alone {spread(press)}",
    )
    looked(results, asked, on)
    results.row(f"{on}the ledger of that run", str(balance), aim="balanced", met=balance.balanced)


def looked(results: Results, asked: dict[str, Any], on: str) -> None:
    """What people and programs that looked at pages meanwhile had to wait."""
    if not asked["each"]:
        raise Waited("no page was answered")
    name, worst = max(asked["each"].items(), key=lambda item: float(item[1].get("p95_ms", 0.0)))
    failed = sum(asked["failed"].values())
    results.row(
        f"{on}pages and API meanwhile",
        f"all: {spread(asked['all'])}; slowest, {name}: {spread(worst)}; failed {failed}",
        aim="p95 ≤ 300 ms each",
        met=worst["p95_ms"] <= 300 and not failed,
    )


def highest(
    place: Place,
    results: Results,
    lanes: Any,
    devices: int,
    scale: float,
    *,
    on: str = "",
    steps: Sequence[int] = STEPS,
) -> None:
    """Steps up until heartbeats are dropped, left out or pile up."""
    best = None
    for rate in steps if scale == 1 else steps[:3]:
        if rate > devices:
            say(
                f"{rate:,}/s would be more than one a second from each device, which the hub refuses as a flood"
            )
            break
        took = at_rate(place, lanes, devices, rate)
        results.details.setdefault("rates", {})[rate] = took
        say(f"{rate:,}/s: {took}")
        held = took["sent_per_s"] >= rate * 0.97 and took["taken_per_s"] >= rate * 0.97
        if not held or took["lost"] or took["left_out"]:
            break
        best = took
    if best is None:
        aim, met = ("", None) if on else ("≥ 40,000/s", False)
        first = results.details["rates"][steps[0]]
        said = f"below {steps[0]:,}/s: {first['taken_per_s']:,}/s taken, dropped {first['lost']:.0f}, {shares(first['cpu_percent'])}"
        results.row(f"{on}highest sustained heartbeat rate", said, aim=aim, met=met)
        return
    cpu = best["cpu_percent"]
    offered = ", ".join(f"{rate:,}" for rate in results.details["rates"])
    results.row(
        f"{on}highest sustained heartbeat rate (offered {offered}; {STEP_S:.0f} s each, no drop, no backlog)",
        f"{best['taken_per_s']:,}/s; {shares(cpu)}; hub {in_loops(best['cpu_us_a_heartbeat']['hub'])} each",
        aim="" if on else "≥ 40,000/s",
        met=None if on else best["taken_per_s"] >= 40_000 * 0.97,
    )


def at_rate(place: Place, lanes: Any, devices: int, rate: int) -> dict[str, Any]:
    player = place.play(f"rate-{rate}", "multiplex", lanes, numbers=(0, devices), heartbeat_s=devices / rate)
    until(lambda: player.status().get("up") == len(lanes), "the swarm to be connected", within_s=60)
    time.sleep(STEP_WARM_S)
    try:
        return hub_took(place, STEP_S, player)
    finally:
        stop(place, player)


def restart(place: Place, results: Results, lanes: Any, devices: int) -> None:
    """Kill the hub and start it again; complete: the store says online of every device, and that it was heard since the start."""
    place.kill_hub()
    begun_s = time.time()
    ready_s = place.start()
    results.row(
        f"restart of the hub with {devices:,} devices (after kill -9), until ready",
        f"{ready_s:.1f} s (n = 1)",
        aim="≤ 10 s",
        met=ready_s <= 10,
    )
    player = place.play("again", "multiplex", lanes, numbers=(0, devices), heartbeat_s=float(HEARTBEAT_S))
    seen: dict[str, int] = {}

    def complete() -> bool:
        nonlocal seen
        seen = {**presence(place), "heard since": heard_since(place, begun_s)}
        return seen.get("online", 0) >= devices and seen["heard since"] >= devices

    what = "the same, until the store says that every device was heard since and is online (heartbeats and writes each 30 s)"
    try:
        took_s = until(complete, "every device to be heard and written again", within_s=150, every_s=5.0)
        results.row(what, f"{took_s:.0f} s; {seen}", aim="state complete", met=True)
    except Waited:
        results.row(what, f"not within 150 s: {seen}", aim="state complete", met=False)
    finally:
        results.details["after_restart"] = seen
        stop(place, player)


def heard_since(place: Place, at_s: float) -> int:
    """Devices of the swarm whose last sign in the store is not older than this Unix time."""
    engine = sa.create_engine(place.settings.store_url)
    try:
        with engine.connect() as conn:
            cells = vitals.stored(conn, range(CELLS))
            return sum(int((np.frombuffer(cell.seen_at) >= at_s).sum()) for cell in cells)
    finally:
        engine.dispose()


def presence(place: Place) -> dict[str, int]:
    """Devices of the swarm by presence, as the database says."""
    engine = sa.create_engine(place.settings.store_url)
    try:
        with engine.connect() as conn:
            rows = conn.execute(
                sa.text("SELECT presence, count(*) FROM devices WHERE id LIKE 'swarm-%' GROUP BY presence")
            )
            return {str(name): int(count) for name, count in rows}
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--seconds", type=float, help="of the run with events; the others in proportion")
    options = parser.parse_args()
    devices = options.devices or (SHORT_DEVICES if options.short else DEVICES)
    scale = options.seconds / WITH_EVENTS_S if options.seconds else 0.04 if options.short else 1.0
    results = Results("state")
    try:
        with Place(heartbeat_s=HEARTBEAT_S) as place:
            results.take("the state", lambda: measure(place, results, devices, scale))
    finally:
        results.print()


if __name__ == "__main__":
    main()
