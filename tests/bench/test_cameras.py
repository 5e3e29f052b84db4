"""How the bench of cameras counts what was told of the clip."""

from __future__ import annotations

from bench.cameras.contest import table
from bench.cameras.film import PASSAGES, Told, judge, person_frames
from bench.cameras.page import grid

PERSONS = [frame for a, b in PASSAGES for frame in range(a + 2, b - 2, 2)]
RIGHT = [Told(a + 2, b - 2, a + 6) for a, b in PASSAGES]


def test_each_passage_told_once_is_six_events_and_every_frame_held() -> None:
    found = judge(RIGHT, PERSONS)
    assert (found.events, found.false, found.merged, found.split) == (6, 0, 0, 0)
    assert found.held == found.persons == len(PERSONS)
    assert (found.words(), found.delay()) == ("6", "4 / 4")


def test_what_is_merged_split_false_or_missed_is_counted_as_such() -> None:
    (a, b), (c, d) = PASSAGES[:2]
    merged = judge([Told(a, d, a + 3), *RIGHT[2:]], PERSONS)
    assert (merged.events, merged.merged, merged.split, len(merged.delays)) == (5, 1, 0, 6)
    halves = [Told(a + 2, a + 20, a + 6), Told(a + 60, b, a + 70)]
    split = judge([*halves, *RIGHT[1:]], PERSONS)
    assert (split.events, split.split, split.merged) == (7, 1, 0)
    assert split.held == len(PERSONS) - len([frame for frame in PERSONS if a + 20.5 < frame < a + 59.5])
    false = judge([*RIGHT, Told(b + 5, c - 5, b + 8)], PERSONS)
    assert (false.events, false.false) == (7, 1)
    assert judge([], PERSONS).delay() == "none told"


def test_a_person_frame_is_one_that_the_model_sees_within_a_passage() -> None:
    assert person_frames({0: 0.9, 62: 0.41, 64: 0.39, 66: 0.4, 1380: 0.9}) == [62, 66]


def test_the_table_says_cost_also_in_decodings_of_the_same_run() -> None:
    def player(cpu_s: float) -> dict[str, object]:
        return {"seconds": 100.0, "cpu_s": cpu_s, "rss_mb": 50.0}

    busy = {"ours": {**player(2.0), "inferences": 90}, "decode": player(1.0)}
    rows = table(busy, {"decode": player(0.5)}, {"ours": judge(RIGHT, PERSONS)}, None)
    ours = dict(zip(rows[0], rows[1], strict=True))
    assert ours["busy"] == "2.00 (2.0×)"
    assert ours["quiet"] == ""
    assert all(line.startswith("| ") or line.startswith("|-") for line in grid(rows))
    assert [len(row) for row in rows] == [len(rows[0])] * 3
