"""Which place explains what fell silent together: values in, places out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.fleet.tree import ROOT, Tree, site_node
from prahari_hub.incidents.rootcause import Bars, Flapping, Found, find, is_over, summed, together

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BARS = Bars()
# zone pune: feeder f1 → switches s1 (sites a, b) and s2 (sites c, d); zone nashik: sites e to j
CITY = Tree(
    {
        "zone/pune": ROOT,
        "zone/nashik": ROOT,
        "asset/f1": "zone/pune",
        "asset/s1": "asset/f1",
        "asset/s2": "asset/f1",
        "site/a": "asset/s1",
        "site/b": "asset/s1",
        "site/c": "asset/s2",
        "site/d": "asset/s2",
        **{f"site/{name}": "zone/nashik" for name in "efghij"},
    }
)
SITES = [site_node(name) for name in "abcdefghij"]
FIVE_EACH = dict.fromkeys(SITES, 5)


def causes(silent: dict[str, int], gone: dict[str, int] | None = None, bars: Bars = BARS) -> list[str]:
    """The causes when every site has five devices; ``silent`` and ``gone`` by the site's letter."""
    named = [{site_node(name): n for name, n in counts.items()} for counts in (gone or {}, silent)]
    return [found.node for found in find(CITY, summed(CITY, FIVE_EACH), *named, bars)]


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        pytest.param({"a": 1}, [], id="a device alone"),
        pytest.param({"a": 2}, [], id="two of a site"),
        pytest.param({"a": 5}, ["site/a"], id="a site"),
        pytest.param({"a": 5, "b": 5}, ["asset/s1"], id="a switch"),
        pytest.param({"a": 5, "b": 4, "c": 5, "d": 5}, ["asset/f1"], id="a feeder beats its switches"),
        pytest.param({"a": 5, "b": 5, "c": 2}, ["asset/s1"], id="a switch and two devices of the next"),
        pytest.param({"a": 5, "e": 5}, ["site/a", "site/e"], id="two sites far apart"),
        pytest.param(dict.fromkeys("efghij", 4), ["zone/nashik"], id="a zone without assets"),
        pytest.param(dict.fromkeys("abcdefghij", 2), [ROOT], id="a part of everything"),
        pytest.param(dict.fromkeys("abcdefghij", 5), [ROOT], id="all of everything"),
        pytest.param({"a": 1, "c": 1, "e": 1, "g": 1}, [], id="here and there"),
    ],
)
def test_the_nearest_place_that_explains_it_is_the_cause(silent: dict[str, int], expected: list[str]):
    assert causes(silent) == expected


def test_what_was_dead_before_does_not_speak_for_the_living():
    assert causes({"a": 3}, gone={"a": 0}) == ["site/a"]
    assert causes({"a": 2, "b": 2}, gone={"a": 3, "b": 3}) == ["asset/s1"]
    assert causes({"a": 2, "b": 2}) == []


def test_a_cause_says_how_many_were_alive_before():
    found = find(CITY, summed(CITY, FIVE_EACH), {"site/a": 1}, {"site/a": 4}, BARS)
    assert found == [Found("site/a", 4)]


def test_a_place_with_one_branch_is_not_named_above_it():
    chain = Tree({"zone/z": ROOT, "asset/f": "zone/z", "asset/s": "asset/f", "site/a": "asset/s"})
    total = summed(chain, {"site/a": 5, "zone/z": 20})
    assert [one.node for one in find(chain, total, {}, {"site/a": 5}, BARS)] == ["site/a"]


def test_devices_that_stand_nowhere_share_only_the_fleet():
    assert find(CITY, {ROOT: 100}, {}, {ROOT: 20}, BARS) == []
    assert [one.node for one in find(CITY, {ROOT: 100}, {}, {ROOT: 95}, BARS)] == [ROOT]


def test_a_circle_in_the_tree_ends():
    ring = Tree({"asset/x": "asset/y", "asset/y": "asset/x", "site/a": "asset/x"})
    assert find(ring, summed(ring, {"site/a": 5}), {}, {"site/a": 5}, BARS) != []


counts = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 5))


@given(counts)
def test_no_cause_lies_above_another_and_each_passes_its_bar(silent: dict[str, int]):
    total = summed(CITY, FIVE_EACH)
    leaves = {site_node(name): n for name, n in silent.items()}
    down = summed(CITY, leaves)
    found = [one.node for one in find(CITY, total, {}, leaves, BARS)]
    for node in found:
        least, share = (10, 0.3) if node == ROOT else (BARS.least, BARS.share)
        assert down[node] >= least and down[node] / total[node] >= share
        assert not set(list(CITY.chain(node))[1:]) & set(found)


@given(counts)
def test_what_passes_the_bar_is_explained_by_something(silent: dict[str, int]):
    """Every place that is dark enough is a cause, lies below one, or holds one."""
    total = summed(CITY, FIVE_EACH)
    leaves = {site_node(name): n for name, n in silent.items() if n}
    down = summed(CITY, leaves)
    found = {one.node for one in find(CITY, total, {}, leaves, BARS)}
    for node, n in down.items():
        if node != ROOT and n >= BARS.least and n / total[node] >= BARS.share:
            inside = {one for one in found if node in CITY.chain(one)}
            assert inside or found & set(CITY.chain(node)), node


@given(st.lists(st.integers(0, 1000), max_size=50))
def test_spans_of_silence_cover_every_time_and_are_no_longer_than_the_window(seconds: list[int]):
    times = [START + timedelta(seconds=s) for s in seconds]
    spans = together(times, BARS.window)
    assert all(last - first <= BARS.window for first, last in spans)
    assert all(any(first <= at <= last for first, last in spans) for at in times)
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("children", "since_s", "over"),
    [
        pytest.param(0, 0, True, id="all are back"),
        pytest.param(60, 999, False, id="still mostly dark"),
        pytest.param(30, 999, False, id="at the lower bar: hysteresis"),
        pytest.param(29, 10, False, id="below it, but devices still come back"),
        pytest.param(29, 121, True, id="below it, and nothing has changed for a while"),
        pytest.param(2, 121, True, id="too few"),
    ],
)
def test_an_outage_ends_below_the_lower_bar_once_nothing_moves(children: int, since_s: int, over: bool):
    last = START - timedelta(seconds=since_s)
    assert is_over("asset/f1", children=children, of=100, last_change=last, now=START, bars=BARS) is over


def test_flapping_begins_above_its_rate_and_ends_after_quiet():
    flaps = Flapping(per_hour=5, quiet=timedelta(hours=1))
    assert not flaps.begins(5) and flaps.begins(6)
    assert not flaps.ends(START, START + timedelta(minutes=59)) and flaps.ends(
        START, START + timedelta(hours=1)
    )
