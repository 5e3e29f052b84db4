"""The text of a one-time claim: ``FLT1-CCCCCCCC-SSSSSSSSSSSSSSSSSSSSSSSS-K`` in Crockford's base 32.

Eight public characters name the claim, 24 (120 bit) are its secret, K is Crockford's check symbol (modulo 37) over both. The hub
keeps an HMAC of the secret alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import NamedTuple

from prahari_hub.broker.files import private_folder, write_private

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECK = ALPHABET + "*~$=U"
_READ_AS = str.maketrans("OIL", "011")
ID_LENGTH, SECRET_LENGTH = 8, 24


class ClaimToken(NamedTuple):
    id: str
    secret: str

    @property
    def text(self) -> str:
        return f"FLT1-{self.id}-{self.secret}-{_check(self.id + self.secret)}"


def new_token() -> ClaimToken:
    def draw(length: int) -> str:
        return "".join(secrets.choice(ALPHABET) for _ in range(length))

    return ClaimToken(draw(ID_LENGTH), draw(SECRET_LENGTH))


def read_token(text: str) -> ClaimToken | None:
    """The token that a person typed (case, spaces and O, I, L forgiven), or None if it cannot be one."""
    parts = "".join(text.upper().split()).split("-")
    if len(parts) != 4 or parts[0] != "FLT1":
        return None
    found = ClaimToken(parts[1].translate(_READ_AS), parts[2].translate(_READ_AS))
    if (len(found.id), len(found.secret)) != (ID_LENGTH, SECRET_LENGTH) or not set(
        found.id + found.secret
    ) <= set(ALPHABET):
        return None
    return found if parts[3].translate(_READ_AS) == _check(found.id + found.secret) else None


def fingerprint(pepper: bytes, secret: str) -> str:
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def open_pepper(home: Path) -> bytes:
    """The key of the fingerprints, ``pki/claims.key`` (0600), made on first use: a stolen database alone opens no claim."""
    file = private_folder(home / "pki") / "claims.key"
    if not file.exists():
        write_private(file, secrets.token_bytes(32))
    return file.read_bytes()


def _check(symbols: str) -> str:
    value = 0
    for symbol in symbols:
        value = value * 32 + ALPHABET.index(symbol)
    return _CHECK[value % 37]
