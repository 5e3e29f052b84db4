"""What ages out, and what does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.access import links, sessions, users
from prahari_hub.access.tables import sessions as session_rows
from prahari_hub.access.tables import setup_tokens
from prahari_hub.fleet import commands, uploads
from prahari_hub.fleet import tables as fleet
from prahari_hub.fleet.blobs import open_blobs, write_durably
from prahari_hub.http.actor import Role, system
from prahari_hub.incidents.tables import incidents
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_wire.command import CommandName

from tests.hub.clock import Clock

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CAM = "pune-cam-01"
Run = Callable[..., None]


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    found = Store.open(database_url, clock=clock)
    found.write_sync(
        lambda unit: unit.conn.execute(
            fleet.devices.insert().values(id=CAM, created_at=START, service="active")
        )
    )
    yield found
    found.close()


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """run(name, **settings) runs one job of the table."""

    def once(name: str, **settings: Any) -> None:
        (job,) = [job for job in jobs(Settings(home=tmp_path, **settings)) if job.name == name]
        store.write_sync(job.run)

    return once


def left(store: Store, table: sa.Table) -> int:
    return store.read_sync(lambda conn: conn.scalar(sa.select(sa.func.count()).select_from(table)))


def picture(store: Store, home: Path, content: bytes, device: str = CAM, *, sent: bool = True) -> str:
    """A file that was announced, and has come."""
    sha256 = hashlib.sha256(content).hexdigest()

    def work(unit: Unit) -> None:
        row = {"device_id": device, "sha256": sha256, "size": 3, "named_by": "x", "at": unit.now}
        unit.conn.execute(fleet.expected_uploads.insert().values(**row, stored_at=unit.now if sent else None))

    store.write_sync(work)
    if sent:
        write_durably(home / "blobs" / sha256[:2] / sha256, content)
    return sha256


def test_a_command_is_forgotten_long_after_its_end_and_never_before_it(
    store: Store, run: Run, clock: Clock
) -> None:
    args = {"peripheral": "box1", "incident": "x" * 26, "state": "off"}
    store.write_sync(
        lambda unit: commands.issue(unit, system("test"), CAM, CommandName.RESTART, {}, expires_in_s=60)
    )
    store.write_sync(
        lambda unit: commands.issue(unit, system("test"), CAM, CommandName.LAMP, args, expires_in_s=60)
    )
    clock.now += timedelta(minutes=1)
    first = store.read_sync(lambda conn: commands.list_commands(conn, CAM)).items[0]["id"]
    store.write_sync(lambda unit: commands.cancel(unit, system("test"), first))
    clock.now += timedelta(days=89)
    run("commands.forget")
    assert left(store, fleet.commands) == 2
    clock.now += timedelta(days=2)
    run("commands.forget")
    assert left(store, fleet.commands) == 1


@pytest.mark.parametrize(("settings", "kept"), [({}, 2), ({"keep_events_days": 30}, 1)], ids=["ever", "days"])
def test_events_and_transitions_stay_unless_a_setting_says_how_long(
    store: Store, run: Run, clock: Clock, settings: dict[str, int], kept: int
) -> None:
    def happen(unit: Unit) -> None:
        number = unit.now.toordinal()
        event = {"ulid": "x", "device_id": CAM, "journal": "j", "seq": number, "kind": "k", "at": unit.now}
        more = {"mono_ms": 1, "boot": "b", "conn": 1, "clock": "synced", "late": False, "body": {}}
        unit.conn.execute(fleet.events.insert().values(**event, **more, received_at=unit.now))
        moved = {"device_id": CAM, "kind": "presence", "before": "online", "after": "offline", "at": unit.now}
        unit.conn.execute(fleet.transitions.insert().values(**moved))

    store.write_sync(happen)
    clock.now += timedelta(days=31)
    store.write_sync(happen)
    run("events.forget", **settings)
    assert (left(store, fleet.events), left(store, fleet.transitions)) == (kept, 2)
    run("transitions")
    run("events.forget", **settings)
    assert (left(store, fleet.events), left(store, fleet.transitions)) == (kept, kept)


def test_a_picture_goes_after_its_time_unless_something_still_names_it(
    store: Store, run: Run, clock: Clock, tmp_path: Path
) -> None:
    old, shown = picture(store, tmp_path, b"old"), picture(store, tmp_path, b"sho")
    brought, again = picture(store, tmp_path, b"bro", ""), picture(store, tmp_path, b"aga")
    missing = picture(store, tmp_path, b"mis", sent=False)
    values = {"id": "i", "key": "k", "kind": "camera.track", "severity": "minor", "rank": 2, "title": "t"}
    more = {"device_id": CAM, "detail": {}, "opened_at": START, "last_at": START, "count": 1}
    store.write_sync(
        lambda unit: unit.conn.execute(incidents.insert().values(**values, **more, snapshot=shown))
    )
    clock.now += timedelta(days=60)
    picture(store, tmp_path, b"aga", "pune-cam-02")
    run("files.forget")
    assert store.read_sync(lambda conn: uploads.expected(conn, CAM, missing)) is None
    assert store.read_sync(lambda conn: uploads.is_stored(conn, old))
    clock.now += timedelta(days=31)
    run("files.forget")
    stored = store.read_sync(lambda conn: [uploads.is_stored(conn, f) for f in (old, shown, brought, again)])
    assert stored == [False, True, True, True]
    files = {path.name for path in (tmp_path / "blobs").glob("*/*")}
    assert files == {shown, brought, again}
    store.write_sync(lambda unit: unit.conn.execute(incidents.update().values(resolved_at=unit.now)))
    run("files.forget")
    assert not store.read_sync(lambda conn: uploads.is_stored(conn, shown))


async def test_a_file_that_is_gone_already_is_no_trouble(tmp_path: Path) -> None:
    kept = open_blobs(Settings(home=tmp_path))
    kept.delete(["a" * 64])
    assert await kept.size("a" * 64) is None


def test_sessions_and_links_that_have_ended_are_swept(store: Store, run: Run, clock: Clock) -> None:
    def begin(unit: Unit) -> None:
        users.add(unit, system("test"), "asha", password="four unrelated words here", role=Role.ADMIN)
        sessions.open_session(unit, "asha")
        links.make_login_link(unit, "asha")

    store.write_sync(begin)
    run("access.sweep")
    assert (left(store, session_rows), left(store, setup_tokens)) == (1, 1)
    clock.now += timedelta(days=1)
    run("access.sweep")
    assert (left(store, session_rows), left(store, setup_tokens)) == (0, 0)
