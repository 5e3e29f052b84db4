"""Which files a device may send (those that it has announced) and fetch (those that the hub has told it to show)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Message
from prahari_wire.camera import RuleEvent, Track
from prahari_wire.command import CommandReport
from prahari_wire.display import Shown
from prahari_wire.redaction import Redacted
from sqlalchemy import Connection

from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import expected_uploads, granted_files, twins
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert_new, upsert

_HEX = frozenset("0123456789abcdef")


def is_sha256(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def named_files(body: Message) -> Iterator[tuple[str, int | None]]:
    """(sha256, size if it was said) of each file that a fact announces."""
    if isinstance(body, Track | RuleEvent) and body.snapshot:
        yield body.snapshot.sha256, body.snapshot.size
    elif isinstance(body, Redacted) and body.film:
        yield body.film.sha256, body.film.size
    elif isinstance(body, Shown):
        yield body.frame_sha256, None
    elif isinstance(body, CommandReport):
        result = body.result or {}
        for part in (result, *result.values()):
            if isinstance(part, dict):
                yield from _named_in(part)


def _named_in(part: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """A command's result names a file by sha256 and size, at its top or one level below: ``{"frame": {"sha256": …}}``."""
    sha256, size = part.get("sha256"), part.get("size")
    if isinstance(sha256, str) and is_sha256(sha256):
        yield sha256, size if type(size) is int and 0 < size < 2**53 else None


def announce(unit: Unit, fact: Fact) -> None:
    """Expect every file that the fact names."""
    for sha256, size in named_files(fact.body):
        row = {
            "device_id": fact.device,
            "sha256": sha256,
            "size": size,
            "named_by": fact.ulid,
            "at": unit.now,
            "stored_at": None,
        }
        insert_new(unit.conn, expected_uploads, row, keys=("device_id", "sha256"))


def expected(conn: Connection, device: str, sha256: str) -> dict[str, Any] | None:
    """The row of an announced file, or None."""
    row = conn.execute(
        sa.select(expected_uploads).where(
            expected_uploads.c.device_id == device, expected_uploads.c.sha256 == sha256
        )
    ).first()
    return dict(row._mapping) if row else None


def stored(unit: Unit, device: str, sha256: str) -> None:
    """The file has arrived and lies in the object store."""
    where = (expected_uploads.c.device_id == device) & (expected_uploads.c.sha256 == sha256)
    unit.conn.execute(expected_uploads.update().where(where).values(stored_at=unit.now))
    unit.tell("blobs", id=sha256, device=device)


def grant(unit: Unit, device: str, content: Any, *, until: datetime) -> None:
    """Let the device fetch the picture that ``content`` (a display content as JSON) names, if it names one."""
    sha256 = content.get("sha256") if isinstance(content, dict) else None
    if isinstance(sha256, str) and is_sha256(sha256):
        row = {"device_id": device, "sha256": sha256, "until": until}
        upsert(unit.conn, granted_files, row, keys=("device_id", "sha256"))


def may_fetch(conn: Connection, device: str, sha256: str, now: datetime) -> bool:
    """Whether the device's twin names the file, or an override or a command that still stands."""
    granted = sa.select(granted_files.c.until).where(
        granted_files.c.device_id == device, granted_files.c.sha256 == sha256
    )
    until = conn.scalar(granted)
    if until is not None and until > now:
        return True
    document = conn.scalar(sa.select(twins.c.document).where(twins.c.device_id == device))
    return sha256 in named_in(document)


def named_in(value: Any) -> Iterator[str]:
    """Every ``sha256`` in a JSON document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "sha256" and isinstance(inner, str):
                yield inner
            else:
                yield from named_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named_in(inner)


def forget_grants(unit: Unit) -> int:
    return unit.conn.execute(granted_files.delete().where(granted_files.c.until <= unit.now)).rowcount


def is_stored(conn: Connection, sha256: str) -> bool:
    """Whether some device or person has brought the file in."""
    found = sa.select(sa.func.count()).where(
        expected_uploads.c.sha256 == sha256, expected_uploads.c.stored_at.is_not(None)
    )
    return bool(conn.scalar(found))


def bring(unit: Unit, sha256: str, size: int, *, by: str) -> None:
    """A person uploaded the file: it stands under the empty device id."""
    row = {
        "device_id": "",
        "sha256": sha256,
        "size": size,
        "named_by": by,
        "at": unit.now,
        "stored_at": unit.now,
    }
    upsert(unit.conn, expected_uploads, row, keys=("device_id", "sha256"))
