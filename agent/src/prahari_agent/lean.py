"""Keeps large optional libraries out of the agent's main process, where memory is counted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Within the block, importing any of ``modules`` fails as if it were not installed (unless it is loaded already).

    sqlite-utils takes numpy and structlog takes Rich whenever they find them: together 20 MB that the core never uses.
    """
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
