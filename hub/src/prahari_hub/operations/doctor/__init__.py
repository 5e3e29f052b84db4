"""``prahari-hub doctor``: is the hub well? One row a check; each gives findings, and none changes anything."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.exc import DatabaseError

from prahari_hub.errors import HubError
from prahari_hub.operations.doctor import data, machine, network
from prahari_hub.operations.doctor.findings import WORST, Check, Finding, Level, Look, fail
from prahari_hub.texts import N_

CHECKS: dict[str, Check] = {
    "hub": network.hub,
    "database": data.database,
    "schema": data.schema,
    "audit": data.audit_log,
    "pictures": data.pictures,
    "unfinished": data.unfinished,
    "backup": data.backups,
    "disk": machine.disk,
    "clock": machine.clock,
    "modes": machine.modes,
    "settings": machine.settings,
    "authority": network.authority,
    "certificates": network.devices,
    "broker": network.broker,
}


def examine(look: Look, only: Iterable[str] = CHECKS) -> list[Finding]:
    """Every check in the order of the table; one that cannot be made is a finding itself."""
    found: list[Finding] = []
    for name in only:
        try:
            found += CHECKS[name](look)
        except (HubError, DatabaseError, OSError) as error:
            said = getattr(error, "orig", None) or error
            found += fail(
                name,
                N_("This could not be looked at: {error}."),
                N_("Mend what stands above first."),
                error=str(said).splitlines()[0] if str(said) else type(error).__name__,
            )
    return found


def worst(found: Iterable[Finding]) -> Level:
    return max((finding.level for finding in found), key=WORST.__getitem__, default=Level.OK)
