"""The map's windows: every device counted once, groups where there are many, single devices where there are few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_hub.fleet.map.board import Columns, columns_of, merged
from prahari_hub.fleet.map.clusters import (
    CODE,
    MOST_MARKS,
    Box,
    Clusters,
    View,
    latitude,
    longitude,
    mercator_x,
    mercator_y,
    view,
)
from prahari_hub.fleet.map.queries import Standing
from prahari_hub.fleet.stand import Stand

from tests.form import examples

PUNE = Box(73.7, 18.4, 74.0, 18.65)


def standing(number: int, lat: float | None, lon: float | None, state: Stand = Stand.NORMAL) -> Standing:
    return Standing(f"dev-{number:05d}", lat, lon, state)


def look(
    rows: list[Standing], box: Box | None = PUNE, zoom: float = 11, *, abnormal: bool = False
) -> tuple[Columns, View]:
    found = columns_of(rows)
    return found, view(found.x, found.y, found.state, box=box, zoom=zoom, abnormal=abnormal, most=100)


@given(st.floats(-85, 85), st.floats(-180, 180))
def test_mercator_and_back_is_the_same_place(lat: float, lon: float) -> None:
    assert float(latitude(mercator_y(lat))) == pytest.approx(lat, abs=1e-6)
    assert float(longitude(mercator_x(lon))) == pytest.approx(lon, abs=1e-9)


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(
        st.tuples(st.floats(18.41, 18.64), st.floats(73.71, 73.99), st.sampled_from(list(Stand))), max_size=60
    ),
    st.floats(3, 20),
)
def test_every_device_of_the_window_is_in_one_group_or_alone(
    places: list[tuple[float, float, Stand]], zoom: float
) -> None:
    rows = [standing(number, lat, lon, state) for number, (lat, lon, state) in enumerate(places)]
    _, found = look(rows, zoom=zoom)
    assert int(found.clusters.count.sum()) + len(found.singles) == len(rows) == found.seen
    assert found.bad == sum(state in (Stand.OFFLINE, Stand.FAIL) for _, _, state in places)
    assert len(found.worst) == len(rows)


def test_the_worst_come_first_and_a_filter_leaves_out_what_is_normal() -> None:
    rows = [
        standing(1, 18.5, 73.8),
        standing(2, 18.5, 73.8, Stand.OFFLINE),
        standing(3, 18.6, 73.9, Stand.WARN),
    ]
    columns, found = look(rows)
    assert [columns.ids[row].decode() for row in found.worst] == ["dev-00002", "dev-00003", "dev-00001"]
    _, few = look(rows, abnormal=True)
    assert few.seen == 2


def test_devices_without_a_site_are_listed_without_a_window_and_never_drawn() -> None:
    rows = [standing(1, None, None, Stand.FAIL), standing(2, 18.5, 73.8)]
    _, everything = look(rows, box=None)
    assert (everything.seen, len(everything.singles)) == (2, 1)
    assert look(rows)[1].seen == 1


def test_a_window_never_gets_more_marks_than_a_browser_draws_well() -> None:
    random = np.random.default_rng(7)
    rows = [
        standing(n, float(lat), float(lon))
        for n, (lat, lon) in enumerate(random.uniform((18.41, 73.71), (18.64, 73.99), (20_000, 2)))
    ]
    for zoom in (5.0, 12.0, 15.5, 17.0):
        _, found = look(rows, zoom=zoom)
        assert len(found.clusters.count) + len(found.singles) <= MOST_MARKS
        assert int(found.clusters.count.sum()) + len(found.singles) == len(rows)


def test_a_pan_regroups_nothing_that_both_windows_show_whole() -> None:
    random = np.random.default_rng(3)
    places = random.uniform((18.3, 73.6), (18.7, 74.1), (3000, 2))
    rows = [standing(n, float(lat), float(lon)) for n, (lat, lon) in enumerate(places)]
    here = look(rows, box=Box(73.75, 18.45, 73.9, 18.6))[1].clusters
    there = look(rows, box=Box(73.77, 18.46, 73.92, 18.61))[1].clusters

    def inner(found: Clusters) -> set[tuple[float, float, int]]:
        marks = zip(found.x.round(9), found.y.round(9), found.count, strict=True)
        west, east, north, south = mercator_x(73.77), mercator_x(73.9), mercator_y(18.6), mercator_y(18.46)
        return {mark for mark in marks if west < mark[0] < east and north < mark[1] < south}

    assert len(inner(here)) > 10
    assert inner(here) == inner(there)


def test_a_changed_device_replaces_its_row_and_one_that_is_gone_leaves() -> None:
    held = columns_of([standing(n, 18.5, 73.8) for n in range(5)])
    now = columns_of([standing(2, 18.6, 73.9, Stand.FAIL), standing(7, 18.5, 73.8)])
    found = merged(held, ["dev-00002", "dev-00003", "dev-00007"], now)
    assert [one.decode() for one in found.ids] == [f"dev-0000{n}" for n in (0, 1, 2, 4, 7)]
    assert found.state[2] == CODE[Stand.FAIL]


@settings(deadline=None, max_examples=examples(60))
@given(
    st.dictionaries(st.integers(0, 20), st.sampled_from(list(Stand)), max_size=12),
    st.dictionaries(st.integers(0, 20), st.none() | st.sampled_from(list(Stand)), max_size=12),
)
def test_columns_with_changes_are_those_that_reading_all_again_would_give(
    before: dict[int, Stand], changes: dict[int, Stand | None]
) -> None:
    held = columns_of([standing(n, 18.0 + n, 73.8, state) for n, state in before.items()])
    now = columns_of([standing(n, 19.0 + n, 73.9, state) for n, state in changes.items() if state])
    found = merged(held, sorted(standing(n, None, None).id for n in changes), now)
    rows = {n: standing(n, 18.0 + n, 73.8, state) for n, state in before.items() if n not in changes}
    rows |= {n: standing(n, 19.0 + n, 73.9, state) for n, state in changes.items() if state}
    wanted = columns_of(rows.values())
    for name in ("ids", "x", "y", "state"):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
