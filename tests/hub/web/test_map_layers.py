"""Map layers: uploaded by an admin, served by parts, refused when they are neither GeoJSON nor PMTiles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from prahari_hub.http.actor import Role
from prahari_hub.http.problems import DISK_FULL
from prahari_hub.main import spool_in

ROADS = {"type": "FeatureCollection", "features": []}
TILES = b"PMTiles\x03" + bytes(range(256)) * 8


def upload(client: httpx.Client, content: bytes, **form: str) -> httpx.Response:
    data = {"name": "Roads", "source": "Pune Municipal Corporation"} | form
    return client.post("/api/v1/map-layers", data=data, files={"file": ("layer", content)})


def test_a_layer_is_listed_served_whole_and_by_parts_and_removed(console: Any) -> None:
    with console.client(Role.ADMIN) as client:
        made = upload(client, TILES)
        assert made.status_code == 201, made.text
        layer = made.json()
        assert (layer["format"], layer["size"]) == ("pmtiles", len(TILES))
        assert layer["id"] in [one["id"] for one in client.get("/api/v1/map-layers").json()["items"]]
        assert client.get(layer["data"]).content == TILES
        part = client.get(layer["data"], headers={"Range": "bytes=8-15"})
        assert (part.status_code, part.content) == (206, bytes(range(8)))
        assert part.headers["content-range"] == f"bytes 8-15/{len(TILES)}"
        beyond = client.get(layer["data"], headers={"Range": "bytes=99999-"})
        assert beyond.status_code == 416
        assert client.delete(f"/api/v1/map-layers/{layer['id']}").status_code == 204
        assert client.get(layer["data"]).status_code == 404


def test_two_layers_of_the_same_file_keep_it_until_both_are_gone(console: Any) -> None:
    content = json.dumps(ROADS).encode()
    with console.client(Role.ADMIN) as client:
        first, second = upload(client, content).json(), upload(client, content, name="Again").json()
        client.delete(f"/api/v1/map-layers/{first['id']}")
        assert client.get(second["data"]).json() == ROADS
        client.delete(f"/api/v1/map-layers/{second['id']}")


@pytest.mark.parametrize(
    "content",
    [b"", b"<svg/>", b"[]", b'{"type": "Feature"}', b"PMTiles\x01old", b"[" * 100_000],
    ids=["empty", "svg", "list", "one-feature", "old-pmtiles", "deep"],
)
def test_what_is_no_map_is_refused_in_one_sentence(console: Any, content: bytes) -> None:
    with console.client(Role.ADMIN) as client:
        answer = upload(client, content)
    assert answer.status_code == 422
    assert "GeoJSON" in answer.json()["detail"]


def test_a_layer_needs_a_source(console: Any) -> None:
    with console.client(Role.ADMIN) as client:
        answer = upload(client, json.dumps(ROADS).encode(), source="  ")
    assert answer.status_code == 422
    assert "whose data" in answer.json()["detail"]


def test_only_an_admin_uploads_and_removes(console: Any) -> None:
    with console.client(Role.OPERATOR) as client:
        assert upload(client, TILES).status_code == 403
        assert client.delete("/api/v1/map-layers/any").status_code == 403
    with console.client() as client:
        assert client.get("/api/v1/map-layers").status_code == 401


def test_the_map_gets_devices_as_columns(console: Any) -> None:
    with console.client(Role.AUDITOR) as client:
        found = client.get("/api/v1/map/devices", params={"ids": "pune-cam-01,no-such"}).json()
    assert found == {
        "id": ["pune-cam-01"],
        "name": ["Wada camera"],
        "site": ["Shaniwar Wada"],
        "state": ["unknown"],
        "lat": [1852000],
        "lon": [7385000],
    }


def test_a_window_of_the_map_holds_what_stands_in_it(console: Any) -> None:
    with console.client(Role.AUDITOR) as client:
        here = client.get("/api/v1/map/view", params={"box": "73.8,18.5,73.9,18.6", "zoom": 12}).json()
        elsewhere = client.get("/api/v1/map/view", params={"box": "77,12,78,13", "zoom": 12}).json()
        wrong = client.get("/api/v1/map/view", params={"box": "73.8,18.5"})
    assert (here["seen"], here["devices"]["id"], here["worst"]["id"]) == (1, ["pune-cam-01"], ["pune-cam-01"])
    assert here["bounds"] == [7385000, 1852000, 7385000, 1852000]
    assert (elsewhere["seen"], elsewhere["devices"]["id"]) == (0, [])
    assert wrong.status_code == 422


@pytest.mark.parametrize("path", ["/api/v1/map-layers", "/map-layers"], ids=["api", "page"])
def test_an_upload_that_no_longer_fits_on_the_disk_is_said_so(
    console: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(
        tempfile,
        "TemporaryFile",
        lambda *_, **__: Path("/dev/full").open("r+b", buffering=0),  # noqa: SIM115
    )
    client, csrf = console.sign_in("the-admin")
    with client:
        fields = {"name": "Roads", "source": "PMC", "csrf": csrf}
        headers = {"x-csrf-token": csrf} if path.startswith("/api") else {}
        files = {"file": ("layer", TILES * 1000)}
        answer = client.post(path, data=fields, files=files, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (503, DISK_FULL)


def test_large_uploads_are_spooled_in_the_hubs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    spool_in(tmp_path)
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent == tmp_path / "spool"


def test_the_page_says_what_the_devices_cover_so_that_the_map_begins_there_at_once(console: Any) -> None:
    with console.client(Role.OPERATOR) as client:
        bounds = client.get("/api/v1/map/view").json()["bounds"]
        page = client.get("/map", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert f'data-bounds="{json.dumps(bounds)}"' in page.text


def test_dark_places_are_empty_where_no_camera_has_told_of_a_night(console: Any) -> None:
    with console.client(Role.AUDITOR) as client:
        here = client.get("/api/v1/map/dark", params={"box": "73.8,18.5,73.9,18.6", "zoom": 12})
        wrong = client.get("/api/v1/map/dark", params={"box": "73.8"})
        page = client.get("/map", headers={"Accept": "text/html"})
    found = here.json()
    assert (here.status_code, found["told"], found["seen"], found["darkest"]["id"]) == (200, 0, 0, [])
    assert wrong.status_code == 422
    assert "Dark places" in page.text
    with console.client() as stranger:
        assert stranger.get("/api/v1/map/dark").status_code == 401
