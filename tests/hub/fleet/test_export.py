"""Parquet files of what was measured, said and counted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prahari_hub.errors import Invalid, SetupError
from prahari_hub.fleet import export, history
from prahari_hub.fleet.availability.closing import close_days
from prahari_hub.fleet.history import tiers
from prahari_hub.fleet.tables import devices, events, transitions
from pyarrow import parquet

KOLKATA = ZoneInfo("Asia/Kolkata")
DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(store: Any, out: Path, what: str, *, days: int = 1, step_s: int = 3600) -> list[dict[str, Any]]:
    last = DAY + timedelta(days=days - 1)
    written = export.export(store, what, DAY, last, out=out, zone=KOLKATA, step_s=step_s)
    found: list[dict[str, Any]] = parquet.read_table(written.path).to_pylist()
    assert written.rows == len(found)
    assert [path.suffix for path in out.iterdir()] == [".parquet"]
    return found


@pytest.mark.parametrize(("step_s", "expected"), [(300, [10.0, 20.0]), (3600, [15.0]), (86400, [15.0])])
def test_health_is_exported_from_the_tier_of_the_step(
    store: Any, time: Any, tmp_path: Path, step_s: int, expected: list[float]
) -> None:
    for slot, value in ((0, 10.0), (1, 20.0), (12 * 24, 99.0)):
        sums = {"pune-cam-01": {"cpu": [value, value, value, 1]}}
        rollups = history.from_sums(NOON + slot * history.BUCKET, sums)
        store.write_sync(lambda unit, rollups=rollups: history.add(unit, rollups))
    time.now = NOON + timedelta(days=3)
    for step in (tiers.compact_hours, tiers.compact_days):
        while store.write_sync(step):
            pass
    # a day of UTC begins before this one of India's
    found = [
        row for row in write(store, tmp_path / "out", "health", days=2, step_s=step_s) if row["mean"] < 50
    ]
    if step_s < 86400:
        assert [row["mean"] for row in found] == expected
        assert {row["start"] for row in found} <= {NOON, NOON + history.BUCKET}
        assert (found[0]["device"], found[0]["check"]) == ("pune-cam-01", "cpu")


def test_transitions_and_events_are_exported_in_pages(
    store: Any, time: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROWS", 2)
    rows = [
        {"device_id": "pune-cam-01", "kind": "presence", "before": "online", "after": "offline", "at": NOON + timedelta(days=n)}
        for n in (-2, 0, 0, 0, 2)
    ]  # fmt: skip
    event = {
        "device_id": "pune-ecb-01", "journal": "j", "seq": 1, "ulid": "01", "kind": "callbox.press", "peripheral": "ecb", "at": NOON,
        "mono_ms": 1, "boot": "b", "conn": 1, "clock": "synced", "late": False, "received_at": NOON, "body": {"count": 1},
    }  # fmt: skip

    def work(unit: Any) -> None:
        unit.conn.execute(transitions.insert(), rows)
        unit.conn.execute(events.insert(), event)

    store.write_sync(work)
    assert len(write(store, tmp_path / "t", "transitions")) == 3
    (found,) = write(store, tmp_path / "e", "events")
    assert (found["kind"], found["body"], found["at"]) == ("callbox.press", '{"count":1}', NOON)


def test_every_counted_device_day_is_exported(store: Any, time: Any, tmp_path: Path) -> None:
    began = NOON - timedelta(days=9)
    step = {
        "device_id": "pune-cam-01",
        "kind": "presence",
        "before": "offline",
        "after": "online",
        "at": NOON,
    }

    def work(unit: Any) -> None:
        unit.conn.execute(devices.update().values(service="active", presence="online", counted_from=began))
        unit.conn.execute(transitions.insert(), step)

    store.write_sync(work)
    time.now = NOON + timedelta(days=1)
    while store.write_sync(lambda unit: close_days(unit, KOLKATA)):
        pass
    found = {row["device"]: row for row in write(store, tmp_path / "out", "availability")}
    assert len(found) == 3
    assert found["pune-vms-01"]["up_s"] == 86_400
    assert found["pune-cam-01"]["down_s"] + found["pune-cam-01"]["up_s"] == 86_400
    assert (found["pune-cam-01"]["zone"], found["pune-cam-01"]["day"]) == ("kasba", DAY)


def test_an_export_without_pyarrow_says_what_to_install(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SetupError, match=r"pip install 'prahari-hub\[export\]'"):
        export.export(store, "events", DAY, DAY, out=tmp_path, zone=KOLKATA)


def test_a_folder_that_cannot_be_written_is_said(store: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--out"):
        export.export(store, "events", DAY, DAY, out=tmp_path / "file", zone=KOLKATA)
    with pytest.raises(Invalid):
        export.export(store, "events", DAY, DAY - timedelta(days=1), out=tmp_path, zone=KOLKATA)
