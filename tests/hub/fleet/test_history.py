"""Health history: what is kept of a value, and that packing loses and doubles nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_hub.fleet import history
from prahari_hub.fleet.cells import cell_of
from prahari_hub.fleet.history import codec, tiers
from prahari_hub.fleet.history.block import MAX_CHECKS, Block, condensed, merged
from prahari_hub.fleet.tables import health_blocks, health_buckets, health_days, health_hours, health_months

from tests.form import examples

DEVICE = "pune-cam-01"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VALUES = st.floats(-9e14, 9e14, allow_nan=False)


@given(VALUES)
def test_a_value_is_kept_within_half_a_percent_or_half_a_hundredth(value: float) -> None:
    kept = float(codec.values(codec.codes(np.array([value])))[0])
    assert abs(kept - value) <= max(0.005 * abs(value), 0.005) * (1 + 1e-9)


@given(st.lists(VALUES, min_size=2, max_size=20))
def test_larger_values_have_larger_numbers(values: list[float]) -> None:
    numbers = codec.codes(np.array(sorted(values)))
    assert (np.diff(numbers) >= 0).all()


@given(st.integers(-13599, 13599))
def test_a_kept_value_is_kept_again_as_it_is(number: int) -> None:
    assert codec.codes(codec.values(np.array([number])))[0] == number


@st.composite
def blocks(draw: Any) -> Block:
    checks, devices, slots = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (checks, devices, slots)
    mean = rng.normal(0, 10.0 ** rng.integers(-2, 6), shape)
    return Block(
        [f"dev-{number}" for number in range(devices)],
        [f"check-{number}" for number in range(checks)],
        rng.integers(0, 3, shape).astype(np.uint32) * rng.integers(1, 10**5, shape).astype(np.uint32),
        mean - np.abs(rng.normal(0, 3, shape)),
        mean,
        mean + np.abs(rng.normal(0, 3, shape)),
    )


@settings(max_examples=examples(60), deadline=None)
@given(blocks())
def test_a_block_comes_back_as_it_was_but_for_digits(block: Block) -> None:
    found = codec.unpack(codec.pack(block))
    assert (found.devices, found.checks) == (block.devices, block.checks)
    assert (found.count == block.count).all()
    known = block.count > 0
    for kept, given_ in ((found.least, block.least), (found.mean, block.mean), (found.most, block.most)):
        bound = np.maximum(0.005 * np.abs(given_), 0.005) * (1 + 1e-9)
        assert (np.abs(kept - given_)[known] <= bound[known]).all()
    alone = codec.pick(codec.pack(block), block.devices[-1])
    assert alone is not None
    assert (alone.mean[:, 0] == found.mean[:, -1]).all()


def measure(store: Any, at: datetime, value: float, *, device: str = DEVICE, check: str = "cpu") -> None:
    sums = {device: {check: [value - 1, value * 10, value + 1, 10]}}
    store.write_sync(lambda unit: history.add(unit, history.from_sums(at, sums)))


def read(store: Any, since: datetime, until: datetime, *, step: timedelta | None = None) -> Any:
    return store.read_sync(
        lambda conn: history.series(conn, DEVICE, since=since, until=until, step=step)
    ).checks.get("cpu", {"mean": []})


def compact(store: Any) -> None:
    while store.write_sync(tiers.compact_hours):
        pass
    while store.write_sync(tiers.compact_days):
        pass


def count(store: Any, table: sa.Table) -> int:
    found: int = store.read_sync(lambda conn: conn.scalar(sa.select(sa.func.count()).select_from(table)))
    return found


def test_history_merges_what_two_processes_measured_in_one_bucket(store: Any, time: Any) -> None:
    for sums in ({"cpu": [1.0, 3.0, 2.0, 2]}, {"cpu": [0.0, 9.0, 9.0, 2], "disk": [5.0, 5.0, 5.0, 1]}):
        given_ = history.from_sums(time.now, {DEVICE: sums})
        store.write_sync(lambda unit, given_=given_: history.add(unit, given_))
    found = store.read_sync(
        lambda conn: history.series(conn, DEVICE, since=time.now, until=time.now + history.BUCKET)
    )
    assert found.checks == {
        "cpu": {"min": [0.0], "mean": [3.0], "max": [9.0]},
        "disk": {"min": [5.0], "mean": [5.0], "max": [5.0]},
    }


def test_a_packed_hour_reads_as_its_buckets_did(store: Any, time: Any) -> None:
    for slot in (0, 1, 5, 11):
        measure(store, NOON + slot * history.BUCKET, 10 + slot)
    before = read(store, NOON, NOON + timedelta(hours=1))
    time.now = NOON + timedelta(hours=2)
    compact(store)
    assert (count(store, health_buckets), count(store, health_hours)) == (0, 1)
    assert read(store, NOON, NOON + timedelta(hours=1)) == before
    assert before["mean"] == [10, 11, None, None, None, 15, None, None, None, None, None, 21]


def test_a_compaction_killed_midway_loses_and_doubles_nothing(store: Any, time: Any) -> None:
    for slot in range(12):
        measure(store, NOON + slot * history.BUCKET, 20)

    def killed(unit: Any) -> None:
        tiers.compact_hours(unit)
        raise KeyboardInterrupt

    time.now = NOON + timedelta(hours=2)
    with pytest.raises(KeyboardInterrupt):
        store.write_sync(killed)
    assert (count(store, health_buckets), count(store, health_hours)) == (12, 0)
    compact(store)
    block = store.read_sync(lambda conn: codec.unpack(conn.scalar(sa.select(health_hours.c.packed))))
    assert block.count.tolist() == [[[10] * 12]]


def test_what_comes_late_is_merged_into_the_packed_hour_day_and_month(store: Any, time: Any) -> None:
    measure(store, NOON, 10)
    time.now = NOON + timedelta(days=2)
    compact(store)
    measure(store, NOON, 20)
    measure(store, NOON + history.BUCKET, 30)
    compact(store)
    assert read(store, NOON, NOON + 2 * history.BUCKET)["mean"] == [15, 30]
    assert read(store, NOON, NOON + timedelta(hours=1), step=timedelta(hours=1))["mean"] == [20]
    midnight = NOON.replace(hour=0)
    assert read(store, midnight, midnight + timedelta(days=1), step=timedelta(days=1))["mean"] == [20]


@pytest.mark.parametrize("packed", [False, True], ids=["running", "packed"])
def test_hours_and_days_read_the_same_before_and_after_they_are_packed(
    store: Any, time: Any, packed: bool
) -> None:
    day = NOON.replace(hour=0)
    for hour in (0, 1, 23):
        for slot in range(12):
            measure(store, day + timedelta(hours=hour) + slot * history.BUCKET, 10 + hour)
    time.now = day + timedelta(days=1, hours=2)
    if packed:
        compact(store)
        assert (count(store, health_days), count(store, health_months)) == (1, 1)
    hours = read(store, day, day + timedelta(days=1), step=timedelta(hours=1))
    assert hours["mean"] == [10, 11, *[None] * 21, 33]
    assert (hours["min"][0], hours["max"][23]) == (9, 34)
    days = read(store, day - timedelta(days=1), day + timedelta(days=2), step=timedelta(days=1))
    assert days["mean"] == [None, 18, None]


def test_each_tier_is_forgotten_in_its_own_time(store: Any, time: Any) -> None:
    measure(store, NOON, 10)
    time.now = NOON + timedelta(days=2)
    compact(store)
    old = {"device_id": DEVICE, "hour": NOON, "packed": b""}
    store.write_sync(lambda unit: unit.conn.execute(health_blocks.insert(), old))

    def forget(minutes: int, hours: int) -> list[int]:
        def work(unit: Any) -> bool:
            return history.forget(
                unit,
                minutes_before=unit.now - timedelta(days=minutes),
                hours_before=unit.now - timedelta(days=hours),
            )

        while store.write_sync(work):
            pass
        return [count(store, table) for table in (health_blocks, health_hours, health_days, health_months)]

    assert forget(7, 730) == [1, 1, 1, 1]
    time.now = NOON + timedelta(days=8)
    assert forget(7, 730) == [0, 0, 1, 1]
    time.now = NOON + timedelta(days=800)
    assert forget(7, 730) == [0, 0, 0, 0]


def test_blocks_of_the_first_release_are_still_read(store: Any) -> None:
    import json
    import zlib

    old = zlib.compress(json.dumps({"1": {"cpu": [1.0, 6.0, 3.0, 3]}}).encode())
    row = {"device_id": DEVICE, "hour": NOON, "packed": old}
    store.write_sync(lambda unit: unit.conn.execute(health_blocks.insert(), row))
    assert read(store, NOON, NOON + 2 * history.BUCKET)["mean"] == [None, 2]


def test_a_device_that_invents_checks_loses_only_its_own() -> None:
    sums = {f"dev-{number}": {"cpu": [1.0, 1.0, 1.0, 1]} for number in range(3)}
    sums["dev-0"] |= {f"check{number}": [1.0, 1.0, 1.0, 1] for number in range(1000)}
    parts = [(0, history.from_sums(NOON, {device: one})) for device, one in sums.items()]
    from prahari_hub.fleet.history.block import from_rollup

    block = merged(1, [(slot, from_rollup(rollup)) for slot, rollups in parts for rollup in rollups])
    assert len(block.checks) == MAX_CHECKS
    assert block.count[block.checks.index("cpu")].tolist() == [[1], [1], [1]]


def test_an_hour_is_the_weighted_mean_of_what_was_measured() -> None:
    count_ = np.array([[[1, 0, 3]]], np.uint32)
    values = np.array([[[10.0, 99.0, 30.0]]])
    found = condensed(Block(["dev-1"], ["cpu"], count_, values - 1, values, values + 1))
    assert (found.count.item(), found.mean.item(), found.least.item(), found.most.item()) == (4, 25, 9, 31)


def test_devices_of_a_cell_share_a_row(store: Any) -> None:
    same = [
        DEVICE,
        *[f"box-{number}" for number in range(20000) if cell_of(f"box-{number}") == cell_of(DEVICE)],
    ]
    sums = {device: {"cpu": [1.0, 1.0, 1.0, 1]} for device in same}
    store.write_sync(lambda unit: history.add(unit, history.from_sums(NOON, sums)))
    assert len(same) > 1
    assert count(store, health_buckets) == 1
