"""Identifiers that sort by time: ULID (128 bit, Crockford base32)."""

from __future__ import annotations

import os
import time

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(at_ms: int | None = None) -> str:
    """A new ULID; ``at_ms`` is Unix time in milliseconds, the present if left out."""
    stamp = max(0, time.time_ns() // 1_000_000 if at_ms is None else at_ms)
    value = ((stamp & (2**48 - 1)) << 80) | int.from_bytes(os.urandom(10))
    return "".join(CROCKFORD[(value >> shift) & 31] for shift in range(125, -5, -5))
