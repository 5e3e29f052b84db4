"""The hub's command line on a real home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_hub.access import chain, tokens
from prahari_hub.cli.commands import typer_app as app
from prahari_hub.identity.service import open_identity
from prahari_hub.identity.tables import certificates
from prahari_hub.store import Store
from typer.testing import CliRunner

PASSWORD = "four unrelated words here"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """hub("user", "list") runs prahari-hub on a home of this test."""
    monkeypatch.setenv("PRAHARI_HOME", str(tmp_path / "hub"))
    runner = CliRunner()

    def run(*arguments: str, code: int = 0, typed: str | None = None):
        found = runner.invoke(app, list(arguments), input=typed)
        assert found.exit_code == code, found.output
        return found

    return run


@pytest.fixture
def ready(hub, initialised: Path):
    return hub


def test_init_prints_the_set_up_address_until_there_is_an_admin(hub, tmp_path: Path) -> None:
    said = hub("init").stdout
    assert re.search(r"http://localhost:8080/setup\?token=[\w-]{32}\n", said)
    assert "/setup?token=" in hub("init").stdout
    hub("user", "add", "root", "--role", "admin", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert "token" not in hub("init").stdout
    for path in (tmp_path / "hub").rglob("*.pem"):
        if "key" in path.name:
            assert path.stat().st_mode & 0o077 == 0


def test_a_new_hub_has_no_account_and_no_token(ready) -> None:
    assert ready("user", "list").stdout == "" and ready("token", "list").stdout == ""


def test_without_init_every_command_says_what_to_do(hub) -> None:
    assert "prahari-hub init" in hub("user", "list", code=1).stderr


def test_a_home_that_cannot_be_made_is_said_in_one_sentence(
    hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRAHARI_HOME", str(tmp_path / "file" / "hub"))
    said = hub("init", code=1).stderr
    assert "cannot be written" in said and "Traceback" not in said


def test_accounts_from_the_shell(ready, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    ready("user", "add", "asha", "--role", "operator", "--password-file", str(secret))
    assert "already" in ready("user", "add", "asha", "--role", "operator", "--no-password", code=1).stderr
    assert (
        "cannot be used"
        in ready("user", "add", "ravi", "--role", "auditor", code=1, typed="short\nshort\n").stderr
    )
    listed = ready("user", "list").stdout
    assert "asha" in listed and "operator" in listed and PASSWORD not in listed
    ready("user", "password", "asha", typed="another four words\nanother four words\n")
    ready("user", "role", "asha", "technician")
    ready("user", "disable", "asha")
    ready("user", "enable", "asha")
    assert "no user" in ready("user", "disable", "nobody", code=1).stderr


def test_a_log_in_link_is_one_line_that_a_program_can_take(ready) -> None:
    ready("user", "add", "demo", "--role", "admin", "--no-password")
    said = ready("user", "login-link", "demo", "--base", "http://127.0.0.1:9999/").stdout
    assert re.fullmatch(r"http://127\.0\.0\.1:9999/login/link\?token=[\w-]{32}\n", said)


def test_tokens_are_printed_once_and_can_be_voided(ready, tmp_path: Path) -> None:
    text = ready("token", "create", "backup", "--role", "auditor", "--read-only").stdout.strip()
    listed = ready("token", "list").stdout
    token_id = text.split("_")[1]
    assert token_id in listed and text not in listed
    store = Store.open(f"sqlite:///{tmp_path / 'hub' / 'hub.db'}")
    try:
        found = store.read_sync(lambda conn: tokens.check(conn, text, store.clock()))
        assert found is not None and found.scopes == ["read"]
        ready("token", "revoke", token_id)
        assert store.read_sync(lambda conn: tokens.check(conn, text, store.clock())) is None
    finally:
        store.close()


def test_audit_verify_names_the_unsealed_tail_and_a_broken_row(ready, tmp_path: Path) -> None:
    ready("user", "add", "asha", "--role", "operator", "--no-password")
    assert "1 newer rows are not sealed" in ready("audit", "verify").stdout
    store = Store.open(f"sqlite:///{tmp_path / 'hub' / 'hub.db'}")
    try:
        store.write_sync(chain.seal)
        head = store.read_sync(chain.verify).head
        assert head in ready("audit", "verify", "--head", head).stdout
        for name in ("audit_no_update", "audit_no_delete"):
            store.write_sync(lambda unit, n=name: unit.conn.exec_driver_sql(f"DROP TRIGGER {n}"))
        store.write_sync(lambda unit: unit.conn.exec_driver_sql("UPDATE audit SET actor = 'ravi'"))
    finally:
        store.close()
    assert "BROKEN at row 1" in ready("audit", "verify", code=1).stdout


def test_zones_sites_and_devices_from_the_shell(ready) -> None:
    ready("zone", "add", "kasba", "Kasba Peth")
    ready("site", "add", "wada", "Shaniwar Wada", "--lat", "18.5195", "--lon", "73.8553", "--zone", "kasba")
    ready("device", "add", "pune-cam-01", "--site", "wada", "--name", "Wada camera")
    assert ready("zone", "list").stdout == "kasba\tKasba Peth\t-\n"
    assert ready("site", "list").stdout == "wada\tShaniwar Wada\tkasba\t18.5195\t73.8553\n"
    ready("device", "set", "pune-cam-01", "--service", "maintenance")
    assert ready("device", "list").stdout == "pune-cam-01\tWada camera\twada\tmaintenance\tunknown\t-\n"
    assert "already" in ready("device", "add", "pune-cam-01", code=1).stderr
    assert "not a device id" in ready("device", "add", "Pune Cam", code=1).stderr
    assert (
        "no zone"
        in ready("site", "add", "x", "X", "--lat", "1", "--lon", "1", "--zone", "nowhere", code=1).stderr
    )


def test_zones_and_sites_are_changed_and_removed_from_the_shell(ready) -> None:
    ready("zone", "add", "pune", "Pune")
    ready("zone", "add", "kasba", "Kasba")
    ready("zone", "set", "kasba", "--parent", "pune")
    ready("zone", "set", "kasba", "--name", "Kasba Peth")
    assert "kasba\tKasba Peth\tpune\n" in ready("zone", "list").stdout
    ready("site", "add", "wada", "Wada", "--lat", "18.5195", "--lon", "73.8553", "--zone", "kasba")
    ready("site", "set", "wada", "--name", "Shaniwar Wada", "--lat", "18.52")
    assert ready("site", "list").stdout == "wada\tShaniwar Wada\tkasba\t18.52\t73.8553\n"
    assert ready("zone", "remove", "kasba", code=1).stderr
    ready("site", "set", "wada", "--zone", "")
    ready("zone", "remove", "kasba")
    ready("site", "remove", "wada")
    assert ready("site", "list").stdout == "" and ready("zone", "list").stdout == "pune\tPune\t-\n"
    assert "no site" in ready("site", "set", "wada", "--name", "x", code=1).stderr


def test_a_device_is_retired_activated_and_revoked_from_the_shell(ready, tmp_path: Path) -> None:
    ready("device", "add", "pune-cam-01")
    ready("device", "retire", "pune-cam-01")
    assert ready("device", "list").stdout == ""
    ready("device", "activate", "pune-cam-01")
    assert "\tactive\t" in ready("device", "list").stdout
    assert "no certificate" in ready("device", "revoke", "pune-cam-01", "--reason", "stolen", code=1).stderr
    home = tmp_path / "hub"
    store = Store.open(f"sqlite:///{home / 'hub.db'}")
    try:
        identity = open_identity(home, store, city="city")
        key = ec.generate_private_key(ec.SECP256R1())
        store.write_sync(lambda unit: identity._issue(unit, "pune-cam-01", key.public_key(), cut=False))
        said = ready("device", "revoke", "pune-cam-01", "--reason", "stolen").stdout
        assert "1 certificates are void; no hub runs here" in said
        query = sa.select(certificates.c.state, certificates.c.reason)
        assert store.read_sync(lambda conn: conn.execute(query).all()) == [("revoked", "stolen")]
    finally:
        store.close()
