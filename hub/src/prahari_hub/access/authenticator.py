"""Who is asking: bearer token or session cookie. One indexed read a request, so that a revocation holds at once everywhere."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import timedelta

import structlog
from fastapi import Request

from prahari_hub.access import sessions, tokens
from prahari_hub.errors import Forbidden, Unavailable
from prahari_hub.http.actor import Actor
from prahari_hub.http.middleware import SAFE
from prahari_hub.store import Store, Unit
from prahari_hub.texts import N_

TOUCH_EVERY = timedelta(minutes=1)
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
log = structlog.get_logger(__name__)


class StoreAuthenticator:
    """Implements ``http.auth.Authenticator`` on the store.

    A long-lived answer (server-sent events) calls ``actor`` again every minute: that keeps the session from idling out and
    tells when it has ended.
    """

    def __init__(self, store: Store, *, secure: bool) -> None:
        self.store = store
        self.secure = secure
        self._notes: dict[str, asyncio.Future[None]] = {}

    async def actor(self, request: Request) -> Actor | None:
        text = _bearer(request)
        if text is not None:
            return await self._by_token(request, text)
        secret = sessions.secret_of(request, secure=self.secure)
        return None if secret is None else await self._by_session(request, secret)

    async def known(self, request: Request) -> bool:
        now = self.store.clock()
        text = _bearer(request)
        if text is not None:
            return await self.store.read(lambda conn: tokens.check(conn, text, now)) is not None
        secret = sessions.secret_of(request, secure=self.secure)
        if secret is None:
            return False
        return await self.store.read(lambda conn: sessions.find(conn, secret, now)) is not None

    async def _by_token(self, request: Request, text: str) -> Actor | None:
        now = self.store.clock()
        token = await self.store.read(lambda conn: tokens.check(conn, text, now))
        if token is None:
            return None
        needed = "read" if request.method in SAFE else "write"
        if needed not in token.scopes:
            raise Forbidden(N_("This token lacks the scope {needed}; use one that has it."), needed=needed)
        if token.last_used_at is None or now - token.last_used_at > tokens.USED_EVERY:
            self._note(token.id, lambda unit: tokens.used(unit, token.id))
        return Actor(f"token:{token.id}", token.role, "token")

    async def _by_session(self, request: Request, secret: str) -> Actor | None:
        now = self.store.clock()
        session = await self.store.read(lambda conn: sessions.find(conn, secret, now))
        if session is None:
            return None
        request.state.locale = session.locale
        if request.method not in SAFE and not await _csrf_right(request, session.csrf):
            raise Forbidden(N_("The page was open too long or came from elsewhere; reload it and try again."))
        if now - session.seen_at > TOUCH_EVERY:
            self._note(sessions.fingerprint(secret), lambda unit: sessions.touch(unit, secret))
        return Actor(session.user, session.role, "user", session.locale, session.csrf)

    def _note(self, key: str, work: Callable[[Unit], None]) -> None:
        """Write the time of use beside the request: neither a slow nor a full disk must keep people from reading."""
        if key in self._notes:
            return
        task = asyncio.ensure_future(self._write(work))
        self._notes[key] = task
        task.add_done_callback(lambda _: self._notes.pop(key, None))

    async def _write(self, work: Callable[[Unit], None]) -> None:
        try:
            await self.store.write(work)
        except Unavailable:
            log.warning("the time of use was not noted")


def _bearer(request: Request) -> str | None:
    """The token's text, empty for another scheme; None where there is no such header and a cookie may count."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


async def _csrf_right(request: Request, expected: str) -> bool:
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS:
        field = (await request.form()).get("csrf")
        given = field if isinstance(field, str) else None
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())
