"""What belongs to no slice: the way in, the live feed, the error page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from prahari_hub.http import stream
from prahari_hub.http.actor import Role
from prahari_hub.http.auth import READERS, Authenticator
from prahari_hub.http.problems import Problem
from prahari_hub.http.templates import page

router = APIRouter()
router.include_router(stream.router)


@router.get("/")
async def home(request: Request) -> Response:
    """To the map, and for who may not see it a page that says so."""
    authenticator: Authenticator = request.app.state.authenticator
    actor = await authenticator.actor(request)
    if actor is None or actor.role is Role.ADMIN or actor.role in READERS:
        return RedirectResponse("/map", 303)
    return page(request, actor, "nothing.html")


def error_page(request: Request, problem: Problem) -> Response:
    """``http.problems`` calls this where a browser asked for a page; it needs no account."""
    return page(request, None, "error.html", status=problem.status, problem=problem)
