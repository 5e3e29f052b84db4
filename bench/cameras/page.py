"""The section of docs/performance.md about cameras, between marks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import MARK, cell
from bench.results import Results, machine

PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- bench cameras: written by make bench-cameras -->", "<!-- bench cameras: end -->"


def grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown of a table, its head first."""
    lines = ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def section(results: Results) -> str:
    found = machine()
    lines = [
        "## Cameras, by `make bench-cameras`",
        "",
        f"{found['machine']}; ended {found['at']}, load {found['load']}.",
        "",
    ]
    if table := results.details.get("table"):
        lines += [*grid(table), "", *NOTES, ""]
    lines += ["| what | aim | measured | met |", "|---|---|---|---|"]
    lines += [
        f"| {cell(row['what'])} | {cell(row['aim'])} | {cell(row['measured'])} | {MARK[row['met']]} |"
        for row in results.rows
    ]
    return "\n".join([*lines, ""])


NOTES = (
    "The one-by-one clip of the shared media (10 frames a second, every second one looked at) in real time; SSD MobileNet v1, one",
    "thread. CPU is of all a player's processes in % of one core, in brackets in decodings of the same run; all play at the same",
    "time, so that each meets the same machine. “Quiet” is the clip's empty first 5 s, again and again for a minute. A person frame",
    "is a looked-at frame in which the model, asked at each, scores a person 0.4 or more; it is held when an event covers it from",
    "its first to its last sight. Delay: from a passage's first person frame to the frame at which the event was told, in frames of",
    "the clip; of motion, which tells no frame, by the clock. motion's events are cut by the two seconds that it holds them.",
)


def write(results: Results) -> None:
    """Replace what stands between the marks, or put it before the section that follows the tables of ``make bench``."""
    text = PAGE.read_text()
    whole = f"{BEGIN}\n{section(results)}{END}"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        text = before + whole + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{whole}\n"
    PAGE.write_text(text)
