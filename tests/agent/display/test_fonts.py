"""The fonts that agent/fonts/build.py makes of the packages in its lock."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from prahari_agent.display import shaping
from prahari_agent.display.shaping import FACES, paragraphs


@pytest.fixture(scope="module")
def build(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fonts_build", root / "agent" / "fonts" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_face_of_the_display_is_built(build: ModuleType) -> None:
    assert [face.file for face in FACES] == list(build.FONTS)
    missing = [name for name in build.FONTS if not (build.TARGET / name).is_file()]
    assert not missing, f"{missing} not built: run make setup, or python agent/fonts/build.py"


def test_building_again_does_nothing(build: ModuleType) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in build.TARGET.glob("*.ttf")}
    assert build.is_current()
    assert build.main() == 0
    assert {path.name: path.stat().st_mtime_ns for path in build.TARGET.glob("*.ttf")} == before


def test_a_changed_lock_asks_for_a_new_build(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "inputs_hash", lambda: "of another lock")
    assert not build.is_current()


def test_the_lock_names_no_registry_and_hashes_each_package(root: Path) -> None:
    lock = json.loads((root / "agent" / "fonts" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


@pytest.mark.parametrize(
    "characters",
    [
        pytest.param("ABCXYZ abcxyz 0123456789", id="Latin"),
        pytest.param(".,:;!?'\"()[]/\\&%+-=*#@–—‘’“”…°·•", id="punctuation"),
        pytest.param("₹€£$", id="money"),
        pytest.param("āīūṭḍṇśṣ", id="transliteration"),
        pytest.param(
            "".join(map(chr, [*range(0x0905, 0x093A), *range(0x0966, 0x0970), 0x0964])), id="Devanagari"
        ),
        pytest.param("←↑→↓↖↗↘↙", id="arrows"),
    ],
)
def test_the_fonts_have(characters: str) -> None:
    assert paragraphs(characters)


def test_missing_fonts_say_how_to_build_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prahari_agent.errors import Rejected

    monkeypatch.setattr(shaping, "_FONTS", tmp_path)
    with pytest.raises(Rejected, match="run make setup"):
        shaping.font(shaping.Face("absent.ttf", "Absent", range(1), 10))
