"""A copy with persons hidden proves of which originals it is; what was changed since the hub signed for it is named by both verifiers."""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from prahari_hub.evidence import redaction
from prahari_hub.evidence.judge import Keys
from prahari_hub.identity.ca import open_authority
from prahari_hub.identity.signer import Signer, open_signer
from prahari_wire import verifier
from prahari_wire.base import canonical
from prahari_wire.copies import CopiedFilm, CopyStatement, Drawn, Originals
from prahari_wire.ids import ulid

pytestmark = pytest.mark.needs("openssl")
FILM = b"\x00\x00\x00\x20ftypisom" + b"film" * 100
AT_MS = 1_795_300_000_000
ITEM = ulid()
Files = dict[str, bytes]


def statement(film: bytes = FILM) -> CopyStatement:
    return CopyStatement(
        copy_id=ulid(),
        of=Originals(item=ITEM, manifest_sha256="a" * 64, segments=["b" * 64, "c" * 64]),
        request=ulid(),
        device="pune-cam-01",
        camera="front",
        start_ms=AT_MS,
        end_ms=AT_MS + 30_000,
        asked_by="asha",
        asked_at_ms=AT_MS + 3_600_000,
        reason="for the press",
        drawn=Drawn(model="street", frames=300, whole=2, hidden=41),
        how="persons are pixelated",
        film=CopiedFilm(sha256=hashlib.sha256(film).hexdigest(), size=len(film)),
    )


def given_out(signer: Signer, said: CopyStatement, film: bytes = FILM) -> bytes:
    text = canonical(said.model_dump(mode="json")).decode()
    row = SimpleNamespace(id=said.copy_id, texts={"copy.json": text})
    return redaction.package(row, film, signer)  # type: ignore[arg-type]


@pytest.fixture
def hub(tmp_path: Path) -> Signer:
    (tmp_path / "home").mkdir()
    return open_signer(tmp_path / "home")


@pytest.fixture
def copy(tmp_path: Path, hub: Signer) -> Path:
    file = tmp_path / "copy.zip"
    file.write_bytes(given_out(hub, statement()))
    return file


def trust(folder: Path, signer: Signer) -> Path:
    keys = {name: base64.urlsafe_b64encode(raw).decode() for name, raw in signer.public_keys.items()}
    file = folder / "city.json"
    file.write_text(json.dumps({"city": "Pune", "root": "", "keys": keys}))
    return file


def rewrite(file: Path, change: Callable[[Files], None]) -> Path:
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def one_byte(files: Files) -> None:
    files["film.mp4"] = files["film.mp4"][:100] + b"X" + files["film.mp4"][101:]


def another_reason(files: Files) -> None:
    files["copy.json"] = files["copy.json"].replace(b"for the press", b"for a court")


def no_statement(files: Files) -> None:
    del files["copy.json"]


def no_film(files: Files) -> None:
    del files["film.mp4"]


def no_seal(files: Files) -> None:
    del files["seal.json"]


def put_in(files: Files) -> None:
    files["original.mp4"] = b"more"


CHANGES = [
    pytest.param(one_byte, "film.mp4: the film is not the one that the statement is about", id="one-byte"),
    pytest.param(another_reason, "seal.json: the seal is not the hub's: what it seals was changed", id="another-reason"),
    pytest.param(no_statement, "copy.json: the statement is missing", id="no-statement"),
    pytest.param(no_film, "film.mp4: the film was removed", id="no-film"),
    pytest.param(no_seal, "seal.json: the copy bears no signature of a hub", id="no-seal"),
    pytest.param(put_in, "original.mp4: the file is none of a copy", id="put-in"),
]  # fmt: skip


def test_a_whole_copy_says_of_which_sealed_original_it_is(copy: Path, hub: Signer, tmp_path: Path) -> None:
    code, lines = verifier.verify(copy, trust(tmp_path, hub))
    text = "\n".join(lines)
    assert code == 0, text
    assert f"Of 2 segments of the sealed package {ITEM}, whose manifest has the SHA-256 {'a' * 64}" in text
    assert "pune-cam-01, front, 2026-11-21 22:26:40 to 2026-11-21 22:27:10 UTC" in text
    assert "the model street saw: 300 frames, 41 boxes hidden, 2 frames hidden as a whole" in text
    assert lines[-1].startswith("WHOLE: the film")


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_what_was_changed_in_a_copy_is_named_by_both_verifiers(
    copy: Path, hub: Signer, tmp_path: Path, change: Callable[[Files], None], said: str
) -> None:
    changed = rewrite(copy, change)
    code, lines = verifier.verify(changed, trust(tmp_path, hub))
    assert (code, said in lines[0]) == (1, True), lines
    keys = Keys(hub.public_keys, open_authority(tmp_path / "home", city="Pune", now=datetime.now(UTC)).root)
    with zipfile.ZipFile(changed) as package:
        flaw = verifier.judged(package, keys)[0][0]
    assert said in f"{flaw.where}: {flaw.sentence}"


def test_the_signed_statement_of_another_copy_does_not_fit(copy: Path, hub: Signer, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    other.write_bytes(given_out(hub, statement(b"another film"), b"another film"))
    with zipfile.ZipFile(other) as archive:
        taken = {name: archive.read(name) for name in ("copy.json", "seal.json")}
    code, lines = verifier.verify(rewrite(copy, lambda files: files.update(taken)), trust(tmp_path, hub))
    assert code == 1
    assert lines == [
        "BROKEN: film.mp4: the film is not the one that the statement is about: a byte was changed, or it is another."
    ]


def test_a_copy_of_a_hub_that_is_not_trusted_is_not_believed(copy: Path, hub: Signer, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    stranger = open_signer(tmp_path / "elsewhere")
    code, lines = verifier.verify(copy, trust(tmp_path, stranger))
    assert (code, lines) == (
        1,
        [f"BROKEN: seal.json: the key {hub.current} that sealed it is none of the city's."],
    )


def test_without_trusted_keys_a_copy_says_which_key_to_compare(copy: Path, hub: Signer) -> None:
    code, lines = verifier.verify(copy)
    print_of = hashlib.sha256(hub.public_keys[hub.current]).hexdigest()[:32]
    assert (code, f"Compare with the city: the hub's key {print_of}" in lines) == (0, True)


def test_two_files_of_one_name_are_broken(copy: Path, hub: Signer, tmp_path: Path) -> None:
    """Otherwise the one that is hashed and the one that is played may differ."""
    with zipfile.ZipFile(copy, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("film.mp4", FILM)
    code, lines = verifier.verify(copy, trust(tmp_path, hub))
    assert (code, lines[0]) == (1, "BROKEN: film.mp4: two files of this name are in the ZIP file.")


def test_a_copy_is_no_package_to_compare_a_copy_with(copy: Path, hub: Signer, tmp_path: Path) -> None:
    code, lines = verifier.verify(copy, trust(tmp_path, hub), copy)
    assert (code, len(lines)) == (2, 1)
    assert "name the copy first" in lines[0]
