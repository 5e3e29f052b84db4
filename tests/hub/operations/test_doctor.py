"""The doctor names what is wrong and what to do, whether the hub runs or not, and changes nothing."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prahari_hub.access import chain
from prahari_hub.cli.commands import typer_app as app
from prahari_hub.identity.tables import certificates
from prahari_hub.operations import parts, sizes
from prahari_hub.operations.doctor import CHECKS, examine, worst
from prahari_hub.operations.doctor.findings import Level, Look
from prahari_hub.operations.tables import hub_sizes
from prahari_hub.settings import load
from typer.testing import CliRunner

NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


def look(city, *names: str, at: datetime = NOW, thorough: bool = True):
    return examine(Look(city.settings, at, city.store, thorough), names or CHECKS)


def only(found):
    [finding] = found
    return finding


def run(city, *arguments: str, port_offset: int = 0):
    env = {"PRAHARI_HOME": str(city.settings.home), "PRAHARI_PORT_OFFSET": str(port_offset)}
    return CliRunner().invoke(app, ["doctor", *arguments], env=env)


def test_a_new_hub_fails_in_nothing_and_is_told_to_make_backups(city, port_offset: int) -> None:
    said = run(city, port_offset=port_offset)
    assert said.exit_code == 0, said.output
    assert "WARN  backup: No backup was ever made." in said.output and "FAIL" not in said.output


def test_programs_read_json(city, port_offset: int) -> None:
    said = json.loads(run(city, "--json", "--quick", port_offset=port_offset).stdout)
    assert said["worst"] in ("ok", "warn")
    assert {finding["subject"] for finding in said["findings"]} <= set(CHECKS)
    assert all((finding["do"] is None) == (finding["level"] == "ok") for finding in said["findings"])


def test_without_a_hub_it_says_how_to_make_one(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path / "nothing")])
    assert said.exit_code == 1 and "prahari-hub init" in said.stderr


def test_a_damaged_database_is_named_with_what_to_do_and_left_as_it_is(city, port_offset: int) -> None:
    city.store.close()
    file = city.settings.home / "hub.db"
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    said = run(city, port_offset=port_offset)
    assert said.exit_code == 1 and "FAIL  database: The database file is damaged" in said.output
    assert "prahari-hub restore" in said.output and "Traceback" not in said.output
    assert file.read_bytes() == content


def test_a_file_that_is_no_database_is_named(city, port_offset: int) -> None:
    city.store.close()
    (city.settings.home / "hub.db").write_bytes(os.urandom(20000))
    said = run(city, port_offset=port_offset)
    assert said.exit_code == 1 and "FAIL  database" in said.output


def test_an_edited_audit_log_fails(city) -> None:
    city.store.write_sync(chain.seal)
    assert only(look(city, "audit")).level is Level.OK
    city.store.write_sync(lambda unit: unit.conn.exec_driver_sql("DROP TRIGGER audit_no_update"))
    city.store.write_sync(lambda unit: unit.conn.exec_driver_sql("UPDATE audit SET actor = 'x' WHERE id = 2"))
    finding = only(look(city, "audit"))
    assert finding.level is Level.FAIL and "row 2" in finding.said()


def test_an_older_and_a_newer_schema_are_told_apart(city) -> None:
    def put(revision: str) -> None:
        city.store.write_sync(
            lambda unit: unit.conn.execute(
                sa.text("UPDATE alembic_version SET version_num = :it"), {"it": revision}
            )
        )

    put("0001")
    assert only(look(city, "schema")).level is Level.WARN
    put("9999")
    assert only(look(city, "schema")).level is Level.FAIL


def test_missing_and_spoilt_pictures_fail(city) -> None:
    assert only(look(city, "pictures")).level is Level.OK
    one, two, _ = (city.settings.home / "blobs" / name[:2] / name for name in city.blobs)
    one.unlink()
    two.write_bytes(b"something else")
    finding = only(look(city, "pictures"))
    assert finding.level is Level.FAIL and "1 are missing and 1 damaged" in finding.said()


def test_uploads_that_nobody_finishes_are_told_and_swept(city) -> None:
    old = city.settings.home / "blobs" / "ab" / "01.part"
    new = city.settings.home / "blobs" / "ab" / "02.part"
    old.parent.mkdir(exist_ok=True)
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    assert "1 uploads" in only(look(city, "unfinished")).said()
    sweep = parts.sweeper(city.settings)
    assert sum(sweep(None) for _ in parts.PLACES) == 1
    assert not old.exists() and new.exists() and look(city, "unfinished") == []


@pytest.mark.parametrize(
    ("age", "level"),
    [(timedelta(hours=20), Level.OK), (timedelta(days=3), Level.WARN), (timedelta(days=30), Level.FAIL)],
    ids=["of last night", "of three days ago", "of last month"],
)
def test_the_age_of_the_last_backup_counts(
    city, tmp_path: Path, port_offset: int, age: timedelta, level: Level
) -> None:
    env = {"PRAHARI_HOME": str(city.settings.home)}
    made = CliRunner().invoke(app, ["backup", str(tmp_path / "backups")], env=env)
    assert made.exit_code == 0, made.output
    assert only(look(city, "backup", at=datetime.now(UTC) + age)).level is level


def test_the_disk_is_full_in_so_many_days(city) -> None:
    assert only(look(city, "disk")).level is Level.OK
    free = sizes.room(city.settings, city.store.engine.connect()).free

    def grown(unit) -> None:
        for days, more in ((2, 2 * free // 10), (0, 0)):
            unit.conn.execute(
                hub_sizes.insert().values(
                    at=NOW - timedelta(days=days), database_bytes=1, free_bytes=free + more
                )
            )

    city.store.write_sync(grown)
    finding = only(look(city, "disk"))
    assert finding.level is Level.WARN and "enough for 10 days" in finding.said()


def test_the_present_sizes_are_noted_for_that(city) -> None:
    city.store.write_sync(lambda unit: sizes.note(city.settings, unit))
    room = city.store.read_sync(lambda conn: sizes.room(city.settings, conn))
    assert room.database > 100_000 and room.a_day is None and room.days is None


def test_a_key_that_others_can_read_fails(city) -> None:
    assert only(look(city, "modes")).level is Level.OK
    (city.settings.home / "pki" / "issuing.key").chmod(0o640)
    finding = only(look(city, "modes"))
    assert finding.level is Level.FAIL and "issuing.key" in finding.said()


def test_a_hub_whose_certificate_no_device_elsewhere_can_trust_fails(city) -> None:
    settings = load(home=city.settings.home, listen="0.0.0.0")
    found = examine(Look(settings, NOW, city.store), ["settings"])
    assert {finding.level for finding in found} == {Level.WARN, Level.FAIL}


def test_the_ends_of_the_hubs_and_the_devices_certificates_are_told(city) -> None:
    assert only(look(city, "authority")).level is Level.OK
    assert worst(look(city, "authority", at=NOW + timedelta(days=1050))) is Level.WARN
    assert worst(look(city, "authority", at=NOW + timedelta(days=1090))) is Level.FAIL

    def issue(unit) -> None:
        for number, days in enumerate((60, 10, -1)):
            unit.conn.execute(
                certificates.insert().values(
                    serial=str(number),
                    device_id=f"box-{number}",
                    pubkey_sha256=str(number),
                    state="current",
                    not_before=NOW - timedelta(days=90),
                    not_after=NOW + timedelta(days=days),
                    issued_at=NOW,
                    pem="",
                )
            )

    city.store.write_sync(issue)
    assert "Of 3 devices, 1 have an expired certificate and 1" in only(look(city, "certificates")).said()
    (city.settings.home / "pki" / "root.pem").unlink()
    assert only(look(city, "authority")).level is Level.FAIL


def test_a_check_that_cannot_be_made_is_a_finding(city) -> None:
    city.store.write_sync(lambda unit: unit.conn.exec_driver_sql("DROP TABLE certificates"))
    finding = only(look(city, "certificates"))
    assert finding.level is Level.FAIL and "no such table" in finding.said()
