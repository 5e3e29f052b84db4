"""How much a run does: ``make test`` the short form of what is dear, PRAHARI_TESTS=long (as CI) the whole of it.

What only the long form does has a short form that makes the same claim on less.
"""

from __future__ import annotations

import os

LONG = os.environ.get("PRAHARI_TESTS") == "long"


def examples(whole: int) -> int:
    """How many examples Hypothesis tries: ``whole`` of them, or a quarter in the short form."""
    return whole if LONG else max(whole // 4, 10)
