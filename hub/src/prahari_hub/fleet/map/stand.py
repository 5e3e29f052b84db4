"""How a device stands, in one word: what the map, the table and the device's page agree on. Pure."""

from __future__ import annotations

from enum import StrEnum

from prahari_hub.http.words import N_


class Stand(StrEnum):
    """Worst first; ``normal`` is grey."""

    OFFLINE = "offline"
    FAIL = "fail"
    WARN = "warn"
    SUSPECT = "suspect"
    UNKNOWN = "unknown"
    MAINTENANCE = "maintenance"
    NORMAL = "normal"


def stand(service: str, presence: str, health: str) -> Stand:
    """Maintenance covers everything; what cannot be heard comes before what it said last."""
    if service in ("maintenance", "retired"):
        return Stand.MAINTENANCE
    if presence in ("offline", "suspect", "unknown"):
        return Stand(presence)
    return {"fail": Stand.FAIL, "warn": Stand.WARN}.get(health, Stand.NORMAL)


VERDICTS = {
    Stand.OFFLINE: N_("Offline: the hub has not heard from it although it can hear others."),
    Stand.FAIL: N_("Reachable, but something on it fails."),
    Stand.WARN: N_("Works, with something to look at."),
    Stand.SUSPECT: N_("Missed a heartbeat; it may be about to go offline."),
    Stand.UNKNOWN: N_(
        "Not known yet: the hub has just started, lost the broker, or has never heard from it."
    ),
    Stand.MAINTENANCE: N_("In maintenance: its faults raise no incidents."),
    Stand.NORMAL: N_("Works as it should."),
}
