"""Log-in, set-up, language, accounts, API tokens and the audit log, as pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from prahari_hub.access import audit, links, sessions, tokens, users
from prahari_hub.errors import HubError, Invalid
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import current_actor, require
from prahari_hub.http.language import LOCALE_COOKIE, LOCALES
from prahari_hub.http.limits import RateLimit
from prahari_hub.http.parameters import Cursor
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import is_fragment, page
from prahari_hub.settings import Settings
from prahari_hub.texts import N_, Series, Term

router = APIRouter()
Admin = Annotated[Actor, Depends(require())]
Auditor = Annotated[Actor, Depends(require(Role.AUDITOR))]
Anyone = Annotated[Actor, Depends(current_actor)]
Field = Annotated[str, Form(max_length=200)]
Token = Annotated[str, Query(max_length=200)]
Word = Annotated[str, Query(max_length=120)]
FROM_HERE = N_("Too many wrong passwords came from this address; wait a minute.")
A_YEAR_S = 366 * 86400
PAGE = 100


def local(target: str) -> str:
    """A path of this console, whatever somebody put into the address."""
    parts = urlsplit(target)
    is_path = not parts.scheme and not parts.netloc and target.startswith("/") and not target.startswith("//")
    return target if is_path and "\\" not in target else "/"


@router.get("/login")
async def login_page(request: Request, next: Word = "/") -> HTMLResponse:
    return page(request, None, "access/login.html", next=local(next), error=None, name="")


@router.post("/login")
async def log_in(request: Request, name: Field = "", password: Field = "", next: Field = "/") -> Response:
    store, secure = store_of(request), _secure(request)
    old = sessions.secret_of(request, secure=secure)
    limit: RateLimit = request.app.state.log_in_limit
    address = request.client.host if request.client else "-"
    context = {"next": local(next), "name": name}
    if limit.wait_s(address):
        return page(request, None, "access/login.html", status=429, **context, error=FROM_HERE)
    try:
        signed_in = await sessions.log_in(store, name.strip().lower(), password, old_secret=old)
    except sessions.LogInRefused as error:
        limit.take(address)
        return page(request, None, "access/login.html", status=403, **context, error=error)
    return _signed_in(request, signed_in, local(next))


@router.get("/login/link")
async def link_page(request: Request, token: Token = "") -> HTMLResponse:  # no token by default
    """A button, so that a mail scanner or a preview that only looks does not spend the link."""
    return page(request, None, "access/link.html", token=token, error=None)


@router.post("/login/link")
async def use_link(request: Request, token: Field = "") -> Response:  # no token by default
    try:
        signed_in = await store_of(request).write(lambda unit: links.redeem_login(unit, token))
    except sessions.LogInRefused as error:
        return page(request, None, "access/link.html", status=403, token="", error=error)
    return _signed_in(request, signed_in, "/")


@router.get("/setup")
async def setup_page(request: Request, token: Token = "") -> HTMLResponse:  # no token by default
    return page(request, None, "access/setup.html", token=token, name="", error=None)


@router.post("/setup")
async def set_up(
    request: Request,
    token: Field = "",  # no token by default
    name: Field = "",
    password: Field = "",
    again: Field = "",
) -> Response:
    name = name.strip().lower()
    try:
        if password != again:
            raise Invalid(N_("The two passwords differ; type the same one twice."))
        await store_of(request).write(lambda unit: links.redeem_setup(unit, token.strip(), name, password))
        signed_in = await sessions.log_in(store_of(request), name, password)
    except HubError as error:
        context = {"token": token, "name": name, "error": error}
        return page(request, None, "access/setup.html", status=422, **context)
    return _signed_in(request, signed_in, "/")


@router.post("/logout")
async def log_out(request: Request, actor: Anyone) -> Response:
    secure = _secure(request)
    secret = sessions.secret_of(request, secure=secure)
    if secret:
        await store_of(request).write(lambda unit: sessions.log_out(unit, secret))
    response = RedirectResponse("/login", 303)
    sessions.clear_cookie(response, secure=secure)
    return response


@router.post("/locale")
async def set_locale(request: Request, locale: Field, next: Field = "/") -> Response:
    """The browser keeps it for the log-in page, the account for everything behind it."""
    if locale not in LOCALES:
        raise Invalid(
            N_("The language is one of {locales}."), ("locale", "en or hi"), locales=", ".join(LOCALES)
        )
    actor = await request.app.state.authenticator.actor(request)
    if actor is not None and actor.kind == "user":
        await store_of(request).write(lambda unit: users.change(unit, actor, actor.name, locale=locale))
    response = RedirectResponse(local(next), 303)
    response.set_cookie(
        LOCALE_COOKIE, locale, max_age=A_YEAR_S, httponly=True, samesite="lax", secure=_secure(request)
    )
    return response


# Accounts and tokens


@router.get("/users")
async def users_page(request: Request, actor: Admin) -> HTMLResponse:
    return await _accounts(request, actor)


@router.post("/users")
async def add_user(request: Request, actor: Admin, name: Field, password: Field, role: Field) -> HTMLResponse:
    async def add() -> None:
        wanted = _role(role)
        await store_of(request).write(
            lambda unit: users.add(unit, actor, name.strip().lower(), password=password, role=wanted)
        )

    return await _accounts(request, actor, add)


@router.post("/users/{name}")
async def change_user(
    request: Request,
    actor: Admin,
    name: str,
    do: Annotated[Literal["disable", "enable", "role"], Form()],
    role: Field = "",
) -> HTMLResponse:
    async def change() -> None:
        wanted = _role(role) if do == "role" else None
        disabled = None if do == "role" else do == "disable"
        await store_of(request).write(
            lambda unit: users.change(unit, actor, name, role=wanted, disabled=disabled)
        )

    return await _accounts(request, actor, change)


@router.post("/users/{name}/password")
async def set_password(request: Request, actor: Admin, name: str, password: Field) -> HTMLResponse:
    async def change() -> None:
        await store_of(request).write(lambda unit: users.set_password(unit, actor, name, password))

    return await _accounts(request, actor, change)


@router.post("/tokens")
async def create_token(
    request: Request,
    actor: Admin,
    name: Field,
    role: Field,
    days: Annotated[int, Form(ge=1, le=366)] = 90,
    write: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    made: list[str] = []

    async def create() -> None:
        wanted, scopes = _role(role), ["read", "write"] if write else ["read"]
        _token, text = await store_of(request).write(
            lambda unit: tokens.create(
                unit, actor, name, role=wanted, scopes=scopes, life=timedelta(days=days)
            )
        )
        made.append(text)

    return await _accounts(request, actor, create, made=made)


@router.post("/tokens/{token_id}/revoke")
async def revoke_token(request: Request, actor: Admin, token_id: str) -> HTMLResponse:
    async def revoke() -> None:
        await store_of(request).write(lambda unit: tokens.revoke(unit, actor, token_id))

    return await _accounts(request, actor, revoke)


async def _accounts(
    request: Request,
    actor: Actor,
    work: Callable[[], Any] | None = None,
    *,
    made: list[str] | None = None,
) -> HTMLResponse:
    """Do ``work`` and show the page again, with the reason if it was refused."""
    error: HubError | None = None
    if work is not None:
        try:
            await work()
        except HubError as refused:
            error = refused
    store = store_of(request)
    people, keys = await asyncio.gather(store.read(users.listed), store.read(tokens.listed))
    return page(
        request,
        actor,
        "access/users.html",
        status=422 if error else 200,
        people=people,
        tokens=keys,
        roles=list(Role),
        error=error,
        made=made[0] if made else None,
    )


@router.get("/audit")
async def audit_page(
    request: Request,
    actor: Auditor,
    by: Word = "",
    action: Word = "",
    subject: Word = "",
    cursor: Cursor = None,
) -> HTMLResponse:
    wanted = audit.Filter(by or None, action or None, subject or None, None, None)
    found = await store_of(request).read(lambda conn: audit.page(conn, wanted, limit=PAGE, cursor=cursor))
    following = request.url.include_query_params(cursor=found.next) if found.next else None
    return page(
        request,
        actor,
        "access/audit-more.html" if is_fragment(request) and cursor else "access/audit.html",
        items=found.items,
        next=f"{following.path}?{following.query}" if following else None,
        wanted={"by": by, "action": action, "subject": subject},
    )


def _signed_in(request: Request, signed_in: sessions.SignedIn, target: str) -> Response:
    response = RedirectResponse(target, 303)
    sessions.set_cookie(response, signed_in.secret, secure=_secure(request))
    return response


def _secure(request: Request) -> bool:
    settings: Settings = request.app.state.settings
    return settings.cookie_secure


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise Invalid(
            N_("The role is one of {roles}."),
            ("role", "a role"),
            roles=Series(tuple(Term("role", one) for one in Role)),
        ) from None
