"""What was changed after the sealing is named: by the hub's own command and by the verifier that needs no hub."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prahari_hub.evidence.judge import Keys
from prahari_hub.evidence.trust import trust_of
from prahari_wire import verifier
from prahari_wire.base import canonical
from prahari_wire.sealed import flaws

from tests.conftest import unused_port
from tests.hub.conftest import Database

from .conftest import NOON, City, left

pytestmark = [
    pytest.mark.needs("openssl"),
    pytest.mark.parametrize("which_store", ["sqlite"], indirect=True),
]
START = NOON - timedelta(minutes=30)
Files = dict[str, bytes]


async def seal(city: City) -> Path:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START - timedelta(minutes=5), 900)
    request = city.submit(START, 2)
    await city.carry_out(request)
    return await city.package(request)


@pytest.fixture(scope="module")
def kept(new_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[City, Path]]:
    with left(new_database, tmp_path_factory.mktemp("city"), unused_port(), seal) as found:
        yield found


@pytest.fixture
def city(kept: tuple[City, Path]) -> City:
    return kept[0]


@pytest.fixture
def sealed(kept: tuple[City, Path], tmp_path: Path) -> Path:
    """A package of two minutes of one camera, with segments before and behind."""
    return Path(shutil.copyfile(kept[1], tmp_path / "sealed.zip"))


def published(city: City, folder: Path) -> Path:
    """The city's keys as it publishes them."""
    file = folder / "city.json"
    file.write_text(json.dumps(trust_of(city.identity)))
    return file


@pytest.fixture
def trust(city: City, tmp_path: Path) -> Path:
    return published(city, tmp_path)


def rewrite(package: Path, change: Callable[[Files], None]) -> Path:
    with zipfile.ZipFile(package) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    changed = package.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return changed


def segments(files: Files) -> list[str]:
    return sorted(name for name in files if name.startswith("segments/"))


def one_byte(files: Files) -> None:
    name = segments(files)[3]
    files[name] = files[name][:100] + b"X" + files[name][101:]


def removed(files: Files) -> None:
    del files[segments(files)[3]]


def reordered(files: Files) -> None:
    """Two segments change places in the chain, as somebody would who hides what came first."""
    (name,) = (name for name in files if name.startswith("chains/"))
    account = json.loads(files[name])
    chain = account["days"][0]["proof"]["segments"]
    chain[3], chain[4] = chain[4], chain[3]
    files[name] = canonical(account)


def swapped(files: Files) -> None:
    names = segments(files)
    files[names[3]], files[names[4]] = files[names[4]], files[names[3]]


def whole_chain_again(files: Files) -> None:
    """The forger computes every hash of the chain anew; the head's signature he cannot make."""
    (name,) = (name for name in files if name.startswith("chains/"))
    account = json.loads(files[name])
    account["days"][0]["proof"]["segments"][3]["start_ms"] += 60_000
    files[name] = canonical(account)


def other_case(files: Files) -> None:
    manifest = json.loads(files["manifest.json"])
    manifest["request"]["case_number"] = "FIR 113/2026"
    files["manifest.json"] = canonical(manifest)


def put_in(files: Files) -> None:
    files["segments/pune-cam-01/front/extra.mp4"] = b"more"


def no_seal(files: Files) -> None:
    del files["seal.json"]


CHANGES = [
    pytest.param(one_byte, "front, {day}: the bytes of segment 34 are not those that were recorded", id="one-byte"),
    pytest.param(removed, "front, {day}: segment 34 was removed from the package", id="removed-segment"),
    pytest.param(reordered, "front, {day}: segment 34 is missing or stands elsewhere: 35 stands in its place", id="re-ordered"),
    pytest.param(swapped, "front, {day}: the bytes of segment 34 are not those that were recorded", id="swapped"),
    pytest.param(whole_chain_again, "does not lead to the signed head", id="data-of-a-segment"),
    pytest.param(other_case, "the seal is not the hub's: what it seals was changed afterwards", id="another-case"),
    pytest.param(put_in, "the file was put into the package after it was sealed", id="put-in"),
    pytest.param(no_seal, "the package bears no seal of a hub", id="no-seal"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), CHANGES)
async def test_the_first_link_that_does_not_hold_is_named(
    city: City, sealed: Path, trust: Path, change: Callable[[Files], None], said: str
) -> None:
    changed = rewrite(sealed, change)
    code, lines = verifier.verify(changed, trust)
    expected = said.format(day=f"{START:%Y-%m-%d}")
    assert code == 1
    assert expected in lines[0], lines
    keys = Keys(city.identity.signer.public_keys, city.identity.authority.root)
    with zipfile.ZipFile(changed) as package:
        first = next(flaws(verifier.reader(package), verifier.names_of(package), keys))
    assert expected in f"{first.where}: {first.sentence}"


async def test_a_whole_package_is_whole_for_both_verifiers(city: City, sealed: Path, trust: Path) -> None:
    assert verifier.verify(sealed, trust)[0] == 0
    keys = Keys(city.identity.signer.public_keys, city.identity.authority.root)
    with zipfile.ZipFile(sealed) as package:
        assert list(flaws(verifier.reader(package), verifier.names_of(package), keys)) == []


async def test_the_same_package_is_the_same_bytes(city: City, sealed: Path) -> None:
    before = sealed.read_bytes()
    request = json.loads(zipfile.ZipFile(sealed).read("manifest.json"))["request"]["id"]
    assert (await city.package(request)).read_bytes() == before


async def test_the_stand_alone_verifier_runs_without_the_hub(sealed: Path, trust: Path) -> None:
    command = [sys.executable, "-m", "prahari_wire.verifier", str(sealed), "--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WHOLE" in done.stdout
    imports = (
        "import sys, prahari_wire.verifier; print([m for m in sys.modules if m.startswith('prahari_hub')])"
    )
    assert (
        subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


async def test_without_trusted_keys_it_says_what_to_compare(sealed: Path) -> None:
    code, lines = verifier.verify(sealed)
    assert code == 0
    assert any("Compare with the city" in line for line in lines)


async def test_a_package_of_another_city_is_not_believed(sealed: Path, trust: Path) -> None:
    keys = json.loads(trust.read_text())
    keys["keys"] = {"0" * 16: "A" * 43}
    trust.write_text(json.dumps(keys))
    code, lines = verifier.verify(sealed, trust)
    assert code == 1
    assert "none of the city's" in lines[0]


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30], ids=["empty", "one", "head", "last", "directory"])
async def test_a_file_that_was_cut_is_said_to_be_cut(sealed: Path, trust: Path, cut: int) -> None:
    short = sealed.with_name("short.zip")
    shutil.copyfile(sealed, short)
    short.write_bytes(sealed.read_bytes()[:cut])
    code, lines = verifier.verify(short, trust)
    assert code == 1
    assert lines[0].startswith("BROKEN")


def test_a_file_that_is_not_there_is_one_sentence(which_store: str, tmp_path: Path) -> None:
    code, lines = verifier.verify(tmp_path / "none.zip")
    assert code == 2
    assert len(lines) == 1
