"""The audit log: one row in the transaction of each change; the scheduler seals the rows into a hash chain."""

from __future__ import annotations

from typing import Any

from prahari_hub.access.tables import audit
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit


def record(
    unit: Unit,
    actor: Actor,
    action: str,
    subject: str,
    *,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a row: ``action`` such as ``incident.acknowledge``, ``subject`` such as ``incident:01J…``; never a secret in detail."""
    unit.conn.execute(
        audit.insert().values(
            at=unit.now, actor=actor.name, action=action, subject=subject, reason=reason, detail=detail or {}
        )
    )
