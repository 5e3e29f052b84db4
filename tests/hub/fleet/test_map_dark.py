"""Dark places: only what is dark, where it stands, the darkest first."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import cell_of
from prahari_hub.fleet.map.board import Columns, columns_of
from prahari_hub.fleet.map.clusters import Box
from prahari_hub.fleet.map.dark import FRESH_S, DarkPlaces, Night, cameras_of, dark_of, view
from prahari_hub.fleet.map.queries import Standing
from prahari_hub.fleet.stand import Stand
from prahari_hub.fleet.vitals import Cell
from prahari_hub.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PUNE = Box(73.7, 18.4, 74.0, 18.65)


def city(**places: tuple[float, float] | None) -> Columns:
    return columns_of(
        Standing(device, *(place or (None, None)), Stand.NORMAL) for device, place in places.items()
    )


def test_lit_cameras_are_counted_and_not_shown_and_the_darkest_come_first() -> None:
    dark = dark_of([Night("a", "cam1", 24.0), Night("b", "cam1", 25.0), Night("a", "cam2", 3.0)], NOW)
    found = view(dark, city(a=(18.5, 73.8), b=(18.6, 73.9)), PUNE, 18)
    assert (dark.told, found.seen, found.unlit) == (3, 2, 1)
    assert [night.camera for night in cameras_of(dark, found.darkest.tolist())] == ["cam2", "cam1"]


def test_cameras_of_one_place_are_a_group_that_says_how_many_are_without_light() -> None:
    dark = dark_of([Night("a", "cam1", 3.0), Night("a", "cam2", 20.0), Night("b", "cam1", 20.0)], NOW)
    found = view(dark, city(a=(18.5, 73.8), b=(18.6, 73.9)), PUNE, 18)
    groups = found.clusters
    assert (groups.count.tolist(), groups.bad.tolist(), groups.warn.tolist()) == ([2], [1], [1])
    assert [night.device for night in cameras_of(dark, found.singles.tolist())] == ["b"]


def test_what_has_no_site_is_retired_or_lies_elsewhere_is_not_in_the_window() -> None:
    nights = [Night(device, "cam1", 3.0) for device in ("elsewhere", "nowhere", "retired", "zz")]
    found = view(dark_of(nights, NOW), city(elsewhere=(28.6, 77.2), nowhere=None), PUNE, 12)
    assert (found.seen, found.clusters.count.tolist(), found.singles.tolist()) == (0, [], [])
    assert view(dark_of(nights, NOW), city(), None, 4).seen == 0


def said(store: Store, level: float) -> None:
    """What ingest writes of pune-cam-01, which knows its night, and of one whose checks have no columns."""
    many = Cell(
        devices=["pune-cam-01"],
        seen_at=_floats(NOW.timestamp()),
        beat_at=_floats(NOW.timestamp()),
        offset_ms=_floats(0.0),
        uptime_s=b"\0" * 8,
        state=b"\0",
        columns=["cpu", "peripheral:cam1"],
        values=_floats(90.0, level),
        shapes=[[]],
        shape_of=b"\0\0",
        peripherals=[b"[]"],
        peripherals_of=b"\0\0",
        clocks={},
        beside={"pune-cam-01": {"peripheral:cam9": 9.0, "fan": 1.0}},
    )
    store.write_sync(lambda unit: vitals.write(unit, [(cell_of("pune-cam-01"), many)]))


def _floats(*values: float) -> bytes:
    return struct.pack(f"={len(values)}d", *values)


def test_the_fleet_is_read_again_after_ten_minutes_and_not_before(store: Store) -> None:
    now_s = [0.0]
    places = DarkPlaces(mono=lambda: now_s[0], now=lambda: NOW + timedelta(minutes=1))
    columns = city(**{"pune-cam-01": (18.5195, 73.8553)})

    def levels() -> list[tuple[str, float]]:
        found = store.read_sync(lambda conn: places.view(conn, columns, None, 4))
        return [(n.camera, n.level) for n in cameras_of(found.dark, found.darkest.tolist())]

    said(store, 14.0)
    assert levels() == [("cam9", 9.0), ("cam1", 14.0)]
    said(store, 40.0)
    assert levels() == [("cam9", 9.0), ("cam1", 14.0)]
    now_s[0] = FRESH_S + 1
    assert levels() == [("cam9", 9.0)]
