"""What surrounds every request: an id, security headers, a bound on its body, and a check of Host and Origin."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prahari_hub import metrics
from prahari_hub.http.language import say
from prahari_hub.http.problems import language_of, unexpected
from prahari_hub.texts import N_, Checked, Text

CSP = (
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "worker-src 'self'; img-src 'self' data: blob:"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
HSTS = "max-age=31536000"
BODY_LIMIT = 1024 * 1024
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = SAFE | {"POST", "PUT", "PATCH", "DELETE"}


class Guard:
    """ASGI middleware. ``hosts`` are the hub's names (IP addresses always pass: only a name can be rebound);
    ``limits`` are body limits in bytes by path prefix where BODY_LIMIT is too small; ``secure`` adds HSTS."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        limits: Mapping[str, int] | None = None,
        secure: bool = False,
    ) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.limits = dict(limits or {})
        self.headers = HEADERS | ({"Strict-Transport-Security": HSTS} if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        send = self._with_headers(scope, send, request_id)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            headers = Headers(scope=scope)
            limit = await self._limit(scope)
            refused = self._refusal(scope["method"], headers, limit)
            if refused is not None:
                status, detail = refused
                await _problem(scope, status, detail, request_id)(scope, receive, send)
                return
            await self._answer(scope, _bounded(receive, limit), send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, or a problem where it fails before it began one."""
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if began:
                raise
            request = Request(scope, receive)
            await (await unexpected(request, error))(scope, receive, send)

    def _refusal(self, method: str, headers: Headers, limit: int) -> tuple[int, Text | Checked] | None:
        host = headers.get("host", "")
        if not self._known(host):
            return (
                421,
                Text(
                    N_("This hub does not answer to the name {name!r}; add it to the setting hosts."),
                    {"name": _name(host)[:80]},
                ),
            )
        if method not in SAFE and not _same_origin(headers, host):
            return 403, Text(
                N_("The request came from another site's page; open the console itself and try again.")
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return 413, Checked(_too_large(limit))
        return None

    def _known(self, host: str) -> bool:
        name = _name(host)
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _limit(self, scope: Scope) -> int:
        """A body is read before its sender's rights are looked at: more than BODY_LIMIT is taken only from who is known."""
        limit = next(
            (most for prefix, most in self.limits.items() if scope["path"].startswith(prefix)), BODY_LIMIT
        )
        if limit <= BODY_LIMIT or scope["method"] in SAFE:
            return BODY_LIMIT
        return limit if await scope["app"].state.authenticator.known(Request(scope)) else BODY_LIMIT

    def _with_headers(self, scope: Scope, send: Send, request_id: str) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
                if "Cache-Control" not in headers:
                    headers["Cache-Control"] = "no-store"
                headers["X-Request-Id"] = request_id
                method = scope["method"] if scope["method"] in METHODS else "other"
                metrics.REQUESTS.labels(method, str(message["status"])).inc()
            await send(message)

        return answer


def _bounded(receive: Receive, limit: int) -> Receive:
    """Count what a body without Content-Length really brings."""
    seen = 0

    async def take() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return take


def _too_large(limit: int) -> str:
    return f"The request is larger than the {limit // 1024} KiB that are accepted here."


def _name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _same_origin(headers: Headers, host: str) -> bool:
    """Programs send neither header; a browser sends at least one of them with every unsafe request."""
    origin = headers.get("origin")
    if origin is not None:
        try:
            return urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _problem(scope: Scope, status: int, detail: Text | Checked, request_id: str) -> JSONResponse:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": say(language_of(Request(scope)), detail),
        "instance": scope["path"],
        "request_id": request_id,
    }
    return JSONResponse(document, status, media_type="application/problem+json")
