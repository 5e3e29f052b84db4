"""The dump of a PostgreSQL database in a backup: read to its end, kept as long as the backup, and what the hub says without one."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from click.testing import Result
from prahari_hub import metrics
from prahari_hub.access import tokens
from prahari_hub.access.audit import record
from prahari_hub.access.tables import audit, audit_seals
from prahari_hub.cli.commands import typer_app as app
from prahari_hub.errors import SetupError
from prahari_hub.http.actor import Role
from prahari_hub.identity import adoption
from prahari_hub.operations import gauges, overview, queries, sizes
from prahari_hub.operations import manifest as manifests
from prahari_hub.operations import restore as restores
from prahari_hub.operations.backup import ACTION, backup
from prahari_hub.operations.doctor import examine
from prahari_hub.operations.doctor.findings import Finding, Level, Look
from prahari_hub.operations.tables import hub_sizes
from prahari_hub.settings import Settings, load
from prahari_hub.store import Store, metadata
from prahari_hub.store.migrate import newest
from prahari_hub.web.app import Parts, console_app
from typer.testing import CliRunner

from tests.conftest import find_program, own_postgres
from tests.hub.conftest import build

from .conftest import NOW, ROOT, City, populate

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
DAY = timedelta(days=1)
GIB = 1024**3
pytestmark = pytest.mark.needs("initdb")


@dataclass
class Hub:
    """A hub on PostgreSQL with a little of everything. ``url`` is its database's."""

    settings: Settings
    store: Store
    url: str
    folder: Path

    def dump(self, name: str = "tonight.dump", *options: str) -> Path:
        file = self.folder / name
        subprocess.run(
            ["pg_dump", "--format=custom", *options, f"--file={file}", plain(self.url)], check=True
        )
        return file

    def run(self, *arguments: str | Path) -> Result:
        env = {"PRAHARI_HOME": str(self.settings.home), "PRAHARI_DATABASE_URL": self.url}
        return CliRunner().invoke(app, ["backup", *map(str, arguments)], env=env)

    def look(self, name: str, at: datetime = NOW) -> Finding:
        [finding] = examine(Look(self.settings, at, self.store), [name])
        return finding

    def has_made(self, at: datetime, dump_at: datetime | None) -> None:
        """The row that ``prahari-hub backup`` leaves in the audit log."""
        detail = {"made_at": at.isoformat(), "folder": f"/backup/{at:%d}"}
        if dump_at is not None:
            detail["dump_at"] = dump_at.isoformat()
        store = Store.open(self.url, clock=lambda: at)
        store.write_sync(lambda unit: record(unit, ROOT, ACTION, "hub", detail=detail))
        store.close()

    def gauge(self, name: str) -> float:
        for read in gauges.of(self.settings, lambda: NOW):
            self.store.read_sync(read)
        found = metrics.REGISTRY.get_sample_value(name)
        assert found is not None
        return found


@pytest.fixture
def hub(postgres: Any, built: City, tmp_path: Path) -> Iterator[Hub]:
    home = tmp_path / "hub"
    shutil.copytree(built.settings.home, home, ignore=shutil.ignore_patterns("hub.db*"))
    with postgres.lend("newest", build) as url:
        store = Store.open(url, clock=lambda: NOW)
        store.write_sync(populate)
        yield Hub(load(home=home, database_url=url), store, url, tmp_path)
        store.close()


@pytest.fixture
def empty(postgres: Any) -> Iterator[str]:
    """The URL of a database to restore into."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def devices(url: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        found = conn.exec_driver_sql("SELECT count(*) FROM devices").scalar_one()
    engine.dispose()
    return int(found)


def test_a_backup_with_its_dump_makes_the_hub_anew_whatever_becomes_of_the_dumps_file(
    hub: Hub, empty: str
) -> None:
    dump = hub.dump()
    began = datetime.now(UTC)
    said = hub.run(hub.folder / "backups", "--dump", dump)
    assert said.exit_code == 0, said.output
    assert "NOT in here" not in said.output
    with dump.open("wb"):
        pass  # as the next pg_dump to the same file begins
    [folder] = manifests.all_in(hub.folder / "backups")
    source = restores.check(folder)
    assert source.manifest.revision == newest()
    assert source.manifest.moment <= source.manifest.made_at
    assert abs(source.manifest.moment - began) < timedelta(minutes=1)

    kept = folder / "hub.dump"
    for home in (load(home=hub.folder / "new"), load(home=hub.folder / "new", database_url=empty)):
        with pytest.raises(SetupError, match=re.escape(str(kept))):
            restores.restore(source, home, now=datetime.now(UTC))
    subprocess.run(["pg_restore", "--no-owner", f"--dbname={plain(empty)}", kept], check=True)
    done = restores.restore(source, load(home=hub.folder / "new", database_url=empty), now=datetime.now(UTC))
    assert (done.twins, done.displays, done.blobs) == (2, 1, 4)
    assert devices(empty) == devices(hub.url) == 2
    restored = Store.open(empty)
    gap = restored.read_sync(adoption.missed)
    restored.close()
    assert gap is not None and gap.since == source.manifest.moment != source.manifest.made_at


def test_numbers_leap_over_what_grew_since_the_dump_and_not_since_the_backup(hub: Hub) -> None:
    dump = hub.dump()
    day_later = datetime.now(UTC) + DAY
    made = backup(hub.settings, hub.folder / "backups", now=day_later, dump=dump)
    assert day_later - made.manifest.moment >= DAY
    assert restores.step_since(made.manifest.moment, day_later) > 2 * DAY.total_seconds()


def test_a_dump_that_is_not_whole_makes_no_backup(hub: Hub) -> None:
    dump = hub.dump()
    content = dump.read_bytes()
    for damaged, says in (
        (content[: len(content) // 2], "is not whole"),
        (content[:-1], "is not whole"),
        (b"", "is no dump"),
        (b"-- PostgreSQL database dump\n" + content, "is no dump"),
    ):
        dump.write_bytes(damaged)
        with pytest.raises(SetupError, match=says):
            backup(hub.settings, hub.folder / "backups", now=NOW, dump=dump)
    said = hub.run(hub.folder / "backups", "--dump", dump)
    assert said.exit_code == 1 and "is no dump" in said.stderr and "Traceback" not in said.output
    assert manifests.all_in(hub.folder / "backups") == []
    assert not list((hub.folder / "backups").rglob("hub.dump"))
    assert hub.look("backup").said() == "No backup was ever made."


def test_a_dump_of_something_else_makes_no_backup(hub: Hub) -> None:
    for options in (["--schema-only"], ["--table=devices"]):
        said = hub.run(hub.folder / "backups", "--dump", hub.dump("other.dump", *options))
        assert said.exit_code == 1 and "holds no hub" in said.stderr
    said = hub.run(hub.folder / "backups", "--dump", hub.folder / "nothing.dump")
    assert said.exit_code == 1 and "nothing.dump" in said.stderr


def test_where_pg_restore_is_not_installed_the_dump_is_taken_and_that_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = hub.dump()
    monkeypatch.setenv("PATH", str(hub.folder))
    said = hub.run(hub.folder / "backups", "--dump", dump)
    assert said.exit_code == 0, said.output
    assert "pg_restore is not installed" in said.output
    [folder] = manifests.all_in(hub.folder / "backups")
    assert manifests.read(folder).revision == newest()


def test_a_dump_has_no_place_in_a_backup_on_sqlite(city: City, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="leave --dump out"):
        backup(city.settings, tmp_path / "backups", now=NOW, dump=tmp_path / "any.dump")


def test_the_newest_backup_with_a_database_outlives_any_number_without(hub: Hub) -> None:
    into = hub.folder / "backups"
    dump = hub.dump()
    for night in range(3):
        backup(hub.settings, into, now=NOW + night * DAY, dump=dump, keep=2)
    assert [(folder / "hub.dump").exists() for folder in manifests.all_in(into)] == [True, True]
    for night in range(3, 6):
        backup(hub.settings, into, now=NOW + night * DAY, keep=2)
    kept = manifests.all_in(into)
    assert [(folder / "hub.dump").exists() for folder in kept] == [True, False, False]
    told = CliRunner().invoke(app, ["restore", str(into), "--home", str(hub.folder / "new"), "--check"])
    assert told.exit_code == 0 and f"(there is none in {kept[-1]})" in told.output
    assert f"The newest backup with a database is {kept[0]}." in told.output
    told = CliRunner().invoke(app, ["restore", str(kept[0]), "--home", str(hub.folder / "new"), "--check"])
    assert f"Its database is the dump {kept[0] / 'hub.dump'}" in told.output


def test_a_backup_without_a_dump_is_said_to_hold_keys_and_pictures_only(hub: Hub) -> None:
    said = hub.run(hub.folder / "backups")
    assert said.exit_code == 0 and "--dump" in said.output
    found = hub.look("backup", datetime.now(UTC))
    assert found.level is Level.WARN and "keys and pictures only" in found.said()
    assert "--dump" in str(found.advice())
    assert hub.gauge("prahari_backup_timestamp_seconds") == 0
    shown = overview.take(hub.settings, hub.store, notices={}, rates=overview.Rates()).findings
    assert "keys and pictures only" in " ".join(finding.said() for finding in shown)


def test_the_age_of_the_last_dump_decides(hub: Hub) -> None:
    def said(days: float) -> tuple[Level, str]:
        found = hub.look("backup", NOW + days * DAY)
        return found.level, found.said()

    hub.has_made(NOW + timedelta(hours=1), dump_at=NOW)
    assert said(1) == (Level.OK, "The last backup, 1.0 days old, is in /backup/22.")
    assert said(3) == (Level.WARN, "The last backup is 3.0 days old.")
    assert said(9) == (Level.FAIL, "The last backup is 9.0 days old.")
    hub.has_made(NOW + DAY, dump_at=None)
    assert said(1) == (Level.OK, "The last backup, 1.0 days old, is in /backup/22.")
    level, text = said(2.5)
    assert level is Level.WARN and "2.5 days old; what was made since holds keys and pictures only" in text
    hub.has_made(NOW + 8 * DAY, dump_at=None)
    level, text = said(9)
    assert level is Level.FAIL and "9.0 days old; what was made since holds keys and pictures only" in text
    assert hub.gauge("prahari_backup_timestamp_seconds") == NOW.timestamp()


def test_a_server_that_archives_its_log_needs_no_dump(
    tmp_path: Path, built: City, free_port: Callable[[], int]
) -> None:
    """On a server of its own: archiving is a setting of the whole server."""
    with own_postgres(free_port(), "archive_mode=on", "archive_command=true") as url:
        store = Store.open(url)
        metadata.create_all(store.engine, [audit, audit_seals])
        hub = Hub(load(home=built.settings.home, database_url=url), store, url, tmp_path)
        try:
            assert store.read_sync(queries.archived_at) is None
            now = datetime.now(UTC)
            hub.has_made(now, dump_at=None)
            assert hub.look("backup", now).level is Level.WARN
            store.write_sync(lambda unit: unit.conn.exec_driver_sql("SELECT pg_switch_wal()"))
            deadline = time.monotonic() + 60
            while store.read_sync(queries.archived_at) is None and time.monotonic() < deadline:
                time.sleep(0.05)
            found = hub.look("backup", now)
            assert found.level is Level.OK and "archives its log" in found.said()
            kept = store.read_sync(queries.backups).kept
            assert kept is not None and abs(kept - now) < timedelta(minutes=1)
            late = hub.look("backup", now + 3 * DAY)
            assert late.level is Level.WARN
        finally:
            store.close()


def test_the_growth_of_the_database_is_told_and_no_days_of_a_disk_that_the_hub_does_not_see(hub: Hub) -> None:
    assert "not known yet" in hub.look("disk").said()
    free = hub.store.read_sync(lambda conn: sizes.room(hub.settings, conn)).free

    def noted(unit: Any) -> None:
        for days, size, room in ((2, GIB, 2 * free), (0, 2 * GIB, free // 2)):
            row = {"at": NOW - days * DAY, "database_bytes": size, "free_bytes": room}
            unit.conn.execute(hub_sizes.insert().values(row))

    hub.store.write_sync(noted)
    found = hub.look("disk")
    assert found.level is Level.OK and "grows by 512.0 MiB a day: watch the disk there" in found.said()
    assert math.isnan(hub.gauge("prahari_disk_days"))
    shown = overview.take(hub.settings, hub.store, notices={}, rates=overview.Rates()).figures
    assert shown.days_left is None and shown.database_elsewhere
    assert shown.database_a_day == pytest.approx(GIB / 2)


async def test_the_page_says_both_in_the_readers_language(hub: Hub) -> None:
    hub.has_made(NOW - DAY, dump_at=None)
    console = console_app(Parts(hub.settings, hub.store))
    console.state.feed = type("Feed", (), {"position": lambda self, topics: {"feed": "x", "n": {}}})()
    _, token = hub.store.write_sync(
        lambda unit: tokens.create(unit, ROOT, "test", role=Role.OPERATOR, life=DAY)
    )
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(console)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        for locale, words in {
            "en": ("The database grows a day", "watch the disk there", "keys and pictures only"),
            "hi": ("डेटाबेस प्रतिदिन बढ़ता है", "वहाँ की डिस्क पर नज़र रखें", "केवल कुंजियाँ और चित्र हैं"),
        }.items():
            page = (await client.get("/hub", headers={"accept-language": locale})).text
            assert [word for word in words if word not in page] == []
            assert "Disk full in" not in page and "डिस्क भरेगी" not in page
        figures = (await client.get("/api/v1/hub")).json()["figures"]
    assert figures["database_elsewhere"] and figures["days_left"] is None


def unit_on_the_page(name: str) -> str:
    """The last one of that name in docs/operations.md: the first is SQLite's."""
    found = re.findall(
        rf"^# /etc/systemd/system/{re.escape(name)}\n(.*?)(?=^# /etc|^```)",
        OPERATIONS.read_text(),
        re.M | re.S,
    )
    return str(found[-1])


def of_this_machine(hub: Hub, unit: str) -> str:
    """The page's unit with this machine's paths, user and database in the places of the page's."""
    given = sa.make_url(hub.url)
    programs = Path(os.environ.get("VIRTUAL_ENV") or Path(os.sys.executable).parents[1]) / "bin"
    for page, here in {
        "/opt/prahari/bin": str(programs),
        "/var/lib/prahari-hub": str(hub.settings.home),
        "/backup/prahari": str(hub.folder / "backups"),
        "/etc/prahari": str(hub.folder),
        "PGHOST=db.pune.example": f"PGHOST={given.host} PGPORT={given.port}",
        "PGDATABASE=prahari": f"PGDATABASE={given.database}",
        "PGUSER=prahari": f"PGUSER={given.username}",
        "User=prahari": "User=root",
    }.items():
        unit = unit.replace(page, here)
    return unit


def night(unit: str) -> int:
    """Run the service as systemd does a oneshot: each ExecStart while the one before went well, ExecStopPost always; the last code."""
    env = dict(os.environ)
    for line in re.findall(r"^Environment=(.*)$", unit, re.M):
        env |= dict(part.split("=", 1) for part in shlex.split(line))
    code = 0
    for command in re.findall(r"^ExecStart=(.*)$", unit, re.M):
        code = code or subprocess.run(shlex.split(command), env=env, check=False).returncode
    for command in re.findall(r"^ExecStopPost=(.*)$", unit, re.M):
        subprocess.run(shlex.split(command), env=env, check=True)
    return code


def test_the_service_on_the_page_keeps_a_dump_a_night_and_a_night_that_fails_spoils_none(hub: Hub) -> None:
    (hub.folder / "passphrase").write_text("a river without a bridge\n")
    into = hub.folder / "backups"
    into.mkdir()
    unit = of_this_machine(hub, unit_on_the_page("prahari-backup.service"))
    assert night(unit) == 0
    [first] = manifests.all_in(into)
    assert (first / "hub.dump").stat().st_mode & 0o077 == 0
    assert night(re.sub(r"PGPORT=\d+", "PGPORT=1", unit)) != 0
    assert manifests.all_in(into) == [first] and not list(into.glob("*.dump*"))
    restores.check(first, passphrase="a river without a bridge")
    assert hub.look("backup", datetime.now(UTC)).level is Level.OK


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_units_on_the_page(hub: Hub) -> None:
    units = []
    for name in ("prahari-backup.service", "prahari-backup.timer"):
        units.append(hub.folder / name)
        units[-1].write_text(of_this_machine(hub, unit_on_the_page(name)))
    said = subprocess.run(
        [str(find_program("systemd-analyze")), "verify", "--recursive-errors=no", "--man=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0 and "prahari" not in said.stdout + said.stderr, said.stderr
