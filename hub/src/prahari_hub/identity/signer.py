"""The hub's Ed25519 keys: a device obeys a twin, a command or an override only with a signature that one of them made."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from pathlib import Path
from typing import TypeVar, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from prahari_wire.command import Command
from prahari_wire.display import OverrideSet
from prahari_wire.signing import signing_bytes
from prahari_wire.twin import TwinDown

from prahari_hub.broker.files import private_folder, write_private

S = TypeVar("S", bound=TwinDown | Command | OverrideSet)
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


class Signer:
    """Signs with the current key; ``public_keys`` also holds those that were rolled over and are still believed."""

    def __init__(self, current: str, private: Ed25519PrivateKey, public_keys: dict[str, bytes]) -> None:
        self.current = current
        self.public_keys = public_keys
        self._private = private

    def sign(self, device: str, message: S) -> S:
        """The message with ``key`` and ``sig`` set."""
        named = message.model_copy(update={"key": self.current, "sig": ""})
        signature = self._private.sign(signing_bytes(device, named))
        text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        return cast("S", named.model_copy(update={"sig": text}))

    def sign_bytes(self, data: bytes) -> str:
        """base64url of the current key's signature; ``data`` says by itself what kind of thing it is."""
        return base64.urlsafe_b64encode(self._private.sign(data)).decode().rstrip("=")

    def published(self) -> dict[str, object]:
        """What a device fetches: the current key id and every believed key, raw, in base64."""
        keys = {name: base64.b64encode(raw).decode() for name, raw in self.public_keys.items()}
        return {"current": self.current, "keys": keys}


def open_signer(home: Path) -> Signer:
    """The keys in ``signing/`` of the hub's home, made on first use."""
    folder = private_folder(home / "signing")
    if not (folder / "current.key").exists():
        roll_over(home)
    private = Ed25519PrivateKey.from_private_bytes((folder / "current.key").read_bytes())
    raw = private.public_key().public_bytes(*_RAW)
    kept = json.loads((folder / "public.json").read_bytes()) if (folder / "public.json").exists() else {}
    keys = {name: base64.b64decode(text) for name, text in kept.items()}
    return Signer(key_id(raw), private, {**keys, key_id(raw): raw})


def roll_over(home: Path) -> str:
    """Begin to sign with a new key and give its id; devices believe the old ones until ``forget`` names them.

    A device learns the new key when it next connects, so leave the old one until all have.
    """
    folder = private_folder(home / "signing")
    file = folder / "public.json"
    kept = json.loads(file.read_bytes()) if file.exists() else {}
    seed = secrets.token_bytes(32)
    raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(*_RAW)
    kept[key_id(raw)] = base64.b64encode(raw).decode()
    write_private(file, json.dumps(kept, indent=1).encode())
    write_private(folder / "current.key", seed)
    return key_id(raw)


def forget(home: Path, name: str) -> None:
    """Believe an old key no longer; KeyError if there is none, ValueError for the current one."""
    if name == open_signer(home).current:
        raise ValueError("the current key cannot be forgotten: roll over first")
    file = home / "signing" / "public.json"
    kept = json.loads(file.read_bytes())
    del kept[name]
    write_private(file, json.dumps(kept, indent=1).encode())


def key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def verify(public: bytes, device: str, message: TwinDown | Command | OverrideSet) -> None:
    """InvalidSignature unless the message was signed for this device with this key."""
    unsigned = message.model_copy(update={"sig": ""})
    signature = base64.urlsafe_b64decode(message.sig + "=" * (-len(message.sig) % 4))
    Ed25519PublicKey.from_public_bytes(public).verify(signature, signing_bytes(device, unsigned))
