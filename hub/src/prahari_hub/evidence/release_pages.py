"""What somebody sees who was given a link: what it opens, and the package. No account is needed; the secret is in the address."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from sqlalchemy import Connection

from prahari_hub.errors import NotFound
from prahari_hub.evidence import release, requests, sealing
from prahari_hub.evidence.api import as_file
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page

router = APIRouter(prefix=release.PATH)
Secret = Annotated[str, Path(max_length=64)]


@router.get("/{secret}")
async def release_page(request: Request, secret: Secret) -> HTMLResponse:
    """Opening the page counts nothing: mail scanners do that too."""
    store = store_of(request)
    now = store.clock()

    def work(conn: Connection) -> dict[str, Any]:
        link = release.live(conn, secret, now)
        return {
            "link": link,
            "asked": requests.get(conn, link.request_id),
            "item": sealing.item_of(conn, link.request_id),
        }

    try:
        found = await store.read(work)
    except NotFound as error:
        return page(request, None, "evidence/release.html", status=404, error=error)
    return page(request, None, "evidence/release.html", error=None, secret=secret, **found)


@router.get("/{secret}/package")
async def release_package(request: Request, secret: Secret) -> StreamingResponse:
    address = request.client.host if request.client else "-"
    item = await store_of(request).write(lambda unit: release.opened(unit, secret, address))
    return as_file(request, item)
