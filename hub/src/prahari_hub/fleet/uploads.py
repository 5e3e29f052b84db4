"""Files that a device has announced and may therefore upload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Message
from prahari_wire.camera import Track
from prahari_wire.command import CommandReport
from prahari_wire.display import Shown
from sqlalchemy import Connection

from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import expected_uploads
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert_new

_HEX = frozenset("0123456789abcdef")


def is_sha256(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def named_files(body: Message) -> Iterator[tuple[str, int | None]]:
    """(sha256, size if it was said) of each file that a fact announces."""
    if isinstance(body, Track) and body.snapshot:
        yield body.snapshot.sha256, body.snapshot.size
    elif isinstance(body, Shown):
        yield body.frame_sha256, None
    elif isinstance(body, CommandReport):
        result = body.result or {}
        sha256, size = result.get("sha256"), result.get("size")
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
