"""Copies with persons hidden: asked of sealed footage, bound to its originals by hash, signed, and apart from the sealed package."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.evidence import queries, redaction, retention
from prahari_hub.evidence.redaction import Wanted
from prahari_hub.evidence.trust import trust_of
from prahari_hub.fleet import blobs, uploads
from prahari_hub.fleet.facts import Fact
from prahari_hub.http.actor import Role
from prahari_wire import verifier
from prahari_wire.command import CommandName
from prahari_wire.events import REDACTED
from prahari_wire.ids import ulid
from prahari_wire.redaction import Film, Redacted

from .conftest import NOON, OPERATOR, City
from .test_pages import local

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
START = NOON - timedelta(minutes=30)
FILM = b"\x00\x00\x00\x20ftypisom" + b"film" * 100
SHA = hashlib.sha256(FILM).hexdigest()


class Rig:
    """A city with one sealed request, and a place for pictures."""

    def __init__(self, city: City, request: str) -> None:
        self.city, self.request = city, request
        self.box = city.boxes["pune-cam-01"]
        self.pictures = blobs.Blobs(blobs.local(city.folder / "home" / "blobs"))

    def ask(
        self, *, seconds: float = 30, at: Any = START, camera: str = "front", reason: str = "press"
    ) -> str:
        wanted = Wanted(("pune-cam-01", camera), at, at + timedelta(seconds=seconds), reason)
        return self.city.store.write_sync(lambda unit: redaction.ask(unit, OPERATOR, self.request, wanted))

    def told(self, copy: str, **more: Any) -> None:
        """The box says how it ended."""
        segments = [one.sha256 for one in self.box.cameras["front"].segments[:3]]
        body = Redacted(
            copy_id=copy, **({"film": Film(sha256=SHA, size=len(FILM)), "segments": segments} | more)
        )
        now = self.city.now
        fact = Fact("pune-cam-01", None, "front", "camera", REDACTED, body, now, False, ulid(), now)
        for handle in (uploads.announce, redaction.told):
            self.city.store.write_sync(lambda unit, handle=handle: handle(unit, fact))

    async def uploaded(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield FILM

        await self.pictures.put(SHA, chunks())
        await self.city.store.write(lambda unit: uploads.stored(unit, "pune-cam-01", SHA))

    def advance(self) -> None:
        self.city.store.write_sync(lambda unit: redaction.advance(unit, self.pictures, self.city.blobs))

    def copy(self, copy: str) -> Any:
        return self.city.store.read_sync(lambda conn: redaction.get(conn, self.request, copy))

    def actions(self) -> list[str]:
        steps = self.city.store.read_sync(lambda conn: queries.custody(conn, self.request)).items
        return [step.action for step in steps]


@pytest.fixture
async def rig(city: City) -> Rig:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 2)
    await city.carry_out(request)
    return Rig(city, request)


@pytest.mark.needs("openssl")
async def test_a_copy_names_its_originals_is_signed_and_leaves_the_sealed_package_as_it_is(
    rig: Rig, console: Callable[[Role], Any]
) -> None:
    package = (await rig.city.package(rig.request)).read_bytes()
    operator, csrf = await console(Role.OPERATOR)
    data = {
        "csrf": csrf, "camera": "pune-cam-01:front", "starts_at": local(START), "seconds": "30", "reason": "for the press",
    }  # fmt: skip
    asked = await operator.post(f"/evidence/{rig.request}/copies", data=data)
    assert "the box draws it" in asked.text and "for the press" in asked.text
    (command,) = rig.box.asked(CommandName.REDACT)
    copy = command.args["copy_id"]
    rig.told(copy, model="street", frames=300, hidden=41)
    rig.advance()
    assert rig.copy(copy).state == "coming"
    await rig.uploaded()
    rig.advance()
    assert (rig.copy(copy).state, await rig.pictures.size(SHA)) == ("ready", None)
    fetched = await operator.get(f"/evidence/{rig.request}/copies/{copy}")
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as archive:
        assert archive.read("film.mp4") == FILM
        said = json.loads(archive.read("copy.json"))
    assert said["of"]["segments"] == [one.sha256 for one in rig.box.cameras["front"].segments[:3]]
    assert (said["asked_by"], said["reason"], said["film"]["sha256"]) == (
        "the-operator",
        "for the press",
        SHA,
    )
    assert said["drawn"] == {"model": "street", "frames": 300, "whole": 0, "hidden": 41}
    assert rig.actions()[:3] == ["evidence.download-copy", "evidence.redacted", "evidence.redact"]
    file = await rig.city.package(rig.request)
    assert file.read_bytes() == package
    await fits_its_package_and_no_other(rig, fetched.content, file)


async def fits_its_package_and_no_other(rig: Rig, copy: bytes, package: Path) -> None:
    """For the verifier that needs no hub."""
    city = rig.city
    file, trust = city.folder / "copy.zip", city.folder / "city.json"
    file.write_bytes(copy)
    trust.write_text(json.dumps(trust_of(city.identity)))
    code, lines = verifier.verify(file, trust, package)
    assert code == 0, lines
    assert lines[-1] == f"{package.name} is whole, and the originals of this copy are in it."
    other = city.submit(START + timedelta(minutes=5), 1, case_number="FIR 9")
    await city.carry_out(other)
    code, lines = verifier.verify(file, trust, await city.package(other))
    assert (code, lines[0].startswith("BROKEN: copy.json: the copy is of the sealed package")) == (1, True)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({"film": None, "detail": "no disk"}, "no disk", id="the-box-could-not"),
        pytest.param({"segments": ["a" * 64]}, "other footage than was sealed", id="other-footage"),
        pytest.param({"segments": []}, "other footage than was sealed", id="of-nothing"),
    ],
)
async def test_a_copy_of_anything_else_is_none(rig: Rig, more: dict[str, Any], why: str) -> None:
    copy = rig.ask()
    rig.told(copy, **more)
    assert (rig.copy(copy).state, why in rig.copy(copy).note) == ("failed", True)
    assert rig.actions()[0] == "evidence.redact-failed"
    with pytest.raises(Conflict, match="look at its state"):
        rig.city.store.write_sync(lambda unit: redaction.downloaded(unit, OPERATOR, rig.request, copy))


async def test_what_the_box_refuses_or_does_not_bring_has_failed(rig: Rig) -> None:
    first, second = rig.ask(), rig.ask()
    commands = rig.box.asked(CommandName.REDACT)
    rig.box.answer(commands[0].id, "REJECTED", error="there is no footage of that time on the box any more")
    rig.advance()
    assert rig.copy(first).note == "there is no footage of that time on the box any more"
    rig.city.pass_time(hours=27)
    rig.advance()
    assert (rig.copy(second).state, rig.copy(second).note) == ("failed", "it did not come in time")


async def test_only_what_was_sealed_can_be_copied_within_its_time_and_with_a_reason(rig: Rig) -> None:
    for wrong, more in (
        ("what the copy is for", {"reason": " "}),
        ("within the time", {"at": START - timedelta(seconds=1)}),
        ("at most two minutes", {"seconds": 121}),
    ):
        with pytest.raises(Invalid, match="within the time" if more.get("seconds") else wrong):
            rig.ask(**more)
    with pytest.raises(NotFound, match="back"):
        rig.ask(camera="back")
    open_request = rig.city.submit(START, 1, case_number="FIR 9")
    wanted = Wanted(("pune-cam-01", "front"), START, START + timedelta(seconds=5), "press")
    with pytest.raises(Conflict, match="sealed yet"):
        rig.city.store.write_sync(lambda unit: redaction.ask(unit, OPERATOR, open_request, wanted))


async def test_copies_go_after_their_time_and_the_custody_log_says_so(rig: Rig) -> None:
    copy = rig.ask()
    rig.told(copy)
    await rig.uploaded()
    rig.advance()
    city = rig.city
    city.store.write_sync(lambda unit: retention.forget_copies(unit, city.blobs, before=city.now))
    assert rig.copy(copy).state == "ready"
    city.pass_time(days=1)
    city.store.write_sync(lambda unit: retention.forget_copies(unit, city.blobs, before=city.now))
    assert (rig.copy(copy).state, await city.blobs.size(SHA)) == ("deleted", None)
    assert rig.actions()[0] == "evidence.delete-copy"
