"""What every test may use: programs that the machine may lack, media that are not ours, free ports.

A test says what it needs with ``@pytest.mark.needs("chromium")``: where that is missing it is skipped with a reason, and it
fails instead when PRAHARI_REQUIRE (a comma-separated list, set by CI) names it.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PORTS = (8883, 4222, 8080, 8443)
REQUIRED = frozenset(filter(None, os.environ.get("PRAHARI_REQUIRE", "").split(",")))
PACKAGES = {
    "Xvfb": "xvfb",
    "initdb": "postgresql",
    "nft": "nftables",
    "chronyd": "chrony",
    "systemd-analyze": "systemd",
}


def media_folder() -> Path:
    return Path(os.environ.get("PRAHARI_MEDIA") or ROOT.parent / "shared" / "media")


def find_program(name: str) -> str | None:
    """Its path; programs of the system's sbin and of PostgreSQL count although a user's PATH may lack them."""
    servers = map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *servers])
    )


def missing(need: str) -> str | None:
    """Why ``need`` is not met on this machine, or None."""
    if need == "media":
        folder = media_folder()
        return (
            None
            if folder.is_dir()
            else f"no folder {folder.name}: PRAHARI_MEDIA must name the test media's folder"
        )
    if find_program(need):
        return None
    return f"{need} is not installed (Debian: apt install {PACKAGES.get(need, need)})"


def demand(need: str) -> None:
    """Skip the running test where ``need`` is missing, or fail it where CI requires it."""
    reason = missing(need)
    if reason is None:
        return
    if need in REQUIRED:
        pytest.fail(f"{reason}, and PRAHARI_REQUIRE asks for it", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            demand(need)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def program() -> Callable[[str], str]:
    """program("mpv") gives its path; skips or fails the test where it is missing."""

    def find(name: str) -> str:
        demand(name)
        path = find_program(name)
        assert path is not None
        return path

    return find


@pytest.fixture
def media() -> Path:
    """The folder of real clips and models."""
    demand("media")
    return media_folder()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def free_port() -> Callable[[], int]:
    """free_port() gives a TCP port that nobody uses at the moment, never the same twice in one test."""
    given: set[int] = set()

    def take() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return take


def _offset() -> int:
    while True:
        offset = random.randrange(11_000, 23_000)
        if all(_free(port + offset) for port in PORTS):
            return offset


@pytest.fixture(scope="session")
def find_port_offset() -> Callable[[], int]:
    """find_port_offset() gives a PRAHARI_PORT_OFFSET with which all of the hub's ports are free."""
    return _offset


@pytest.fixture
def port_offset() -> int:
    """A PRAHARI_PORT_OFFSET with which all of the hub's ports are free."""
    return _offset()
