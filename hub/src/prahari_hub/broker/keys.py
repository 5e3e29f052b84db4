"""The nkeys (Ed25519) of the hub's roles at the broker, and the JWTs that the auth callout signs with one of them."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
        self._key = Ed25519PrivateKey.from_private_bytes(_raw_seed(seed))
        self.issuer = public(seed)

    def sign(
        self, kind: str, *, subject: str, audience: str, at: int, nats: dict[str, Any], **claims: Any
    ) -> str:
        body = {"iss": self.issuer, "iat": at, "sub": subject, "aud": audience, **claims}
        body["nats"] = {**nats, "type": kind, "version": 2}
        body["jti"] = secrets.token_hex(16)
        head = f"{_HEAD}.{_encode(msgspec.json.encode(body))}"
        return f"{head}.{_encode(self._key.sign(head.encode()))}"


def _raw_seed(seed: str) -> bytes:
    """The 32 bytes of an nkey seed: base32 over two bytes of prefix, the seed and two of checksum."""
    nkeys.from_seed(seed.encode())  # checks it
    return base64.b32decode(seed + "=" * (-len(seed) % 8))[2:34]


def claims_of(token: str) -> dict[str, Any]:
    """The body of a JWT whose sender is already known (the broker's own, in an account that nobody else can enter)."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not a JWT")
    found = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(found, dict):
        raise ValueError("not a JWT")
    return found


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


_HEAD = _encode(b'{"typ":"JWT","alg":"ed25519-nkey"}')
