"""The bench's table: what was measured, what was missed, and the docs' section between its marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.__main__ import _json


def part(name: str, said: Any) -> dict[str, Any]:
    about = {"at": "2026-01-01T00:00:00+00:00", "machine": "a machine", "load": 0.1, "took_s": 3}
    return {"name": name, "short": False, "ended": 0, "said": said, **about}


def test_a_missed_aim_is_said_and_what_was_not_measured_too() -> None:
    rows = [{"what": "a | b", "aim": "≤ 1 s", "measured": "2 s", "met": False}]
    text = report.table([part("state", {"rows": rows}), part("storm", None)])
    assert "| a \\| b | ≤ 1 s | 2 s | **missed** |" in text
    assert "| storm |  | nothing was measured: see what it said | **missed** |" in text


def test_bare_figures_are_held_against_their_aims() -> None:
    text = report.table(
        [part("spine", {"ready_s": 16.25, "machine": "left out", "press_to_incident": {"p99_ms": 90}})]
    )
    assert "| ready_s | ≤ 15 s | 16.25 | **missed** |" in text
    assert "| press_to_incident.p99_ms | ≤ 100 ms | 90 | yes |" in text
    assert "left out" not in text


def test_the_section_is_replaced_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nwords\n")
    for figure in (1, 2):
        report.write(page, [part("spine", {"ready_s": figure})])
    text = page.read_text()
    assert text.startswith("# Performance\n\nwords\n")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    assert "| ready_s | ≤ 15 s | 2 | yes |" in text


@pytest.mark.parametrize(
    ("text", "found"),
    [('noise\n{"a": 1}\n', {"a": 1}), ('[{"a": 1}]', [{"a": 1}]), ("nothing", None)],
    ids=["object", "list", "none"],
)
def test_the_json_that_ends_a_part_is_found(text: str, found: Any) -> None:
    assert _json(text) == found
