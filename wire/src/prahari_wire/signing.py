"""What the hub signs and the device checks: the bytes of a twin, command or override set (Ed25519 over them)."""

from __future__ import annotations

from prahari_wire.base import canonical
from prahari_wire.command import Command
from prahari_wire.display import OverrideSet
from prahari_wire.topics import Down
from prahari_wire.twin import TwinDown

SignedMessage = TwinDown | Command | OverrideSet

_CHANNEL: dict[type, Down] = {TwinDown: Down.TWIN, Command: Down.COMMAND, OverrideSet: Down.OVERRIDE}


def signing_bytes(device: str, message: SignedMessage) -> bytes:
    """Canonical JSON over device, kind, key id and the whole message without its signature.

    The message carries its own version or epoch and expiry. A twin is signed over the document's hash alone, so that the
    signature also holds when the document is fetched over HTTPS.
    """
    left_out = {"sig", "document"} if isinstance(message, TwinDown) else {"sig"}
    body = message.model_dump(mode="json", by_alias=True, exclude=left_out)
    return canonical({"device": device, "kind": str(_CHANNEL[type(message)]), "body": body})
