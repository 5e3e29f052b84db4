"""A mistake in the hub's configuration is one sentence that names the field and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from prahari_hub.errors import SetupError
from prahari_hub.settings import load
from prahari_wire.base import Severity


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CITY", "PORT_OFFSET", "HOSTS", "ESCALATION"):
        monkeypatch.delenv(f"PRAHARI_{name}", raising=False)
    monkeypatch.setenv("PRAHARI_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"city = ", "not TOML in UTF-8", id="syntax"),
        pytest.param(b'city = "\xff"', "not TOML in UTF-8", id="not UTF-8"),
        pytest.param(b'citty = "Pune"', "no setting citty; did you mean city", id="typo"),
        pytest.param(
            b'port_offset = "many"', "setting port_offset: Input should be a valid integer", id="type"
        ),
        pytest.param(b"[escalation]\ncritcal = [60]", "setting escalation.critcal", id="nested typo"),
        pytest.param(b'smtp_url = "smtp://mail"', "mail_to is not", id="mail to nobody"),
        pytest.param(b'timezone = "Asia/Puna"', "written as Asia/Kolkata", id="no such time zone"),
        pytest.param(b'timezone = "Asia"', "written as Asia/Kolkata", id="half a time zone"),
        pytest.param(b'timezone = "../Kolkata"', "written as Asia/Kolkata", id="a path as time zone"),
    ],
)
def test_a_mistake_in_hub_toml_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "hub.toml").write_bytes(content)
    with pytest.raises(SetupError, match=said):
        load()


def test_a_list_in_the_environment_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRAHARI_HOSTS", "hub.example")
    with pytest.raises(SetupError, match=r"hosts.*as JSON"):
        load()


def test_one_class_of_escalation_can_be_changed_alone(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("[escalation]\nmajor = [10]")
    found = load().escalation
    assert found[Severity.MAJOR] == [10]
    assert found[Severity.CRITICAL] == [60, 300, 900]


def test_a_home_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRAHARI_HOME", "/proc/prahari")
    with pytest.raises(SetupError, match="/proc/prahari cannot be written"):
        load()
