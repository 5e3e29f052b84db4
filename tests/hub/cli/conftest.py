from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from prahari_hub.cli.commands import typer_app
from typer.testing import CliRunner


@pytest.fixture
def initialised(
    made_once: Callable[[str, Callable[[Path], object]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The home of this test, as ``prahari-hub init`` leaves it: that runs once, and each test gets a copy."""

    def fill(folder: Path) -> None:
        monkeypatch.setenv("PRAHARI_HOME", str(folder / "hub"))
        found = CliRunner().invoke(typer_app, ["init"])
        assert found.exit_code == 0, found.output

    home = tmp_path / "hub"
    shutil.copytree(made_once("initialised", fill) / "hub", home)
    monkeypatch.setenv("PRAHARI_HOME", str(home))
    return home
