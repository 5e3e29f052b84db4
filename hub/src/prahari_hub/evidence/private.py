"""Cameras that are not the city's, in a footage request: which their owners' terms rule out, and what a box's refusal means."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from prahari_wire.owner import Denied, Owner, Use, denied, denied_in
from sqlalchemy import Connection

from prahari_hub.evidence.reasons import Miss
from prahari_hub.fleet import owners
from prahari_hub.fleet.tables import twins

_MISS = {
    Denied.EVENTS_ONLY: Miss.EVENTS_ONLY,
    Denied.WITHDRAWN: Miss.OWNER_CONSENT,
    Denied.ENDED: Miss.OWNER_CONSENT,
}
OWNERS = frozenset({Miss.EVENTS_ONLY, Miss.OWNER_CONSENT})
"""Reasons that are the owner's: nothing is to be repaired."""


def ruled_out(owner: Owner | None, now: datetime) -> Miss | None:
    """Why no footage of the camera may be asked for, by the terms that the hub has written."""
    why = denied(owner, Use.FOOTAGE, now)
    return _MISS[why] if why is not None else None


def ruled_out_at(conn: Connection, device: str, camera: str, now: datetime) -> Miss | None:
    document = conn.scalar(sa.select(twins.c.document).where(twins.c.device_id == device))
    return ruled_out(owners.owner_in(document, camera), now)


def refused_by_box(text: str | None) -> Miss | None:
    """The reason, where a box refused by its owner's terms; None for any other text."""
    why = denied_in(text)
    return _MISS.get(why) if why is not None else None
