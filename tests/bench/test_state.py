"""The bench of a whole state: what it calls sustained, how long it looks, and the store that its parts copy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from prahari_hub.settings import load

from bench import known
from bench.results import Results
from bench.state import AFTER_BUCKET_S, ALONE_S, BUCKET_S, highest_row, sustained
from bench.state import alone_s as looked_s


def took(sent: int, taken: int, *, lost: float = 0, left_out: int = 0) -> dict[str, Any]:
    return {
        "sent_per_s": sent,
        "taken_per_s": taken,
        "lost": lost,
        "left_out": left_out,
        "cpu_percent": {"hub": 50.0},
        "cpu_us_a_heartbeat": {"hub": 20.0},
    }


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (took(20_000, 19_990), True),
        (took(20_000, 18_000), False),
        (took(18_000, 18_000), False),
        (took(20_000, 20_000, lost=1), False),
        (took(20_000, 20_000, left_out=1), False),
    ],
    ids=["all taken", "piling up", "not sent", "dropped", "left out"],
)
def test_a_rate_is_sustained_when_all_of_it_is_sent_and_taken(found: dict[str, Any], held: bool) -> None:
    assert sustained(20_000, found) is held


def test_the_row_of_the_highest_rate_tells_what_held_and_what_did_not() -> None:
    results = Results("state")
    highest_row(results, {15_000: took(15_000, 15_001), 20_000: took(20_000, 17_000, lost=9)}, "")
    row = results.rows[0]
    assert row["measured"].startswith("15,001/s")
    assert "of 20,000/s 17,000/s were taken, dropped 9" in row["measured"]
    assert row["met"] is False


@pytest.mark.parametrize("second", [0, 100, 180, 261, 299])
def test_the_end_of_a_bucket_and_its_cost_lie_within_what_is_looked_at(second: int) -> None:
    looked = looked_s(1_800_000_000 + second)
    assert looked >= ALONE_S
    assert second + looked >= BUCKET_S + AFTER_BUCKET_S


def test_a_state_is_registered_once_and_copied_to_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(known.FOLDER, str(tmp_path / "known"))
    homes = [tmp_path / "first", tmp_path / "second"]
    found = [known.fill(load(home=home), 30) for home in homes]
    assert found[0] == found[1]
    for home in homes:
        with sqlite3.connect(home / known.FILE) as database:
            assert database.execute("SELECT count(*) FROM devices WHERE presence = 'online'").fetchone() == (
                30,
            )
        database.close()
