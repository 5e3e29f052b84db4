"""Live views: somebody watches a camera for two minutes at most, with a reason that the audit log keeps; its pictures are not kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.command import CommandName
from prahari_wire.ids import ulid
from prahari_wire.live import LONGEST_S, MOST_BYTES
from prahari_wire.owner import SENTENCES, Use, denied
from sqlalchemy import Connection, Row
from starlette.exceptions import HTTPException

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Forbidden, Invalid, NotFound
from prahari_hub.fleet import commands, owners, twins
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.tables import devices, live_views
from prahari_hub.http.actor import Actor, system
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Text

LEAST_REASON = 8
COMMAND_S = 20.0
"""A box that has not begun by then does not begin later, when nobody looks any more."""
FORGET = timedelta(days=1)
HUB = system("live")
JPEG = b"\xff\xd8\xff"
GONE = 410


def begin(unit: Unit, actor: Actor, camera: owners.Camera, *, reason: str, seconds: int) -> str:
    """The id of the new view. Invalid without a reason, Forbidden by the owner's terms, Conflict while the device is offline."""
    device, name = camera
    if len(reason.strip()) < LEAST_REASON:
        raise Invalid(N_("Say why you watch: the reason stands in the audit log."), ("reason", "at least 8 characters"))  # fmt: skip
    if not 1 <= seconds <= LONGEST_S:
        raise Invalid(
            N_("A live view lasts 1 to {most} seconds."),
            ("seconds", f"1 to {LONGEST_S}"),
            most=LONGEST_S,
        )
    owner = owners.config_of(twins.get(unit.conn, device), name).owner
    if (why := denied(owner, Use.LIVE, unit.now)) is not None:
        raise Forbidden(N_("{terms}."), terms=Text(SENTENCES[why], capital=True))
    if unit.conn.scalar(sa.select(devices.c.presence).where(devices.c.id == device)) == Presence.OFFLINE:
        raise Conflict(N_("The device is not online: there is nothing to watch."))
    earlier = (live_views.c.device_id == device) & (live_views.c.camera == name)
    for row in unit.conn.execute(sa.select(live_views).where(earlier, _open())).all():
        _end(unit, HUB, row)
    view = ulid()
    args = {"peripheral": name, "view": view, "seconds": seconds}
    command = commands.issue(
        unit, actor, device, CommandName.LIVE, args, expires_in_s=COMMAND_S, reason=reason.strip()[:500]
    )
    unit.conn.execute(
        live_views.insert().values(
            id=view, device_id=device, camera=name, started_by=actor.name, reason=reason.strip()[:500], command=command,
            started_at=unit.now, ends_at=unit.now + timedelta(seconds=seconds), pictures=0,
        )
    )  # fmt: skip
    detail = {"camera": name, "view": view, "seconds": seconds}
    record(unit, actor, "live.begin", f"device:{device}", reason=reason.strip()[:500], detail=detail)
    return view


def _open() -> sa.ColumnElement[bool]:
    return live_views.c.ended_at.is_(None)


def get(conn: Connection, actor: Actor, view: str) -> Row[Any]:
    """The view of whoever began it: everybody else gives a reason of their own."""
    row = conn.execute(sa.select(live_views).where(live_views.c.id == view)).first()
    if row is None:
        raise NotFound(N_("There is no such live view: begin one on the camera's page."))
    if row.started_by != actor.name:
        raise Forbidden(N_("Somebody else began this live view: begin one of your own, with your reason."))
    return row


def end(unit: Unit, actor: Actor, view: str) -> None:
    """Stop it; one that is over stays as it is."""
    row = get(unit.conn, actor, view)
    if row.ended_at is None:
        _end(unit, actor, row)


def _end(unit: Unit, actor: Actor, row: Row[Any]) -> None:
    ended = live_views.update().where(live_views.c.id == row.id)
    unit.conn.execute(ended.values(ended_at=unit.now, picture=None))
    detail = {"camera": row.camera, "view": row.id, "pictures": row.pictures, "watched": row.started_by}
    record(unit, actor, "live.end", f"device:{row.device_id}", detail=detail)


def expected(conn: Connection, device: str, view: str, now: Any) -> None:
    """Whether pictures of it are wanted of this device: NotFound, or 410 once nobody looks any more."""
    row = conn.execute(
        sa.select(live_views.c.ends_at, live_views.c.ended_at).where(
            live_views.c.id == view, live_views.c.device_id == device
        )
    ).first()
    if row is None:
        raise NotFound(N_("the hub has not asked this device for such a live view"))
    if row.ended_at is not None or row.ends_at <= now:
        raise HTTPException(GONE, "nobody looks any more: stop sending")


def shown(unit: Unit, device: str, view: str, jpeg: bytes) -> None:
    """The newest picture, in place of the one before."""
    expected(unit.conn, device, view, unit.now)
    if len(jpeg) > MOST_BYTES or not jpeg.startswith(JPEG):
        raise Invalid(N_("a picture is a JPEG of at most {most} bytes"), ("body", "a JPEG"), most=MOST_BYTES)
    here = live_views.update().where(live_views.c.id == view)
    unit.conn.execute(here.values(picture=jpeg, pictures=live_views.c.pictures + 1))


def sweep(unit: Unit) -> None:
    """End what is over, and forget what ended long ago."""
    over = sa.select(live_views).where(_open(), live_views.c.ends_at <= unit.now)
    for row in unit.conn.execute(over).all():
        _end(unit, HUB, row)
    unit.conn.execute(live_views.delete().where(live_views.c.ended_at < unit.now - FORGET))
