"""The bench's tables: what was measured, what was missed, and the docs' section between its marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.__main__ import loop_us
from bench.results import LOOP_US, RESULT, Results, in_loops


def part(name: str, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {
        "at": "2026-01-01T00:00:00+00:00", "machine": "a machine", "load": 0.1, "took_s": 3, "short": False,
        "ended": 0, "late": False, "others_percent": 2, "stolen_percent": 0.0,
    }  # fmt: skip
    return {"name": name, "said": {"rows": rows} if rows else None, **about, **more}


def row(what: str, measured: str, *, aim: str = "", met: bool | None = None) -> dict[str, Any]:
    return {"what": what, "aim": aim, "measured": measured, "met": met}


def test_a_missed_aim_is_said_and_what_was_not_measured_too() -> None:
    text = report.table([part("state", row("a | b", "2 s", aim="≤ 1 s", met=False)), part("storm")])
    assert "| a \\| b | ≤ 1 s | 2 s | **missed** |" in text
    assert "| storm |  | nothing: it ended before its first figure | **missed** |" in text
    assert "0 aims met, 2 missed" in text


def test_a_part_that_was_stopped_or_broke_off_says_so() -> None:
    late = report.conditions(part("state", row("a", "1"), late=True, ended=130))
    broken = report.conditions(part("state", row("a", "1"), ended=1, stolen_percent=3.5, turn_ms=[200, 210]))
    assert "stopped because it was late" in late
    assert "broke off (status 1)" in broken
    assert "3.5 % of its time to other machines" in broken
    assert "took 200 ms before and 210 ms after it" in broken


def test_the_section_is_replaced_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nwords\n")
    for figure in ("1 s", "2 s"):
        report.write(page, [part("spine", row("ready", figure))])
    text = page.read_text()
    assert text.startswith("# Performance\n\nwords\n")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    assert "| ready |  | 2 s |  |" in text


def test_a_row_is_on_disk_from_the_moment_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.json"
    monkeypatch.setenv(RESULT, str(file))
    results = Results("state")
    results.row("first", "1 s")
    assert [row["what"] for row in json.loads(file.read_text())["rows"]] == ["first"]
    assert not results.take("second", lambda: 1 / 0 and None)
    assert json.loads(file.read_text())["rows"][1]["measured"] == "not measured: division by zero"


def test_microseconds_are_held_against_the_bare_loop_of_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOOP_US, "")
    assert in_loops(20.0) == "20.0 µs"
    monkeypatch.setenv(LOOP_US, loop_us({"said": {"details": {"nats": {"us": 8.0}}}}))
    assert in_loops(20.0) == "20.0 µs = 2.5 bare nats-py loops of 8.0 µs"


@pytest.mark.parametrize(
    "said", [None, {"rows": []}, {"details": {"nats": {}}}], ids=["nothing", "no rows", "no figure"]
)
def test_a_run_without_peers_has_no_loop_to_compare_with(said: Any) -> None:
    assert loop_us({"said": said}) == ""
