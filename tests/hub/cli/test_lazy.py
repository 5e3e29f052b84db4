"""What a command costs before it does anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prahari_hub.cli import app
from typer.testing import CliRunner

HEAVY = ("sqlalchemy", "fastapi", "nats", "cryptography", "numpy", "alembic", "rich.table")


def test_the_command_line_is_there_without_the_database_the_web_or_the_broker() -> None:
    code = "import sys, prahari_hub.cli; print(*sorted(set(sys.modules) & set(sys.argv[1:])))"
    said = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_the_keys_are_listed_rolled_over_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRAHARI_HOME", str(tmp_path / "hub"))
    run = CliRunner()
    assert run.invoke(app, ["init"]).exit_code == 0
    first = run.invoke(app, ["key", "list"]).stdout.split("\t")[0]
    assert "cannot be forgotten" in run.invoke(app, ["key", "forget", first]).stderr
    assert "signs once the hub is started again" in run.invoke(app, ["key", "roll-over"]).stdout
    listed = run.invoke(app, ["key", "list"]).stdout.splitlines()
    assert listed[1] == f"{first}\tbelieved" and listed[0].endswith("\tsigns")
    assert run.invoke(app, ["key", "forget", first]).exit_code == 0
    assert len(run.invoke(app, ["key", "list"]).stdout.splitlines()) == 1
    assert "there is no key" in run.invoke(app, ["key", "forget", first]).stderr
