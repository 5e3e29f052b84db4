"""prahari-hub evidence: what a city publishes, and files that are not sealed packages."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from prahari_hub.cli.commands import typer_app as app
from typer.testing import CliRunner


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRAHARI_HOME", str(tmp_path / "hub"))
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))


def test_what_a_city_publishes_is_its_root_and_its_keys(run) -> None:
    assert "there is no hub" in run("evidence", "trust").stderr
    assert run("init").exit_code == 0
    published = json.loads(run("evidence", "trust").stdout)
    assert "BEGIN CERTIFICATE" in published["root"] and "PRIVATE" not in published["root"]
    assert len(published["keys"]) == 1


def test_what_is_no_sealed_package_is_said_to_be_none(initialised: Path, run, tmp_path: Path) -> None:
    missing = run("evidence", "verify", str(tmp_path / "none.zip"))
    assert (missing.exit_code, "there is no file" in missing.stderr) == (1, True)
    text = tmp_path / "text.zip"
    text.write_text("not a package")
    assert "is not a ZIP file" in run("evidence", "verify", str(text)).stdout
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("notes.txt", b"notes")
    assert "the package has no manifest" in run("evidence", "verify", str(text)).stdout
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("film.mp4", b"film")
    assert "the statement is missing" in run("evidence", "verify", str(text)).stdout
