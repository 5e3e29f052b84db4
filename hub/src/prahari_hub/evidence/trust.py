"""What a city publishes so that others can verify its packages: the root that boxes' certificates lead to, and the hub's keys."""

from __future__ import annotations

import base64

from prahari_hub.identity.ca import pem
from prahari_hub.identity.service import Identity


def trust_of(identity: Identity) -> dict[str, object]:
    """Nothing in it is secret."""
    keys = {name: base64.urlsafe_b64encode(raw).decode() for name, raw in identity.signer.public_keys.items()}
    return {"city": identity.authority.city, "root": pem([identity.authority.root]).decode(), "keys": keys}
