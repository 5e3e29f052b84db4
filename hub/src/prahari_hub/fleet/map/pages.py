"""The map, and the page where an admin uploads its layers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import HTMLResponse

from prahari_hub.errors import HubError
from prahari_hub.fleet.map import queries, service, views
from prahari_hub.fleet.map.api import board_of, folder_of
from prahari_hub.fleet.stand import Stand
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.language import locale_of, translate
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.http.words import WORDS

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]
Admin = Annotated[Actor, Depends(require())]
Name = Annotated[str, Form(max_length=120)]


@router.get("/map")
async def map_page(request: Request, actor: Reader) -> HTMLResponse:
    layers = await store_of(request).read(queries.layers)
    locale = locale_of(request, actor)
    words = {str(state): translate(locale, WORDS["state"][str(state)]) for state in Stand}
    items = [{name: asdict(layer)[name] for name in ("id", "name", "format", "source")} for layer in layers]
    bounds = views.bounds_held(board_of(request))
    return page(
        request, actor, "map/map.html", layers=items, states=list(Stand), state_words=words, bounds=bounds
    )


@router.get("/map-layers")
async def layers_page(request: Request, actor: Admin) -> HTMLResponse:
    return await _layers(request, actor)


@router.post("/map-layers")
async def add_layer(
    request: Request, actor: Admin, file: Annotated[UploadFile, File()], name: Name = "", source: Name = ""
) -> HTMLResponse:
    async def add() -> None:
        kept = await asyncio.to_thread(service.keep, folder_of(request), file.file)
        await store_of(request).write(lambda unit: service.add(unit, actor, kept, name=name, source=source))

    return await _layers(request, actor, add)


@router.post("/map-layers/{layer_id}/remove")
async def remove_layer(request: Request, actor: Admin, layer_id: str) -> HTMLResponse:
    folder = folder_of(request)

    async def remove() -> None:
        await store_of(request).write(lambda unit: service.remove(unit, actor, layer_id, folder))

    return await _layers(request, actor, remove)


async def _layers(
    request: Request, actor: Actor, work: Callable[[], Awaitable[None]] | None = None
) -> HTMLResponse:
    error: HubError | None = None
    if work is not None:
        try:
            await work()
        except HubError as refused:
            error = refused
    items = await store_of(request).read(queries.layers)
    return page(request, actor, "map/layers.html", status=422 if error else 200, items=items, error=error)
