"""Who does something: a signed-in user, an API token, the hub itself or a device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    TECHNICIAN = "technician"
    ADVERTISER = "advertiser"
    AUDITOR = "auditor"


@dataclass(frozen=True)
class Actor:
    """``name`` is what the audit log shows: ``asha`` (user), ``token:01J…`` or ``system:scheduler``."""

    name: str
    role: Role
    kind: Literal["user", "token", "system", "device"] = "user"
    locale: str = "en"
    csrf: str | None = None


def system(part: str) -> Actor:
    return Actor(f"system:{part}", Role.ADMIN, "system")
