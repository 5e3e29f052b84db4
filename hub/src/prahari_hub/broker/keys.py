"""The nkeys (Ed25519) of the hub's roles at the broker, and the JWTs that the auth callout signs with one of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nkeys

from prahari_hub.broker.files import private_folder, write_private
from prahari_hub.errors import SetupError


@dataclass(frozen=True)
class Keys:
    """Seeds: ``issuer`` signs what the callout grants; ``callout``, ``hub`` and ``system`` are users, one an account."""

    issuer: str
    callout: str
    hub: str
    system: str


def open_keys(file: Path) -> Keys:
    """The seeds in this file (0600), made on first use."""
    if not file.exists():
        private_folder(file.parent)
        users = {role: new_seed(nkeys.PREFIX_BYTE_USER) for role in ("callout", "hub", "system")}
        keys = Keys(issuer=new_seed(nkeys.PREFIX_BYTE_ACCOUNT), **users)
        write_private(file, json.dumps(asdict(keys), indent=1).encode())
        return keys
    try:
        return Keys(**json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise SetupError(
            f"the broker's keys in {file} cannot be read; restore the file or remove it to make new ones"
        ) from error


def new_seed(prefix: int) -> str:
    return str(nkeys.encode_seed(os.urandom(32), prefix).decode())


def public(seed: str) -> str:
    """The public nkey (A…, U…) of a seed."""
    return str(nkeys.from_seed(seed.encode()).public_key.decode())


class Signer:
    """Signs NATS JWTs (version 2, ``ed25519-nkey``) as one account."""

    def __init__(self, seed: str) -> None:
        self._pair = nkeys.from_seed(seed.encode())
        self.issuer = public(seed)

    def sign(
        self, kind: str, *, subject: str, audience: str, at: int, nats: dict[str, Any], **claims: Any
    ) -> str:
        body = {"iss": self.issuer, "iat": at, "sub": subject, "aud": audience, **claims}
        body["nats"] = {**nats, "type": kind, "version": 2}
        digest = hashlib.sha256(json.dumps(body).encode()).digest()
        body["jti"] = base64.b32encode(digest).decode().rstrip("=")
        head = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        return f"{head}.{_encode(self._pair.sign(head.encode()))}"


def claims_of(token: str) -> dict[str, Any]:
    """The body of a JWT whose sender is already known (the broker's own, in an account that nobody else can enter)."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not a JWT")
    found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(found, dict):
        raise ValueError("not a JWT")
    return found


def _part(value: dict[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
