"""A backup holds the hub, and an empty home becomes it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prahari_hub.access import chain
from prahari_hub.errors import SetupError
from prahari_hub.operations import manifest as manifests
from prahari_hub.operations import restore as restores
from prahari_hub.operations.backup import backup
from prahari_hub.settings import load
from prahari_hub.store import Store, metadata
from prahari_hub.store.copy import copy_sqlite, faults

LEAPS = {"twins", "twin_history", "displays", "sessions", "setup_tokens", "audit"}
NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
LATER = NOW + timedelta(hours=6)


def rows(file: Path, table: str) -> list[tuple]:
    with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as database:
        found = database.execute(f"SELECT * FROM {table}").fetchall()
    database.close()
    return sorted(found, key=repr)


def tables(file: Path) -> list[str]:
    return [row[0] for row in rows(file, "(SELECT name FROM sqlite_master WHERE type = 'table')")]


def restored(folder: Path, home: Path, **options):
    source = restores.check(restores.newest_in(folder), **options)
    return restores.restore(source, load(home=home), now=LATER)


def test_a_restored_home_is_the_one_that_was_backed_up(city, tmp_path: Path) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW)
    city.store.close()
    done = restored(tmp_path / "backups", tmp_path / "new")
    old, new = city.settings.home / "hub.db", tmp_path / "new" / "hub.db"
    assert tables(old) == tables(new) and set(metadata.tables) <= set(tables(old))
    for table in set(tables(old)) - LEAPS - {"sqlite_sequence"}:
        assert rows(old, table) == rows(new, table), table
    assert made.manifest.revision == rows(new, "alembic_version")[0][0]
    assert done.blobs == 4 and (done.twins, done.displays, done.overrides) == (2, 1, 1)
    for part in ("pki", "signing", "blobs", "map-layers", "hub.toml"):
        files = [city.settings.home / part, *sorted((city.settings.home / part).rglob("*"))]
        for file in (file for file in files if file.is_file()):
            copy = tmp_path / "new" / file.relative_to(city.settings.home)
            assert copy.read_bytes() == file.read_bytes()
    for key in (tmp_path / "new").rglob("*.key"):
        assert key.stat().st_mode & 0o077 == 0


def test_numbers_that_devices_must_not_see_twice_leap(city, tmp_path: Path) -> None:
    backup(city.settings, tmp_path / "backups", now=NOW)
    restored(tmp_path / "backups", tmp_path / "new")
    step = restores.step_since(NOW, LATER)
    assert step > 6 * 3600
    new = tmp_path / "new" / "hub.db"
    versions = dict(rows(new, "(SELECT device_id, version FROM twins)"))
    assert versions == {"pune-cam-01": 1 + step, "pune-sign-01": 1 + step}
    kept = [version for _, version in rows(new, "(SELECT device_id, version FROM twin_history)")]
    assert sorted(kept) == [1, 1, 1 + step, 1 + step]
    assert rows(new, "(SELECT epoch, confirmed_epoch FROM displays)") == [(1 + step, 0)]


def test_a_second_restore_of_one_backup_leaps_over_the_first() -> None:
    first = restores.step_since(NOW, LATER)
    later = LATER + timedelta(minutes=5)
    grown = first + 5 * 60  # at most one renewal a second
    assert restores.step_since(NOW, later) > grown
    assert restores.step_since(NOW, NOW - timedelta(days=400)) == restores.LEAST_STEP


def test_old_sessions_and_links_open_nothing_after_a_restore(city, tmp_path: Path) -> None:
    backup(city.settings, tmp_path / "backups", now=NOW)
    restored(tmp_path / "backups", tmp_path / "new")
    new = tmp_path / "new" / "hub.db"
    assert not rows(new, "sessions") and not rows(new, "setup_tokens")


def test_the_audit_chain_goes_on_with_a_row_that_names_the_restore(city, tmp_path: Path) -> None:
    backup(city.settings, tmp_path / "backups", now=NOW)
    head = city.store.read_sync(chain.verify).head
    restored(tmp_path / "backups", tmp_path / "new")
    store = Store.open(f"sqlite:///{tmp_path / 'new' / 'hub.db'}", clock=lambda: LATER)
    try:
        store.write_sync(chain.seal)
        found = store.read_sync(lambda conn: chain.verify(conn, head))
        assert found.broken is None and found.unsealed == 0
        query = "SELECT action, detail FROM audit ORDER BY id DESC LIMIT 1"
        action, detail = store.read_sync(lambda conn: conn.execute(sa.text(query)).one())
        assert action == "hub.restore" and json.loads(detail)["backup"] == NOW.isoformat()
    finally:
        store.close()


def test_a_picture_is_copied_once_however_many_backups_name_it(city, tmp_path: Path) -> None:
    first = backup(city.settings, tmp_path / "backups", now=NOW)
    city.picture(b"\xff\xd8\xff four")
    second = backup(city.settings, tmp_path / "backups", now=NOW + timedelta(days=1))
    assert (first.tally.blobs, first.tally.copied) == (4, 4)
    assert (second.tally.blobs, second.tally.copied) == (5, 1)


def test_old_backups_and_the_pictures_that_only_they_name_are_thinned_out(city, tmp_path: Path) -> None:
    into = tmp_path / "backups"
    backup(city.settings, into, now=NOW)
    gone = city.blobs[0]
    (city.settings.home / "blobs" / gone[:2] / gone).unlink()
    made = backup(city.settings, into, now=NOW + timedelta(days=1), keep=1)
    assert made.removed == 1 and manifests.all_in(into) == [made.folder]
    assert not (into / "blobs" / gone[:2] / gone).exists()
    assert restores.check(made.folder).damaged == ()


def test_sealed_keys_open_with_their_passphrase_alone(city, tmp_path: Path) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW, passphrase="a river without a bridge")
    secret = (city.settings.home / "signing" / "current.key").read_bytes()
    everything = b"".join(file.read_bytes() for file in made.folder.iterdir())
    assert secret not in everything
    with pytest.raises(SetupError, match="--passphrase-file"):
        restores.check(made.folder)
    with pytest.raises(SetupError, match="do not open"):
        restores.check(made.folder, passphrase="a river with a bridge")
    restored(tmp_path / "backups", tmp_path / "new", passphrase="a river without a bridge")
    assert (tmp_path / "new" / "signing" / "current.key").read_bytes() == secret
    with pytest.raises(SetupError, match="fewer than"):
        backup(city.settings, tmp_path / "other", now=NOW, passphrase="short")


@pytest.mark.parametrize("name", ["hub.db", "keys.tar", "blobs.txt", "manifest.json", "blob"])
def test_a_backup_of_which_one_byte_changed_is_refused_before_anything_is_written(
    city, tmp_path: Path, name: str
) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW)
    blob = city.blobs[0]
    file = tmp_path / "backups" / "blobs" / blob[:2] / blob if name == "blob" else made.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(SetupError):
        restored(made.folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_damaged_pictures_can_be_left_behind(city, tmp_path: Path) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW)
    (tmp_path / "backups" / "blobs" / city.blobs[1][:2] / city.blobs[1]).unlink()
    assert restored(made.folder, tmp_path / "new", skip_damaged=True).blobs == 3


def test_a_home_that_holds_anything_is_left_as_it_is(city, tmp_path: Path) -> None:
    backup(city.settings, tmp_path / "backups", now=NOW)
    before = sorted(city.settings.home.rglob("*"))
    with pytest.raises(SetupError, match="not empty"):
        restored(tmp_path / "backups", city.settings.home)
    assert sorted(city.settings.home.rglob("*")) == before


def test_a_restore_that_fails_leaves_an_empty_home(city, tmp_path: Path) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW)
    source = restores.check(made.folder)
    shutil.rmtree(tmp_path / "backups" / "blobs")
    with pytest.raises(SetupError, match="could not be filled"):
        restores.restore(source, load(home=tmp_path / "new"), now=LATER)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_backup_of_a_newer_hub_is_refused(city, tmp_path: Path) -> None:
    made = backup(city.settings, tmp_path / "backups", now=NOW)
    told = json.loads((made.folder / "manifest.json").read_text()) | {"revision": "9999"}
    (made.folder / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(SetupError, match="newer hub"):
        restores.check(made.folder)


def test_a_backup_into_the_home_itself_is_refused(city) -> None:
    with pytest.raises(SetupError, match="another disk"):
        backup(city.settings, city.settings.home / "backups", now=NOW)


def test_a_damaged_database_makes_no_backup(city, tmp_path: Path) -> None:
    city.store.write_sync(
        lambda unit: unit.conn.exec_driver_sql("CREATE TABLE filler AS SELECT randomblob(400000) AS x")
    )
    city.store.close()
    file = city.settings.home / "hub.db"
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    file.write_bytes(content)
    assert faults(file)
    with pytest.raises(SetupError, match="prahari-hub restore"):
        backup(city.settings, tmp_path / "backups", now=NOW)
    assert manifests.all_in(tmp_path / "backups") == []


def test_a_copy_is_of_one_moment_while_others_write_and_none_of_them_waits(tmp_path: Path) -> None:
    """Two counters that every transaction raises together; a large table makes the copy take many steps."""
    file = tmp_path / "busy.db"
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE counters (a, b)")
    writer.execute("INSERT INTO counters VALUES (0, 0)")
    writer.execute("CREATE TABLE filler AS SELECT randomblob(24000000) AS x")
    stop, longest = threading.Event(), [0.0]

    def write() -> None:
        while not stop.is_set():
            began = time.monotonic()
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE counters SET a = a + 1")
            writer.execute("UPDATE counters SET b = b + 1")
            writer.execute("COMMIT")
            longest[0] = max(longest[0], time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        copy_sqlite(file, tmp_path / "copy.db", pause=lambda _s: time.sleep(0.01))
    finally:
        stop.set()
        thread.join()
        after = writer.execute("SELECT a FROM counters").fetchone()[0]
        writer.close()
    [(a, b)] = rows(tmp_path / "copy.db", "counters")
    assert a == b < after and faults(tmp_path / "copy.db", thorough=True) == []
    assert after > 20 and longest[0] < 4
