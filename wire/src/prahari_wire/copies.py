"""A copy of sealed footage in which persons are hidden, as the hub gives it out: a ZIP file that says of which originals it is a copy.

    film.mp4      what the box drew
    copy.json     CopyStatement, canonical JSON: the film's hash, the sealed package and the segments that it was drawn of
    seal.json     Seal: the hub's signature over the statement
    README.txt    what to do with it; it proves nothing and is not proved

``flaws`` proves that the hub said this of this film. What the originals are worth is proved by their sealed package alone, and ``beside``
tells whether a copy is one of a given package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from prahari_wire.base import (
    DeviceId,
    Message,
    PeripheralId,
    Refused,
    Sha256,
    ShortText,
    Text,
    Ulid,
    canonical,
    parse,
)
from prahari_wire.redaction import MOST_FILM
from prahari_wire.sealed import LARGEST, MANIFEST, README, SEAL, Flaw, Judge, Read, Seal, SealManifest

FILM, STATEMENT = "film.mp4", "copy.json"
KIND = "prahari redacted copy v1"

Count = Annotated[int, Field(ge=0)]


class Originals(Message):
    """The sealed package (``item``) that has the ``segments`` (SHA-256, in order) which the box drew the copy of."""

    item: Ulid
    manifest_sha256: Sha256
    segments: list[Sha256]


class Drawn(Message):
    """How, as ``redaction.Redacted`` told it."""

    model: ShortText | None
    frames: Count
    whole: Count
    hidden: Count


class CopiedFilm(Message):
    """The film in the ZIP file."""

    path: Literal["film.mp4"] = "film.mp4"
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MOST_FILM)]


class CopyStatement(Message):
    """What the hub says of a copy for ever. Times in Unix milliseconds; ``how``: what was hidden, in words."""

    kind: Literal["prahari redacted copy v1"] = "prahari redacted copy v1"
    copy_id: Annotated[Ulid, Field(alias="copy")]
    of: Originals
    request: Ulid
    device: DeviceId
    camera: PeripheralId
    start_ms: Count
    end_ms: Count
    asked_by: Text
    asked_at_ms: Count
    reason: Text
    drawn: Drawn
    how: Text
    film: CopiedFilm


def signed_bytes(statement: bytes) -> bytes:
    """What the hub signs of a copy."""
    return canonical({"kind": KIND, "statement": hashlib.sha256(statement).hexdigest()})


def is_copy(names: set[str]) -> bool:
    """Whether a ZIP file with these files is a copy, be it a broken one, and no sealed package."""
    return MANIFEST not in names and bool(names & {STATEMENT, FILM})


def read_statement(read: Read) -> CopyStatement | Flaw:
    """What the copy says of itself; a Flaw where that cannot be read."""
    content = read(STATEMENT)
    if content is None:
        return Flaw(STATEMENT, "the statement is missing: nothing says of which originals this is a copy")
    try:
        return parse(CopyStatement, content, limit=LARGEST)
    except Refused as error:
        return Flaw(STATEMENT, f"the statement is not one of a copy: {error.detail}")


def flaws(read: Read, names: set[str], judge: Judge) -> Iterator[Flaw]:
    """Everything that does not hold in a copy that has the files ``names``; nothing for a whole one."""
    statement = read_statement(read)
    if isinstance(statement, Flaw):
        yield statement
        return
    yield from _film_flaws(read, statement)
    for name in sorted(names - {FILM, STATEMENT, SEAL, README}):
        yield Flaw(name, "the file is none of a copy: it was put in afterwards")
    yield from _seal_flaws(read, judge)


def _film_flaws(read: Read, statement: CopyStatement) -> Iterator[Flaw]:
    film = read(FILM)
    if film is None:
        yield Flaw(FILM, "the film was removed from the copy")
    elif hashlib.sha256(film).hexdigest() != statement.film.sha256:
        yield Flaw(
            FILM, "the film is not the one that the statement is about: a byte was changed, or it is another"
        )


def _seal_flaws(read: Read, judge: Judge) -> Iterator[Flaw]:
    content, signed = read(SEAL), read(STATEMENT)
    if content is None or signed is None:
        yield Flaw(SEAL, "the copy bears no signature of a hub")
        return
    try:
        seal = parse(Seal, content)
    except Refused as error:
        yield Flaw(SEAL, f"the signature cannot be read: {error.detail}")
        return
    if (said := judge.hub(seal.key, seal.public, signed_bytes(signed), seal.sig)) is not None:
        yield Flaw(SEAL, said)


def beside(statement: CopyStatement, manifest: bytes, package: SealManifest) -> Flaw | None:
    """What tells that the copy is none of this whole package, whose ``manifest`` has these bytes; None where it is."""
    if (statement.of.item, statement.of.manifest_sha256) != (
        package.id,
        hashlib.sha256(manifest).hexdigest(),
    ):
        return Flaw(
            STATEMENT, f"the copy is of the sealed package {statement.of.item}, and this one is {package.id}"
        )
    folder = f"segments/{statement.device}/{statement.camera}/"
    there = {file.sha256 for file in package.files if file.path.startswith(folder)}
    if strange := [one for one in statement.of.segments if one not in there]:
        return Flaw(
            STATEMENT, f"the package has no segment {strange[0]} of {statement.device}, {statement.camera}"
        )
    return None
