"""Make the hub know the demo's city, through its API alone; what is there already stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from prahari_wire.twin import document_bytes

from prahari_provisioning.demo.site import SITES, ZONES, Device
from prahari_provisioning.errors import ProvisioningError

STREETS = Path(__file__).parent / "streets.geojson"
STREETS_NAME = "Central Pune (demo, drawn for Prahari)"


def ensure_city(api: httpx.Client) -> None:
    for zone in ZONES:
        _create(api, "/zones", {"id": zone.id, "name": zone.name})
    for site in SITES:
        body = {"id": site.id, "name": site.name, "zone": site.zone, "lat": site.lat, "lon": site.lon}
        _create(api, "/sites", body)


def ensure_streets(api: httpx.Client) -> None:
    """Upload the street map as an admin of a real city uploads theirs."""
    layers = _json(api.get("/map-layers"))["items"]
    if any(layer["name"] == STREETS_NAME for layer in layers):
        return
    with STREETS.open("rb") as data:
        files = {"file": (STREETS.name, data, "application/geo+json")}
        answer = api.post("/map-layers", data={"name": STREETS_NAME, "source": "Prahari demo"}, files=files)
    answer.raise_for_status()


def ensure_device(api: httpx.Client, device: Device, wanted: Path) -> None:
    """Register the device and give it its twin.

    ``wanted`` is a folder that remembers what the demo last asked for: what an operator changed since then stays.
    """
    _create(api, "/devices", {"id": device.id, "name": device.name, "site": device.site})
    document = document_bytes(device.desired)
    remembered = wanted / f"{device.id}.json"
    if remembered.exists() and remembered.read_bytes() == document:
        return
    etag = checked(api.get(f"/devices/{device.id}/twin")).headers["ETag"]
    headers = {"If-Match": etag, "Content-Type": "application/json"}
    checked(api.put(f"/devices/{device.id}/twin", content=document, headers=headers))
    remembered.write_bytes(document)


def presence(api: httpx.Client) -> dict[str, str]:
    """Presence by device id, of the first page: the demo's own devices sort before a swarm's."""
    return {item["id"]: item["presence"] for item in _json(api.get("/devices"))["items"]}


def _create(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = api.post(path, json=body)
    if answer.status_code != httpx.codes.CONFLICT:
        checked(answer)


def _json(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = checked(answer).json()
    return found


def checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise ProvisioningError(
            f"the hub refused {answer.request.method} {answer.request.url.path}: {answer.text[:500]}"
        )
    return answer
