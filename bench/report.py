"""The table of docs/performance.md from what the parts of the bench said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench: written by make bench -->", "<!-- bench: end -->"
HEADING = "## By `make bench`"
MARK = {True: "yes", False: "**missed**", None: ""}

Kept = dict[str, Any]


def table(kept: Sequence[Kept]) -> str:
    """Markdown: a section a part, each with the machine's load and the time at which it was taken."""
    parts = [f"{HEADING}\n"]
    if kept:
        parts.append(f"Machine: {kept[-1]['machine']}. Load: what else ran on it when the part began.\n")
    for part in kept:
        short = ", a short run" if part["short"] else ""
        ended = "" if part["ended"] == 0 else f", ended early (status {part['ended']})"
        parts.append(
            f"### {part['name']}\n\nTaken {part['at']}, load {part['load']}, {part['took_s']} s{short}{ended}.\n"
        )
        parts.append("| what | aim | measured | met |\n|---|---|---|---|")
        parts += [
            f"| {cell(what)} | {cell(aim)} | {cell(measured)} | {MARK[met]} |"
            for what, aim, measured, met in rows(part)
        ]
        parts.append("")
    return "\n".join(parts)


def rows(part: Kept) -> Iterator[tuple[str, str, str, bool | None]]:
    """The part's own rows, or its figures one by one."""
    said = part["said"]
    if said is None:
        yield part["name"], "", "nothing was measured: see what it said", False
    elif isinstance(said, dict) and "rows" in said:
        for row in said["rows"]:
            yield row["what"], row["aim"], row["measured"], row["met"]
    else:
        aims = AIMS.get(part["name"], ())
        for name, value in flat(said):
            aim, met = judged(aims, name, value)
            yield name, aim, shown(value), met


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every figure."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in {"machine", "cores", "load_1m", "load_before"}:
                yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{name}[{inner.get('devices', number)}]")
    else:
        yield name, value


AIMS: dict[str, tuple[tuple[str, float, str], ...]] = {
    "spine": (
        (r"^ready_s$", 15, "≤ 15 s"),
        (r"^press_to_incident\.p99_ms$", 100, "≤ 100 ms"),
        (r"^override_to_frame\.p99_ms$", 300, "≤ 300 ms"),
    ),
    "map": ((r"^\[25000\]\.median_s$", 2, "≤ 2 s"), (r"^\[400000\]\.median_s$", 2, "≤ 2 s, clustered")),
    "history": (
        (r"^page\..*(p95_ms|max_ms)$", 50, "≤ 50 ms"),
        (r"^figures\.(month|worst).*(p95_ms|max_ms)$", 1000, "≤ 1 s"),
    ),
}
"""(pattern of the figure's name, at most, in words) of the parts that print bare figures."""


def judged(aims: Sequence[tuple[str, float, str]], name: str, value: Any) -> tuple[str, bool | None]:
    for pattern, most, words in aims:
        if re.search(pattern, name) and isinstance(value, int | float):
            return words, value <= most
    return "", None


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write(file: Path, kept: Sequence[Kept]) -> None:
    """Replace what stands between the marks; a file without them gets the section at its end."""
    text = file.read_text()
    section = f"{BEGIN}\n{table(kept)}{END}"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        text = before + section + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    file.write_text(text)
