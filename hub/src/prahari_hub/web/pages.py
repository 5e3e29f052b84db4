"""What belongs to no slice: the way in, the live feed, the error page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from prahari_hub.http import stream
from prahari_hub.http.problems import Problem
from prahari_hub.http.templates import page

router = APIRouter()
router.include_router(stream.router)


@router.get("/")
async def home() -> RedirectResponse:
    return RedirectResponse("/map", 303)


def error_page(request: Request, problem: Problem) -> Response:
    """``http.problems`` calls this where a browser asked for a page; it needs no account."""
    return page(request, None, "error.html", status=problem.status, problem=problem)
