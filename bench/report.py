"""The tables of docs/performance.md from what the parts of the bench measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench: written by make bench -->", "<!-- bench: end -->"
HEADING = "## By `make bench`"
MARK = {True: "yes", False: "**missed**", None: ""}
TITLES = {
    "peers": "Others on this machine, in the same run",
    "state": "A whole state: 400,000 devices, SQLite",
    "storm": "The broker killed under thousands of TLS devices",
    "postgres": "The same state on PostgreSQL",
    "map": "The fleet map",
    "history": "History and figures",
    "spine": "The demo's three devices",
    "ingest": "Ingest alone",
    "camera": "A camera process",
    "recording": "Recording",
}

Kept = dict[str, Any]


def table(kept: Sequence[Kept]) -> str:
    """Markdown: what was met and missed, then a section a part with the state of the machine when it was taken."""
    parts = [f"{HEADING}\n"]
    if kept:
        parts.append(f"Machine: {kept[-1]['machine']}. {summary(kept)}\n")
    for part in kept:
        parts.append(f"### {TITLES.get(part['name'], part['name'])}\n\n{conditions(part)}\n")
        parts.append("| what | aim | measured | met |\n|---|---|---|---|")
        parts += [
            f"| {cell(row['what'])} | {cell(row['aim'])} | {cell(row['measured'])} | {MARK[row['met']]} |"
            for row in rows(part)
        ]
        parts.append("")
    return "\n".join(parts)


def summary(kept: Sequence[Kept]) -> str:
    every = [row for part in kept for row in rows(part)]
    met, missed = (sum(row["met"] is held for row in every) for held in (True, False))
    minutes = sum(part["took_s"] for part in kept) / 60
    return f"{met} aims met, {missed} missed; {minutes:.0f} minutes in all."


def conditions(part: Kept) -> str:
    words = [f"`bench.{part['name']}`, ended {part['at']}, {part['took_s']} s"]
    words.append(f"before it others used {part['others_percent']} % of the machine")
    if turn_ms := part.get("turn_ms"):
        words.append("a fixed loop of Python took {} ms before and {} ms after it".format(*turn_ms))
    if part["stolen_percent"] >= 1:
        words.append(f"during it the host gave {part['stolen_percent']} % of its time to other machines")
    if part["short"]:
        words.append("a short run")
    if part["late"]:
        words.append("**stopped because it was late: what it had until then**")
    elif part["ended"]:
        words.append(f"**broke off (status {part['ended']}): what it had until then**")
    return "; ".join(words) + "."


def rows(part: Kept) -> list[dict[str, Any]]:
    said = part["said"]
    if said and said["rows"]:
        return list(said["rows"])
    return [
        {
            "what": part["name"],
            "aim": "",
            "measured": "nothing: it ended before its first figure",
            "met": False,
        }
    ]


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
