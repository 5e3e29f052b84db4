"""Problem documents (RFC 9457): every error that the API answers, in one shape.

Below /api/ they say the English; what a page's address answers, a person reads: in that person's language.

What a page answers instead (a redirect to log-in, an error page) is decided by ``wants_page``.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from prahari_hub.errors import Conflict, Forbidden, HubError, Invalid, NotFound, Unavailable
from prahari_hub.http.auth import Unauthenticated
from prahari_hub.http.language import locale_of, say
from prahari_hub.texts import N_, Checked, Text

MEDIA_TYPE = "application/problem+json"
API = "/api/"
DISK_FULL = N_("The hub's disk is full; make room in the hub's home and send it again.")
log = structlog.get_logger(__name__)

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Invalid, 422),
    (Forbidden, 403),
    (Unavailable, 503),
)


class FieldProblem(BaseModel):
    """``path`` of the value, ``message``: what was expected."""

    path: str
    message: str


class Problem(BaseModel):
    """``detail`` is one sentence for a person; ``request_id`` finds the request in the hub's log."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


RESPONSES = _documented(400, 401, 403, 404, 409, 413, 422, 503)
"""What every route of the API may answer beside its success, for OpenAPI."""

ErrorPage = Callable[[Request, Problem], Response]


def problem(
    request: Request,
    status: int,
    detail: str | Text | Checked | None = None,
    *,
    errors: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The document, or the application's error page for a browser that asked for a page."""
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=None if detail is None else say(language_of(request), detail),
        instance=request.url.path,
        request_id=getattr(request.state, "request_id", None),
        errors=errors,
    )
    page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    if page is not None and wants_page(request):
        answer = page(request, document)
        answer.headers.update(headers or {})
        return answer
    return JSONResponse(
        document.model_dump(mode="json", exclude_none=True),
        status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def language_of(request: Request) -> str:
    """English for programs, a person's language for what the console's pages ask."""
    return "en" if request.url.path.startswith(API) else locale_of(request, None)


def wants_page(request: Request) -> bool:
    """A browser outside the API that takes HTML."""
    return not request.url.path.startswith(API) and "text/html" in request.headers.get("accept", "")


async def _hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    if status == 500:
        log.error("the hub is not set up right", error=str(error))
        return problem(request, 500, N_("The hub is not set up right; its log says why."))
    errors = None
    if isinstance(error, Invalid) and error.fields:
        errors = [FieldProblem(path=path, message=message) for path, message in error.fields]
    headers = {"Retry-After": "5"} if status == 503 else None
    return problem(request, status, error.text, errors=errors, headers=headers)


async def _unauthenticated(request: Request, error: Exception) -> Response:
    """To log-in for a page; htmx is told to go there with the whole window."""
    if not wants_page(request) and "hx-request" not in request.headers:
        return problem(
            request,
            401,
            N_("Sign in, or send a valid API token as Authorization: Bearer."),
            headers={"WWW-Authenticate": 'Bearer realm="prahari"'},
        )
    target = "/login"
    if request.method == "GET" and request.url.path not in ("/", "/login"):
        query = f"?{request.url.query}" if request.url.query else ""
        target = f"/login?next={quote(request.url.path + query)}"
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": "/login"})
    return RedirectResponse(target, 303)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldProblem(path=".".join(str(part) for part in item["loc"]), message=str(item["msg"]))
        for item in error.errors()[:20]
    ]
    first = errors[0]
    return problem(request, 422, Checked(f"{first.path}: {first.message}"), errors=errors)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if _is_full(error.__cause__):  # what FastAPI makes of an upload that it could not spool
        return await _hub_error(request, Unavailable(DISK_FULL))
    return problem(request, error.status_code, Checked(str(error.detail)), headers=error.headers)


async def _os_error(request: Request, error: Exception) -> Response:
    if _is_full(error):
        return await _hub_error(request, Unavailable(DISK_FULL))
    raise error


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


async def _not_storable(request: Request, error: Exception) -> Response:
    """Half of a surrogate pair, or what the database's types cannot hold, such as a NUL in a text of PostgreSQL."""
    return problem(
        request, 422, N_("A value holds characters that cannot be stored; correct and send it again.")
    )


async def unexpected(request: Request, error: Exception) -> Response:
    """Nothing of the inside leaves; the log has it under the request's id."""
    log.error("a request failed", path=request.url.path, method=request.method, exc_info=error)
    return problem(
        request, 500, N_("The hub failed on this request; its log has the cause under the request id.")
    )


Handler = Callable[[Request, Exception], Awaitable[Response]]
HANDLERS: dict[type[Exception], Handler] = {
    HubError: _hub_error,
    Unauthenticated: _unauthenticated,
    RequestValidationError: _not_valid,
    HTTPException: _http_error,
    UnicodeEncodeError: _not_storable,
    DataError: _not_storable,
    OSError: _os_error,
}


def install(app: FastAPI) -> None:
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
