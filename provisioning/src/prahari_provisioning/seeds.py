"""The seed of a device: made from a fresh claim, written where the agent looks for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prahari_wire.seed import SEED_FILE, Seed
from pydantic import ValidationError

from prahari_provisioning.errors import HubRefused
from prahari_provisioning.hub import Claim, Enrolment


def make_seed(claim: Claim, enrolment: Enrolment, *, board: str, timezone: str) -> Seed:
    try:
        return Seed(
            device=claim.device,
            hub=enrolment.hub,
            mqtt=enrolment.mqtt,
            ca_spki_sha256=enrolment.ca_spki_sha256,
            token=claim.token,
            city=enrolment.city,
            board=board,
            timezone=timezone,
        )
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise HubRefused(
            f"The hub's answer does not fit into a seed (field {field}): hub and prahari-provision are of different versions."
        ) from None


def seed_bytes(seed: Seed) -> bytes:
    return (seed.model_dump_json(indent=2) + "\n").encode()


def seed_path(out: Path) -> Path:
    """``out`` itself, or the seed's usual name in it if it is a folder."""
    return out / SEED_FILE if out.is_dir() else out


def sha256(content: bytes) -> str:
    """The hash that the device reports with its birth once it has applied the seed."""
    return hashlib.sha256(content).hexdigest()
