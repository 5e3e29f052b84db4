"""A whole state on this machine: 400,000 devices, broker, hub and swarm together.

    python -m bench.state [--short] [--devices N] [--seconds S]

Heartbeats alone, then with 200 events a second while pages and API are asked, then the highest rate, then a restart of the hub.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import CELLS

from bench.place import Place, Player, Waited, until
from bench.results import Results, in_loops, say, spread
from bench.swarm import Ledger
from bench.watching import Asker, backlog, hub_took, shares

DEVICES, SHORT_DEVICES = 400_000, 40_000
HEARTBEAT_S = 30
EVENTS_PER_S = 200.0
ALONE_S, WITH_EVENTS_S = 120.0, 600.0
BUCKET_S = 300.0
"""The history's: heartbeats alone are measured at least until one has ended, so that its cost is in them."""
AFTER_BUCKET_S = 40.0
STEPS = (15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000)
STEP_WARM_S, STEP_S = 8.0, 20.0


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
    until(lambda: all_there(place, devices), "the store to say so", within_s=240, every_s=4.0)
    seconds = alone_s(time.time()) if scale == 1 else ALONE_S * scale
    results.take("heartbeats alone", lambda: alone(place, results, player, devices, seconds))
    stop(place, player)
    results.take(
        "heartbeats, events, pages",
        lambda: with_events(place, results, lanes, devices, WITH_EVENTS_S * scale),
    )
    quiet(place)
    results.take("highest rate", lambda: highest(place, results, lanes, devices, scale))
    quiet(place)
    results.take("restart", lambda: restart(place, results, lanes, devices))


def quiet(place: Place) -> None:
    """End what a measurement that failed has left running."""
    for player in list(place.swarms):
        stop(place, player)


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
    settled(place, player, lanes, devices)
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
    """Steps up until heartbeats are dropped, left out or pile up; the row is there also when this is broken off."""
    rates: dict[int, dict[str, Any]] = results.details.setdefault("rates", {})
    try:
        for rate in steps if scale == 1 else steps[:2]:
            if rate > devices:
                say(f"{rate:,}/s would be more than one a second from each device: the hub refuses a flood")
                break
            took = rates[rate] = at_rate(place, lanes, devices, rate)
            say(f"{rate:,}/s: {took}")
            if not sustained(rate, took):
                break
    finally:
        if rates:
            highest_row(results, rates, on)


def sustained(rate: int, took: dict[str, Any]) -> bool:
    """Everything offered was sent and taken, nothing was lost or left out."""
    least = rate * 0.97
    return min(took["sent_per_s"], took["taken_per_s"]) >= least and not took["lost"] and not took["left_out"]


def highest_row(results: Results, rates: dict[int, dict[str, Any]], on: str) -> None:
    held = [took for rate, took in rates.items() if sustained(rate, took)]
    failed = [(rate, took) for rate, took in rates.items() if not sustained(rate, took)]
    words = "none that was offered"
    if held:
        best = held[-1]
        each = in_loops(best["cpu_us_a_heartbeat"]["hub"])
        words = f"{best['taken_per_s']:,}/s; {shares(best['cpu_percent'])}; hub {each} each"
    for rate, took in failed:
        words += (
            f"; of {rate:,}/s {took['taken_per_s']:,}/s were taken, dropped {took['lost']:.0f}, "
            f"not sent for want of room {took['left_out']}, {shares(took['cpu_percent'])}"
        )
    offered = ", ".join(f"{rate:,}/s" for rate in rates)
    what = f"{on}highest sustained heartbeat rate ({STEP_S:.0f} s each of {offered}; no drop, no backlog)"
    reached = bool(held) and held[-1]["taken_per_s"] >= 40_000 * 0.97
    results.row(what, words, aim="" if on else "≥ 40,000/s", met=None if on else reached)


def at_rate(place: Place, lanes: Any, devices: int, rate: int) -> dict[str, Any]:
    player = place.play(f"rate-{rate}", "multiplex", lanes, numbers=(0, devices), heartbeat_s=devices / rate)
    try:
        settled(place, player, lanes, devices)
        time.sleep(STEP_WARM_S)
        return hub_took(place, STEP_S, player)
    finally:
        stop(place, player)


def settled(place: Place, player: Player, lanes: Any, devices: int) -> None:
    """Between two swarms the devices were silent, and their return is no part of what is measured: wait until each is online again."""
    until(lambda: player.status().get("up") == len(lanes), "the swarm to be connected", within_s=60)
    time.sleep(player.spec.heartbeat_s + 5)  # until the hub has heard of all, or has missed them
    until(lambda: all_there(place, devices), "every device to be online again", within_s=240, every_s=4.0)


def all_there(place: Place, devices: int) -> bool:
    """Whether the store says online of every device, and how it is: the first word of a device's health is a row of its own."""
    engine = sa.create_engine(place.settings.store_url)
    query = "SELECT count(*) FROM devices WHERE id LIKE 'swarm-%' AND presence = 'online' AND health_state <> 'unknown'"
    try:
        with engine.connect() as conn:
            return int(conn.execute(sa.text(query)).scalar_one()) >= devices
    finally:
        engine.dispose()


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
