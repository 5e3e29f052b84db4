"""The map's data below /api/v1: where devices stand, and the layers that a site brings."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel

from prahari_hub.errors import NotFound
from prahari_hub.fleet.map import queries, service, views
from prahari_hub.fleet.map.board import Board
from prahari_hub.fleet.map.clusters import Box
from prahari_hub.fleet.map.dark import DarkPlaces
from prahari_hub.fleet.map.views import MapDark, MapDevices, MapView
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.texts import N_

router = APIRouter(tags=["map"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Admin = Annotated[Actor, Depends(require())]
Name = Annotated[str, Form(min_length=1, max_length=120)]
BOX = r"^(-?\d{1,3}(\.\d{1,15})?(,-?\d{1,3}(\.\d{1,15})?){3})?$"


class LayerOut(BaseModel):
    """``data`` is the address of the file; it answers ranges."""

    id: str
    name: str
    format: Literal["geojson", "pmtiles"]
    source: str
    sha256: str
    size: int
    at: datetime
    data: str


class LayerList(BaseModel):
    items: list[LayerOut]
    next: None = None


@router.get("/map/devices")
async def map_devices(
    request: Request,
    actor: Reader,
    ids: Annotated[str, Query(max_length=20_000, description="ids with commas; all if left out")] = "",
) -> MapDevices:
    wanted = ids.split(",") if ids else []
    found = await store_of(request).read(lambda conn: queries.columns(conn, wanted))
    return MapDevices.model_validate(found)


@router.get("/map/view")
async def map_view(
    request: Request,
    actor: Reader,
    zoom: Annotated[float, Query(ge=0, le=24)] = 4,
    box: Annotated[
        str, Query(pattern=BOX, description="west,south,east,north in degrees; everything if left out")
    ] = "",
    abnormal: Annotated[bool, Query(description="only what is not normal")] = False,
) -> MapView:
    """Groups and single devices in and around a window, so that no browser ever gets a whole state."""
    window, board = _box(box), board_of(request)
    return await store_of(request).read(
        lambda conn: views.window(conn, board, window, zoom, abnormal=abnormal)
    )


@router.get("/map/dark")
async def map_dark(
    request: Request,
    actor: Reader,
    zoom: Annotated[float, Query(ge=0, le=24)] = 4,
    box: Annotated[
        str, Query(pattern=BOX, description="west,south,east,north in degrees; everything if left out")
    ] = "",
) -> MapDark:
    """Where cameras see little or no light by night; up to ten minutes old."""
    window, board = _box(box), board_of(request)
    places: DarkPlaces = request.app.state.dark_places
    return await store_of(request).read(lambda conn: views.dark(conn, board, places, window, zoom))


@router.get("/map-layers")
async def list_layers(request: Request, actor: Reader) -> LayerList:
    found = await store_of(request).read(queries.layers)
    return LayerList(items=[_out(layer) for layer in found])


@router.post("/map-layers", status_code=201)
async def add_layer(
    request: Request, actor: Admin, name: Name, source: Name, file: Annotated[UploadFile, File()]
) -> LayerOut:
    """Upload GeoJSON (a FeatureCollection) or PMTiles. ``source`` says whose data it is."""
    kept = await asyncio.to_thread(service.keep, folder_of(request), file.file)
    made = await store_of(request).write(
        lambda unit: service.add(unit, actor, kept, name=name, source=source)
    )
    return _out(made)


@router.delete("/map-layers/{layer_id}", status_code=204)
async def remove_layer(request: Request, actor: Admin, layer_id: str) -> None:
    folder = folder_of(request)
    await store_of(request).write(lambda unit: service.remove(unit, actor, layer_id, folder))


@router.get(
    "/map-layers/{layer_id}/data",
    response_class=FileResponse,
    responses={206: {"description": "Partial Content"}, 416: {"description": "Range Not Satisfiable"}},
)
async def layer_data(request: Request, actor: Reader, layer_id: str) -> FileResponse:
    """The file itself; a Range gives a part of it."""
    layer = await store_of(request).read(lambda conn: queries.layer(conn, layer_id))
    path = folder_of(request) / layer.sha256
    if not path.is_file():
        raise NotFound(
            N_("The file of the map layer {name!r} is missing; remove the layer and upload it again."),
            name=layer.name,
        )
    headers = {"Cache-Control": "private, max-age=86400", "ETag": f'"{layer.sha256}"'}
    return FileResponse(path, media_type=service.TYPES[layer.format], headers=headers)


def _box(text: str) -> Box | None:
    return Box(*map(float, text.split(","))) if text else None


def board_of(request: Request) -> Board:
    board: Board = request.app.state.board
    return board


def folder_of(request: Request) -> Path:
    home: Path = request.app.state.settings.home
    return home / "map-layers"


def _out(layer: queries.Layer) -> LayerOut:
    return LayerOut.model_validate({**asdict(layer), "data": f"/api/v1/map-layers/{layer.id}/data"})
