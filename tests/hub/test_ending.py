"""Tasks end, also those that swallow being told so once."""

from __future__ import annotations

import asyncio

import pytest
from prahari_hub import ending
from prahari_hub.ending import end


async def test_a_task_that_swallows_one_cancellation_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one does that waits for an answer of the broker by a library's ``asyncio.wait_for``."""
    monkeypatch.setattr(ending, "AGAIN_S", 0.05)
    news = asyncio.Event()
    rounds = []

    async def work() -> None:
        while True:
            await asyncio.wait_for(news.wait(), 30)
            news.clear()
            rounds.append(1)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.01)
    news.set()
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end([task])
    assert task.cancelled()


async def test_what_ended_tasks_raise_is_dropped() -> None:
    async def fails() -> None:
        raise RuntimeError("cannot")

    task = asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    await end([task])
    await end([])
    assert task.done()
