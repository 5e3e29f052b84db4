"""How a device stands, in one word: what the map, the table and the device's page agree on. Pure."""

from __future__ import annotations

from enum import StrEnum


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
