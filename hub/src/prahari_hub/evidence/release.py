"""Sealed footage goes out: to whoever may download it here, or by a link that expires and is counted. Each time is in the custody log."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.ids import ulid
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.access.sessions import fingerprint
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.evidence import requests, sealing
from prahari_hub.evidence.requests import subject
from prahari_hub.evidence.tables import release_links
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Unit
from prahari_hub.texts import N_

LONGEST = timedelta(days=30)
MOST_USES = 50
PATH = "/release"


@dataclass(frozen=True)
class Terms:
    """Who gets the link, how long and how often it opens."""

    recipient: str
    life: timedelta = timedelta(days=7)
    most_uses: int = 3


def link(unit: Unit, actor: Actor, request: str, terms: Terms) -> tuple[str, str]:
    """(id, secret) of a new link; the secret cannot be shown again. Conflict while nothing is sealed."""
    sealing.item_of(unit.conn, request)
    if not terms.recipient.strip():
        raise Invalid(
            N_("A link is made out to somebody: name the recipient."), ("recipient", "1 to 200 characters")
        )
    if not timedelta() < terms.life <= LONGEST:
        raise Invalid(
            N_("A link lives for up to {days} days."), ("days", f"1 to {LONGEST.days}"), days=LONGEST.days
        )
    if not 1 <= terms.most_uses <= MOST_USES:
        raise Invalid(
            N_("A link opens 1 to {most} times."),
            ("most_uses", f"1 to {MOST_USES}"),
            most=MOST_USES,
        )
    name, secret = ulid(), secrets.token_urlsafe(24)
    row = {
        "id": name,
        "request_id": request,
        "hash": fingerprint(secret),
        "recipient": terms.recipient.strip(),
        "created_by": actor.name,
        "created_at": unit.now,
        "expires_at": unit.now + terms.life,
        "most_uses": terms.most_uses,
        "uses": 0,
    }
    unit.conn.execute(release_links.insert().values(row))
    detail = {"link": name, "recipient": row["recipient"], "expires_at": (unit.now + terms.life).isoformat()}
    record(unit, actor, "evidence.release", subject(request), detail=detail | {"most_uses": terms.most_uses})
    unit.tell("requests", id=request)
    return name, secret


def revoke(unit: Unit, actor: Actor, request: str, name: str) -> None:
    """The link opens nothing any more."""
    mine = (release_links.c.id == name) & (release_links.c.request_id == request)
    row = unit.conn.execute(sa.select(release_links).where(mine)).first()
    if row is None:
        raise NotFound(N_("This request has no such link."))
    if row.revoked_at is not None:
        raise Conflict(N_("The link has been called back already."))
    unit.conn.execute(release_links.update().where(mine).values(revoked_at=unit.now))
    record(unit, actor, "evidence.revoke", subject(request), detail={"link": name})
    unit.tell("requests", id=request)


def links_of(conn: Connection, request: str) -> list[Row[Any]]:
    """Newest first."""
    query = sa.select(release_links).where(release_links.c.request_id == request)
    return list(conn.execute(query.order_by(release_links.c.id.desc())))


def live(conn: Connection, secret: str, now: Any) -> Row[Any]:
    """The link of that secret; NotFound, in the same words for all cases, unless it opens now."""
    row = conn.execute(sa.select(release_links).where(release_links.c.hash == fingerprint(secret))).first()
    if row is None or row.revoked_at is not None or row.expires_at <= now or row.uses >= row.most_uses:
        raise NotFound(N_("This link does not open anything any more: ask the command centre for a new one."))
    return row


def opened(unit: Unit, secret: str, address: str) -> Row[Any]:
    """Count a download by link and give the sealed item."""
    row = live(unit.conn, secret, unit.now)
    unit.conn.execute(
        release_links.update().where(release_links.c.id == row.id).values(uses=release_links.c.uses + 1)
    )
    detail = {"link": row.id, "recipient": row.recipient, "address": address, "time": row.uses + 1}
    holder = Actor(f"link:{row.id}", Role.AUDITOR, "token")
    record(unit, holder, "evidence.download", subject(row.request_id), detail=detail)
    unit.tell("requests", id=row.request_id)
    return sealing.item_of(unit.conn, row.request_id)


def downloaded(unit: Unit, actor: Actor, request: str) -> Row[Any]:
    """Count a download by somebody who is signed in and give the sealed item."""
    requests.get(unit.conn, request)
    item = sealing.item_of(unit.conn, request)
    record(unit, actor, "evidence.download", subject(request), detail={"item": item.id})
    return item
