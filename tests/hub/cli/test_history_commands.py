"""prahari-hub history on a real home."""

from __future__ import annotations

from pathlib import Path

import pytest
from prahari_hub.cli.commands import typer_app as app
from typer.testing import CliRunner


@pytest.fixture
def home(initialised: Path) -> Path:
    return initialised.parent


def test_history_is_exported_and_what_is_asked_wrongly_is_said(home: Path) -> None:
    run = CliRunner().invoke
    asked = ["history", "export", "--from", "2026-03-01", "--to", "2026-03-02", "--out", str(home / "out")]
    found = run(app, [*asked, "--what", "transitions"])
    assert found.exit_code == 0, found.output
    assert "0 rows are in" in found.stdout
    assert (home / "out" / "transitions-2026-03-01-2026-03-02.parquet").is_file()
    wrong = run(app, ["history", "export", "--from", "yesterday", "--to", "2026-03-02", "--out", str(home)])
    assert wrong.exit_code == 1
    assert "a day as 2026-03-01" in wrong.stderr


def test_a_day_that_was_not_closed_is_not_counted_anew(home: Path) -> None:
    found = CliRunner().invoke(app, ["history", "recompute", "--from", "2026-03-01", "--to", "2026-03-01"])
    assert found.exit_code == 1
    assert "has not been closed yet" in found.stderr
