"""How tasks are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 10.0


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel ``tasks`` and wait until they have ended; what they raise is dropped.

    One that goes on is told again: a library that waits by ``asyncio.wait_for`` (nats-py does) swallows a cancellation that comes in
    the moment of the result on Python 3.11.
    """
    every = list(tasks)
    left = set(every)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
    await asyncio.gather(*every, return_exceptions=True)
