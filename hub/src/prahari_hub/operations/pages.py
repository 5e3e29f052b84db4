"""The hub's own page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.language import locale_of, translate
from prahari_hub.http.templates import page
from prahari_hub.operations.api import looked_at
from prahari_hub.operations.doctor.findings import Finding

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]


@router.get("/hub")
async def hub_page(request: Request, actor: Reader) -> HTMLResponse:
    """What the doctor's quick checks find and the figures of this moment; the page asks again by itself."""
    locale = locale_of(request, actor)

    def said(finding: Finding) -> str:
        return finding.said(lambda text: translate(locale, text))

    def advice(finding: Finding) -> str | None:
        return finding.advice(lambda text: translate(locale, text))

    found = await looked_at(request)
    return page(request, actor, "operations/hub.html", hub=found, said=said, advice=advice)
