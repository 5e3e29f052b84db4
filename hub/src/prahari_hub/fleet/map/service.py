"""Map layers that a site brings: wards and roads as GeoJSON, or tiles in one PMTiles file.

The files lie in the hub's home as they came, named by their hash, so that parts of them can be read at any offset.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from prahari_wire.ids import ulid

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid
from prahari_hub.fleet.blobs import sync_folder
from prahari_hub.fleet.map import queries
from prahari_hub.fleet.map.queries import Layer
from prahari_hub.fleet.tables import map_layers
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_

PIECE = 256 * 1024
GEOJSON_LIMIT = 64 * 1024 * 1024
PMTILES_MAGIC = b"PMTiles\x03"
MOST_LAYERS = 20
TYPES = {"geojson": "application/geo+json", "pmtiles": "application/vnd.pmtiles"}


class Kept(NamedTuple):
    format: str
    sha256: str
    size: int


def keep(folder: Path, upload: BinaryIO) -> Kept:
    """Copy an upload to the folder under its hash; Invalid unless it is GeoJSON or PMTiles (version 3)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = folder / f"{ulid()}.part"
    try:
        digest, size = hashlib.sha256(), 0
        with unfinished.open("wb") as target:
            while piece := upload.read(PIECE):
                digest.update(piece)
                size += len(piece)
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        found = format_of(unfinished, size)
        unfinished.replace(folder / digest.hexdigest())
        sync_folder(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    return Kept(found, digest.hexdigest(), size)


def format_of(path: Path, size: int) -> str:
    with path.open("rb") as file:
        if file.read(len(PMTILES_MAGIC)) == PMTILES_MAGIC:
            return "pmtiles"
    if size > GEOJSON_LIMIT:
        raise Invalid(
            N_("A GeoJSON layer has at most {mib} MiB; make PMTiles of a larger one."),
            ("file", "smaller"),
            mib=GEOJSON_LIMIT // 2**20,
        )
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        document = None
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise Invalid(
            N_("The file is neither a GeoJSON FeatureCollection nor a PMTiles archive of version 3."),
            ("file", "GeoJSON or PMTiles"),
        )
    return "geojson"


def add(unit: Unit, actor: Actor, kept: Kept, *, name: str, source: str) -> Layer:
    """``source`` says whose data it is; the map shows it in its corner."""
    name, source = name.strip(), source.strip()
    if not name or not source:
        raise Invalid(
            N_("A layer needs a name and a source: whose data it is, as the map will show it."),
            ("name" if not name else "source", "1 to 120 characters"),
        )
    if len(queries.layers(unit.conn)) >= MOST_LAYERS:
        raise Conflict(N_("There are {most} map layers already; remove one first."), most=MOST_LAYERS)
    layer = ulid()
    unit.conn.execute(
        map_layers.insert().values(id=layer, name=name, source=source, at=unit.now, **kept._asdict())
    )
    record(unit, actor, "map-layer.add", f"map-layer:{layer}", detail={"name": name, "sha256": kept.sha256})
    return queries.layer(unit.conn, layer)


def remove(unit: Unit, actor: Actor, layer_id: str, folder: Path) -> None:
    """Take a layer off the map; its file goes too unless another layer has the same."""
    gone = queries.layer(unit.conn, layer_id)
    unit.conn.execute(map_layers.delete().where(map_layers.c.id == layer_id))
    record(unit, actor, "map-layer.remove", f"map-layer:{layer_id}", detail={"name": gone.name})
    if all(other.sha256 != gone.sha256 for other in queries.layers(unit.conn)):
        unit.after(lambda: (folder / gone.sha256).unlink(missing_ok=True))
