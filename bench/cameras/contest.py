"""Everybody on the real clip at once, busy and then quiet, so that each meets the same machine; and what is counted of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cameras import film, peer_motion
from bench.results import Results, say

PLAYERS = ("ours", "each", "mog2", "motion", "gate", "decode", "keys", "ours, recording")
NAMES = {
    "ours": "**ours**, all at once",
    "ours, recording": "ours with recorder and three rules",
    "each": "model on each frame",
    "mog2": "MOG2 gate + model",
    "motion": "Debian's motion (no classes)",
    "gate": "decode + a small luma gate",
    "decode": "decode alone (PyAV)",
    "keys": "key frames only",
    "infer": "inference only",
}
GRACE_S = 150.0
Found = dict[str, Any]


def command(player: str, clip: Path, manifest: Path, out: Path) -> list[str]:
    given = [str(clip), str(manifest), str(out)]
    if player.startswith("ours"):
        return [sys.executable, "-m", "bench.cameras.ours", *given, *(["record"] if "," in player else [])]
    if player == "motion":
        return [sys.executable, "-m", "bench.cameras.peer_motion", *given]
    return [sys.executable, "-m", "bench.cameras.players", player, *given]


def run(players: Sequence[str], clip: Path, manifest: Path, folder: Path, limit_s: float) -> dict[str, Found]:
    """All of them at the same time; who fails is left out and said."""
    outs = {player: folder / f"{clip.stem}-{number}.json" for number, player in enumerate(players)}
    running = {player: subprocess.Popen(command(player, clip, manifest, out)) for player, out in outs.items()}
    found = {}
    try:
        for player, process in running.items():
            if process.wait(limit_s) == 0:
                found[player] = json.loads(outs[player].read_text())
            else:
                say(f"{player} failed")
    finally:
        for process in running.values():
            process.terminate()
    return found


def percent(found: Mapping[str, Any] | None) -> float | None:
    return 100 * found["cpu_s"] / found["seconds"] if found else None


def shown(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def take(results: Results, clip: Path, manifest: Path, folder: Path, *, short: bool) -> None:
    """Both runs, and what they give; ``short``: of the clip's beginning alone, to try it."""
    quiet_clip, quiet_s = folder / "quiet.mp4", film.SHORT_QUIET_S if short else film.QUIET_S
    film.write_quiet(clip, quiet_clip, quiet_s)
    busy_s = film.FRAMES / film.FPS
    if short:
        beginning, busy_s = folder / "beginning.mp4", film.SHORT_S
        film.write_beginning(clip, beginning, busy_s)
        clip = beginning
    players = [one for one in PLAYERS if one != "motion" or peer_motion.installed()]
    if "motion" not in players:
        say("motion is not installed (apt-get install motion): it is left out")
    busy = run(players, clip, manifest, folder, busy_s + GRACE_S)
    quiet = run(players, quiet_clip, manifest, folder, quiet_s + GRACE_S)
    infer = run(["infer"], clip, manifest, folder, GRACE_S).get("infer")
    persons = film.person_frames({int(frame): score for frame, score in busy["each"]["scores"].items()})
    verdicts = {
        player: film.judge([film.Told(*one) for one in found["told"]], persons)
        for player, found in busy.items()
        if "told" in found
    }
    results.details["table"] = table(busy, quiet, verdicts, infer)
    results.details["persons"] = len(persons)
    aims(results, busy, quiet, verdicts)


def table(
    busy: Mapping[str, Found],
    quiet: Mapping[str, Found],
    verdicts: Mapping[str, film.Verdict],
    infer: Found | None,
) -> list[list[str]]:
    """The rows of the table, its head first; CPU also in decodings of the same run."""
    unit = {True: percent(busy.get("decode")), False: percent(quiet.get("decode"))}

    def cpu(found: Found | None, *, is_busy: bool) -> str:
        value, one = percent(found), unit[is_busy]
        return "" if value is None else f"{value:.2f}" + (f" ({value / one:.1f}×)" if one else "")

    persons = max((one.persons for one in verdicts.values()), default=0)
    rows = [
        ["", "busy", "quiet", "inferences/s busy / quiet", f"person frames held (of {persons})", "events (6 true)",
         "announce delay, frames, median / max", "RSS MB"]
    ]  # fmt: skip
    for player in PLAYERS:
        if player not in busy:
            continue
        found, still, judged = busy[player], quiet.get(player), verdicts.get(player)
        looks = [shown(rate(one)) for one in (found, still)] if "inferences" in found else []
        rows.append(
            [
                NAMES[player], cpu(found, is_busy=True), cpu(still, is_busy=False), " / ".join(looks),
                str(judged.held) if judged else "", judged.words() if judged else "",
                judged.delay() if judged else "", f"{found['rss_mb']:.0f}",
            ]
        )  # fmt: skip
    if infer:
        alone = f"{infer['ms']:.1f} ms of CPU each (n = {infer['n']})"
        rows.append([NAMES["infer"], alone, "", "", "", "", "", f"{infer['rss_mb']:.0f}"])
    return rows


def rate(found: Found | None) -> float | None:
    """Inferences a second."""
    return found["inferences"] / found["seconds"] if found and "inferences" in found else None


def aims(
    results: Results,
    busy: Mapping[str, Found],
    quiet: Mapping[str, Found],
    verdicts: Mapping[str, film.Verdict],
) -> None:
    """What ours is to reach."""
    ours, still, judged = busy["ours"], quiet["ours"], verdicts["ours"]
    for what, found, most, decode in (("busy", ours, 2.4, busy), ("quiet", still, 0.7, quiet)):
        value, unit = percent(found) or 0.0, percent(decode.get("decode"))
        beside = f" = {value / unit:.1f} × decode alone" if unit else ""
        results.row(f"ours, {what}", f"{value:.2f} % of a core{beside}", aim=f"≤ {most} %", met=value <= most)
    looks, none = rate(ours) or 0.0, rate(still) or 0.0
    results.row("inferences a second, busy", f"{looks:.2f}", aim="≤ 1.4", met=looks <= 1.4)
    results.row("inferences a second, quiet, after the start", f"{none:.2f}", aim="0", met=none == 0)
    results.row("inferences at the start", str(ours["at_start"]), aim="≤ 10", met=ours["at_start"] <= 10)
    held = f"{judged.held} of {judged.persons}"
    results.row("person frames held", held, aim="all", met=judged.held == judged.persons)
    right = judged.events == len(film.PASSAGES) and not judged.false + judged.merged + judged.split
    results.row("events", judged.words(), aim="6, none false, merged or split", met=right)
    late = max(judged.delays, default=0.0)
    results.row(
        "announce delay, frames, median / max",
        judged.delay(),
        aim="≤ 5 / ≤ 7",
        met=bool(judged.delays) and round(late) <= 7,
    )
    results.row("memory (resident)", f"{ours['rss_mb']:.0f} MB", aim="≤ 95 MB", met=ours["rss_mb"] <= 95)
    if record := busy.get("ours, recording"):
        mb = record["rss_mb"]
        results.row("memory with recorder and rules", f"{mb:.0f} MB", aim="≤ 130 MB", met=mb <= 130)
    results.row(
        "frames dropped at the queue",
        f"{ours['dropped']} of {ours['frames'] + ours['dropped']}",
        aim="0",
        met=not ours["dropped"],
    )
