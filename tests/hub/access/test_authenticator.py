"""Time of use: noted beside the request, at most once a minute."""

from __future__ import annotations

import asyncio
import threading

from fastapi import Request
from prahari_hub.access import sessions, tokens, users
from prahari_hub.access.authenticator import StoreAuthenticator
from prahari_hub.http.actor import Role, system
from prahari_hub.store import Store

ROOT = system("test")


def request(**headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


async def settled(authenticator: StoreAuthenticator) -> None:
    await asyncio.gather(*authenticator._notes.values())


async def test_a_busy_writer_keeps_nobody_waiting(store: Store) -> None:
    _, text = store.write_sync(lambda unit: tokens.create(unit, ROOT, "t", role=Role.ADMIN))
    authenticator = StoreAuthenticator(store, secure=False)
    free = threading.Event()
    busy = asyncio.ensure_future(store.write(lambda unit: free.wait(30)))
    try:
        for _ in range(3):
            actor = await asyncio.wait_for(authenticator.actor(request(authorization=f"Bearer {text}")), 10)
            assert actor is not None and actor.role is Role.ADMIN
    finally:
        free.set()
    await busy
    await settled(authenticator)
    (token,) = store.read_sync(tokens.listed)
    assert token.last_used_at == store.clock()


async def test_a_session_in_use_does_not_idle_out(store: Store, clock) -> None:
    store.write_sync(lambda unit: users.add(unit, ROOT, "asha", password=None, role=Role.OPERATOR))
    signed_in = store.write_sync(lambda unit: sessions.open_session(unit, "asha"))
    authenticator = StoreAuthenticator(store, secure=False)
    asks = request(cookie=f"prahari_session={signed_in.secret}")
    for _ in range(5):
        clock.pass_(minutes=10)
        assert await authenticator.actor(asks) is not None
        await settled(authenticator)
    clock.pass_(minutes=15)
    assert await authenticator.actor(asks) is None


async def test_behind_a_tls_proxy_only_the_host_cookie_counts(store: Store) -> None:
    store.write_sync(lambda unit: users.add(unit, ROOT, "asha", password=None, role=Role.OPERATOR))
    signed_in = store.write_sync(lambda unit: sessions.open_session(unit, "asha"))
    authenticator = StoreAuthenticator(store, secure=True)
    assert await authenticator.actor(request(cookie=f"prahari_session={signed_in.secret}")) is None
    found = await authenticator.actor(request(cookie=f"__Host-prahari_session={signed_in.secret}"))
    assert found is not None and found.name == "asha"
