"""requirements/uv.py tells uv what the machine tells pip, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Told = Callable[..., dict[str, str]]
ASK = "import json, runpy; print(json.dumps(runpy.run_path('requirements/uv.py')['uv_environment']()))"


def ask(root: Path, config: str, environment: dict[str, str]) -> dict[str, str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_CERT"))
    }
    clean |= {"PIP_CONFIG_FILE": config, **environment}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=root, env=clean, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def machine(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What uv is told because of this machine's own files."""
    nothing = tmp_path_factory.mktemp("machine") / "nothing.conf"
    nothing.write_text("")
    return ask(root, str(nothing), {})


@pytest.fixture
def told(root: Path, machine: dict[str, str]) -> Told:
    """told(config, PIP_CERT=...) is what uv is told because of these, beside what this machine's own files say."""

    def tell(config: Path, **environment: str) -> dict[str, str]:
        found = ask(root, str(config), environment)
        return {name: value for name, value in found.items() if machine.get(name) != value}

    return tell


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pip.conf"
    path.write_text("")
    return path


def test_a_machine_without_settings_tells_nothing(root: Path):
    assert ask(root, os.devnull, {}) == {}


def test_an_index_in_pips_file_is_uvs_default_index(told: Told, config: Path):
    config.write_text("[global]\nindex-url = https://mirror.example/simple\ntimeout = 90\n")
    assert told(config) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_HTTP_TIMEOUT": "90",
    }


def test_the_environment_wins_over_the_file(told: Told, config: Path):
    config.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    found = told(config, PIP_INDEX_URL="https://other.example/simple", PIP_CERT="/etc/ca.pem")
    assert found == {"UV_DEFAULT_INDEX": "https://other.example/simple", "SSL_CERT_FILE": "/etc/ca.pem"}


def test_further_indexes_are_searched_as_pip_does(told: Told, config: Path, tmp_path: Path):
    config.write_text(
        f"[global]\nextra-index-url =\n  https://a.example/simple\n  https://b.example/simple\nfind-links = {tmp_path} /nowhere\n"
    )
    assert told(config) == {
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(tmp_path),
    }


def test_what_uv_was_told_directly_stays(told: Told, config: Path):
    found = told(
        config, PIP_INDEX_URL="https://mirror.example/simple", UV_DEFAULT_INDEX="https://mine.example"
    )
    assert "UV_DEFAULT_INDEX" not in found
