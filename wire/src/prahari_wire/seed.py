"""The seed: what a technician writes onto a box so that it can find and trust its hub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from prahari_wire.base import DeviceId, Message, ShortText

SEED_FILE = "prahari-seed.json"


class Seed(Message):
    """``hub`` is the device HTTPS address, ``mqtt`` host:port of the broker, ``ca_spki_sha256`` (hex) pins the hub's root key
    for the first contact, ``token`` is the one-time claim."""

    v: Literal[1] = 1
    device: DeviceId
    hub: Annotated[str, StringConstraints(pattern=r"^https://[^/\s@]+$", max_length=200)]
    mqtt: Annotated[str, StringConstraints(pattern=r"^[^/\s@]+:\d{1,5}$", max_length=200)]
    ca_spki_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    token: Annotated[
        str, StringConstraints(pattern=r"^FLT1-[0-9A-HJKMNP-TV-Z]{8}-[0-9A-HJKMNP-TV-Z]{24}-[0-9A-Z*~$=]$")
    ]
    city: ShortText = "city"
    board: ShortText = "auto"
    timezone: ShortText = "Asia/Kolkata"
