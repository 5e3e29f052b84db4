"""The broker is killed under thousands of TLS devices: how long until all are back, what it costs, what is shown meanwhile.

python -m bench.storm [--short] [--devices N]
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from prahari_wire.events import PRESS

from bench.place import Meter, Place, Player, Waited, until
from bench.results import Results, say, spread
from bench.state import presence
from bench.swarm import Identity, Ledger, issue
from bench.watching import shares

DEVICES, SHORT_DEVICES = 15_000, 1_000
PROCESSES = 2
HEARTBEAT_S = 30
PRESSES_AT_S = (0.2, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Ten call boxes in each process of the swarm are pressed so long after the broker's end."""
FIRST_S, BACK_S, ONLINE_S = 150.0, 150.0, 60.0
"""So long is waited at most; who is not there by then is counted."""


class Watcher(threading.Thread):
    """Reads the database twice a second: the most devices that were offline at one moment."""

    def __init__(self, place: Place) -> None:
        super().__init__(name="watcher", daemon=True)
        self._place = place
        self._ending = threading.Event()
        self.most: dict[str, int] = {}

    def run(self) -> None:
        while not self._ending.wait(0.5):
            for name, count in presence(self._place).items():
                self.most[name] = max(self.most.get(name, 0), count)

    def end(self) -> dict[str, int]:
        self._ending.set()
        self.join(10)
        return self.most


def players_of(place: Place, who: list[Identity], connect_over_s: float) -> list[Player]:
    share = -(-len(who) // PROCESSES)
    return [
        place.play(
            f"tls-{number}",
            "tls",
            who[number * share : (number + 1) * share],
            heartbeat_s=float(HEARTBEAT_S),
            connect_over_s=connect_over_s,
        )
        for number in range(PROCESSES)
    ]


def welcomed(players: list[Player]) -> int:
    return sum(int(player.status().get("welcomed", 0)) for player in players)


def waited_s(done: Callable[[], bool], what: str, *, within_s: float, every_s: float) -> float | None:
    """Seconds until ``done``; None where that took too long."""
    try:
        return until(done, what, within_s=within_s, every_s=every_s)
    except Waited as late:
        say(str(late))
        return None


def measure(place: Place, results: Results, devices: int) -> None:
    begun_s = time.monotonic()
    who = issue(place.settings, devices)
    results.row(f"{devices:,} devices registered and certified", f"{time.monotonic() - begun_s:.0f} s")
    place.start()
    rate = place.settings.admission_rate
    players = players_of(place, who, devices / rate)
    first(place, results, players, devices, rate)
    storm(place, results, players, devices, baseline(place))
    for player in players:
        player.end()
    settle(place, results, players)


def first(place: Place, results: Results, players: list[Player], devices: int, rate: float) -> None:
    """Everybody connects; returns when the store says that they are online."""
    meter = Meter(place.processes)
    took_s = waited_s(
        lambda: welcomed(players) == devices, "all devices to be in", within_s=FIRST_S, every_s=0.25
    )
    cpu, there = meter.since(), welcomed(players)
    each = ", ".join(
        f"{name} {used / max(1, there) * 1000:.2f} ms" for name, used in cpu.items() if name != "wall"
    )
    results.row(
        f"{devices:,} devices connect over TLS for the first time, {rate:.0f} a second let in, births committed",
        f"{took_s:.0f} s; CPU a connection: {each}"
        if took_s
        else f"{there:,} of them in {FIRST_S:.0f} s; {each}",
    )
    waited_s(
        lambda: presence(place).get("online", 0) >= there,
        "the store to say that they are online",
        within_s=ONLINE_S,
        every_s=1.0,
    )


def baseline(place: Place) -> dict[str, float]:
    """CPU seconds a second of each part with heartbeats alone."""
    meter = Meter(place.processes)
    time.sleep(10)
    cpu = meter.since()
    return {name: cpu[name] / cpu["wall"] for name in cpu if name != "wall"}


def storm(
    place: Place, results: Results, players: list[Player], devices: int, calm: dict[str, float]
) -> None:
    watcher = Watcher(place)
    watcher.start()
    meter = Meter(place.processes)
    before, there = place.broker_pid, welcomed(players)
    say(f"the broker {before} is killed under {there:,}")
    os.kill(before, signal.SIGKILL)
    killed_s, results.details["killed_at_s"] = time.monotonic(), time.time()
    presser = threading.Thread(target=press, args=(players,), daemon=True)
    presser.start()
    until(lambda: welcomed(players) < there * 0.9, "the swarm to notice", within_s=60, every_s=0.05)
    back_s = waited_s(lambda: welcomed(players) >= there, "all to be back", within_s=BACK_S, every_s=0.1)
    took_s = time.monotonic() - killed_s
    cpu, back = meter.since(), welcomed(players)
    presser.join(60)
    time.sleep(5)
    most = watcher.end()
    settled = there >= devices
    each = {
        name: max(0.0, cpu[name] - calm[name] * cpu["wall"] * settled) / max(1, back) * 1000
        for name in cpu
        if name != "wall"
    }
    results.details |= {"storm_cpu_s": cpu, "calm": calm, "most_at_one_moment": most, "took_s": took_s}
    results.row(
        f"broker killed under {there:,} TLS devices: all back, births committed",
        f"{took_s:.1f} s (n = 1)" if back_s else f"{back:,} of them after {took_s:.0f} s",
        aim="≤ 60 s",
        met=bool(back_s) and took_s <= 60,
    )
    results.row(
        "CPU meanwhile",
        shares({name: round(cpu[name] / cpu["wall"] * 100, 1) for name in cpu if name != "wall"}),
    )
    results.row(
        "hub CPU a connection (callout, birth, its commit and ack)",
        f"{each['hub']:.2f} ms (broker {each['broker']:.2f} ms, swarm {each['swarm']:.2f} ms)"
        + ("" if settled else ", heartbeats in it: not all were in before, so there was no calm to take off"),
        aim="≤ 1.5 ms",
        met=each["hub"] <= 1.5,
    )
    offline = most.get("offline", 0)
    results.row(
        "devices shown offline that were not",
        f"{offline}; most at one moment: {most}",
        aim="0",
        met=offline == 0,
    )


def press(players: list[Player]) -> None:
    begun_s = time.monotonic()
    for at_s in PRESSES_AT_S:
        time.sleep(max(0.0, begun_s + at_s - time.monotonic()))
        for player in players:
            player.press_some()


def settle(place: Place, results: Results, players: list[Player]) -> None:
    """The ledger, and from the press to the ack that came back."""
    ledger = Ledger()
    for player in players:
        ledger.merge(player.spec.ledger)
    balance, said = ledger.check(place.settings.store_url), ledger.summary()
    results.details |= {"ledger": said, "balance": str(balance), "offline_told": offline_told(place)}
    pressed: dict[str, Any] = said["press_to_ack"]
    results.row(
        "press during the storm → committed and acked",
        f"{spread(pressed)}; worst of those pressed so long after the broker's end: {by_moment(ledger, results)}",
        aim="≤ 2 s",
        met=pressed.get("max_ms", 1e9) <= 2000,
    )
    results.row("the ledger of the storm", str(balance), aim="balanced", met=balance.balanced)


def by_moment(ledger: Ledger, results: Results) -> str:
    """The slowest press of each of the moments, in seconds from press to ack."""
    killed_s, worst = results.details["killed_at_s"], dict.fromkeys(PRESSES_AT_S, 0.0)
    for entry in ledger.entries.values():
        if entry.kind == PRESS and entry.acked_s:
            moment = min(PRESSES_AT_S, key=lambda at_s, made_s=entry.made_s: abs(killed_s + at_s - made_s))
            worst[moment] = max(worst[moment], entry.acked_s - entry.made_s)
    return ", ".join(f"{at_s:g} s: {took_s:.1f} s" for at_s, took_s in worst.items())


def offline_told(place: Place) -> int:
    engine = sa.create_engine(place.settings.store_url)
    try:
        with engine.connect() as conn:
            query = "SELECT count(*) FROM transitions WHERE kind = 'presence' AND after = 'offline'"
            return int(conn.execute(sa.text(query)).scalar_one())
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--devices", type=int)
    options = parser.parse_args()
    devices = options.devices or (SHORT_DEVICES if options.short else DEVICES)
    results = Results("storm")
    try:
        with Place(heartbeat_s=HEARTBEAT_S) as place:
            place.people()
            results.take("the storm", lambda: measure(place, results, devices))
    finally:
        results.print()


if __name__ == "__main__":
    main()
