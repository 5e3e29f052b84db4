"""Keeps the agent's main process small: what it does not load, and what it gives back."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
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


_M_ARENA_MAX = -8
"""mallopt(3): how many heaps glibc may keep for threads; each of ours needs little."""


def one_heap() -> None:
    """Let all threads share one heap (glibc alone; elsewhere nothing happens)."""
    if (mallopt := _libc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system what loading and configuring left behind: 6 MB after the imports (glibc alone)."""
    gc.collect()
    if (malloc_trim := _libc("malloc_trim")) is not None:
        malloc_trim(0)


def _libc(function: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), function, None)
