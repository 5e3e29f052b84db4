"""GET /live: the feed as Server-Sent Events for whoever may read the console, with a beat that proves that the line is alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from prahari_hub.errors import Forbidden
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, Unauthenticated, current_actor, require
from prahari_hub.http.health import Probe
from prahari_hub.live.feed import Feed, Message, Subscription

BEAT_S = 5.0
CHECK_S = 15.0  # how often the session behind an open stream is looked at again
TOPICS = frozenset(
    {"devices", "incidents", "displays", "commands", "transitions", "overrides", "blobs", "requests"}
)

router = APIRouter(include_in_schema=False)
reader = require(*READERS)


def feed_of(request: Request) -> Feed:
    feed: Feed = request.app.state.feed
    return feed


async def note_position(request: Request) -> None:
    """A dependency of every page: where the feed stood before the page read the store (see ``Feed.position``)."""
    feed: Feed | None = getattr(request.app.state, "feed", None)
    request.state.live = feed.position(TOPICS) if feed else None


@router.get("/live")
async def live(
    request: Request,
    _actor: Annotated[Actor, Depends(reader)],
    feed: Annotated[Feed, Depends(feed_of)],
    topics: Annotated[str, Query(max_length=200)] = "incidents",
) -> StreamingResponse:
    """``topics`` is a list with commas; what is not a topic is left out."""
    wanted = TOPICS.intersection(topics.split(","))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(request, feed, wanted), media_type="text/event-stream", headers=headers)


@router.get("/live/ping")
async def ping(_actor: Annotated[Actor, Depends(current_actor)]) -> Response:
    """204 while the session holds: what a page asks when its stream was refused."""
    return Response(status_code=204)


async def _events(request: Request, feed: Feed, topics: frozenset[str]) -> AsyncIterator[bytes]:
    subscription = feed.subscribe(topics)
    loop = asyncio.get_running_loop()
    checked_at, beat_at = loop.time(), float("-inf")
    try:
        yield b"retry: 1000\n\n"
        while True:
            message, ended = await _next(subscription)
            if ended:
                return
            if message:
                yield message.encode()
            if loop.time() - beat_at >= BEAT_S:
                beat_at = loop.time()
                yield _beat(request).encode()
            if loop.time() - checked_at >= CHECK_S:
                checked_at = loop.time()
                if not await _may_read(request):
                    yield Message("signed-out", "{}").encode()
                    return
    finally:
        feed.unsubscribe(subscription)


def _beat(request: Request) -> Message:
    """``missing``: parts of the hub that are not ready, such as the broker, without which no device is heard."""
    probes: Mapping[str, Probe] = request.app.state.probes
    return Message("beat", json.dumps({"missing": [name for name, probe in probes.items() if probe()]}))


async def _may_read(request: Request) -> bool:
    """Whether the session or token still holds and its role may still read."""
    try:
        await reader(request)
    except (Unauthenticated, Forbidden):
        return False
    return True


async def _next(subscription: Subscription) -> tuple[Message | None, bool]:
    """The next message, or None when a beat is due; True when the feed has closed."""
    try:
        async with asyncio.timeout(BEAT_S):
            message = await subscription.get()
    except TimeoutError:
        return None, False
    return message, message is None
