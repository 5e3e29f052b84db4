"""Every operation of the API under generated input: no 5xx, no undocumented status or content, no answer off its schema."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from http.cookiejar import DefaultCookiePolicy

import av
import hypothesis
import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase
from prahari_hub.evidence.sealing import Sealer
from prahari_hub.evidence.tables import evidence_segments, footage_requests, redacted_copies, transfers
from prahari_hub.fleet import registry, twins
from prahari_hub.fleet.blobs import FOOTAGE, write_durably
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.served import Serves, serve
from prahari_hub.fleet.tables import live_views
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.signer import Signer, key_id
from prahari_hub.signage import displays
from prahari_hub.store import Unit
from prahari_hub.web.app import document
from prahari_wire.display import DisplayConfig
from prahari_wire.events import parse_body
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.form import LONG
from tests.hub.web.operations import OPERATIONS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 4 if LONG else 2
LONGEST_QUERY = 2000
PARTS = ("headers", "cookies", "query", "body", "media_type", "multipart_content_types")
PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
SHA = hashlib.sha256(PNG).hexdigest()
SIGN = Desired(peripherals={"sign1": DisplayConfig()})
TEXT = {"type": "text", "text": "WADA"}
TO_BE_FOUND = [pair for pair in OPERATIONS if "{" in pair[1] and pair[0] in ("get", "delete")]


@pytest.fixture(scope="module")
def headers(console) -> dict[str, str]:
    return {"authorization": f"Bearer {console.token(Role.ADMIN)}"}


@pytest.fixture(scope="module")
def city(console, headers) -> Iterator[City]:
    found = City(console)
    found.asking = found.client.get("/api/v1/me", headers=headers).json()["name"]
    yield found
    found.client.close()
    found.session.close()


class City:
    """Names of things that are there: ``known`` makes a fresh one where a test may remove it."""

    def __init__(self, console) -> None:
        self.console = console
        self.client = console.client(Role.ADMIN)
        self.session = requests.Session()
        self.session.trust_env = False  # to look for proxies takes a tenth of an answer
        self.session.cookies.set_policy(
            DefaultCookiePolicy(allowed_domains=[])
        )  # no answer adds to the next request
        self.asking = ""
        console.store.write_sync(self._display)
        self.client.put(f"/api/v1/blobs/{SHA}", content=PNG).raise_for_status()
        self.makers = {
            "token_id": lambda: self._post("tokens", name="t", role="auditor")["id"],
            "claim_id": lambda: self._post("claims", device="pune-cam-01")["id"],
            "command": lambda: self._post("devices/pune-cam-01/commands", name="agent.restart")["id"],
            "zone": lambda: self._post("zones", id=_fresh(), name="Z")["id"],
            "site": lambda: self._post("sites", id=_fresh(), name="S", lat=18.5, lon=73.8)["id"],
            "asset": self._asset,
            "window": self._window,
            "layer_id": self._layer,
            "incident": self.console.incident,
            "override": self._override,
            "request_id": self._request,
            "camera": lambda: "front",
            "link": self._link,
            "view": self._view,
            "copy_id": self._copy,
            "display": lambda: "pune-vms-01:sign1",
            "peripheral": lambda: "sign1",
            "device": lambda: "pune-cam-01",
            "device_id": lambda: "pune-cam-01",
            "name": lambda: "the-operator",
            "sha256": lambda: SHA,
        }

    def known(self, names: set[str]) -> dict[str, str]:
        found = {name: self.makers[name]() for name in sorted(names)}
        if {"link", "copy_id"} & set(found):
            found["request_id"] = self.linked
        return found | ({"device": "pune-vms-01"} if "peripheral" in names else {})

    def _display(self, unit: Unit) -> None:
        registry.create_device(unit, system("test"), "pune-vms-01", site="wada")
        twins.put(unit, system("test"), "pune-vms-01", SIGN, if_version=0)
        serve(unit, "pune-vms-01", Serves({"sign1": "display"}, {}))
        said = {"source": "safe", "class": 0, "epoch": 0, "frame_sha256": SHA}
        body = parse_body("display.shown", said)
        now = unit.now
        fact = Fact("pune-vms-01", "wada", "sign1", "display", "display.shown", body, now, False, ulid(), now)
        displays.shown(unit, fact)

    def _asset(self) -> str:
        asset = _fresh()
        answer = self.client.put(f"/api/v1/assets/{asset}", json={"kind": "feeder", "name": "F"})
        return answer.raise_for_status().json()["id"]

    def _window(self) -> str:
        wanted = {"kind": "maintenance", "scope_type": "site", "scope_id": "wada", "reason": "works"}
        begins = datetime.now(UTC) + timedelta(days=1)
        ends = begins + timedelta(hours=2)
        return self._post("windows", **wanted, starts_at=begins.isoformat(), ends_at=ends.isoformat())["id"]

    def _override(self) -> str:
        wanted = {"class": 5, "reason": "works", "minutes": 5, "content": TEXT}
        return self._post("overrides", display="pune-vms-01:sign1", **wanted)["id"]

    def _request(self) -> str:
        """A sealed one, with one second of one camera in it."""
        ends = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
        begins = ends - timedelta(minutes=5)
        wanted = {"authority": "Police", "case_number": "FIR 1", "purpose": "theft"}
        times = {"starts_at": begins.isoformat(), "ends_at": ends.isoformat()}
        place = {"kind": "site", "site": "wada"}
        made: str = self._post("evidence/requests", **wanted, **times, place=place)["summary"]["id"]
        self.console.store.write_sync(lambda unit: self._seal(unit, made, int(begins.timestamp() * 1000)))
        return made

    def _seal(self, unit: Unit, request: str, start_ms: int) -> None:
        decided = {"decided_by": "the-admin", "decided_at": unit.now}
        unit.conn.execute(footage_requests.update().where(footage_requests.c.id == request).values(decided))
        film = second_of_film()
        sha256 = hashlib.sha256(film).hexdigest()
        write_durably(self.console.home / FOOTAGE / sha256[:2] / sha256, film)
        transfer, at = ulid(), {"starts_at": unit.now, "ends_at": unit.now, "changed_at": unit.now}
        of = {"request_id": request, "device_id": "pune-cam-01", "camera": "front", "state": "received"}
        sent = {"manifest_sha256": sha256, "manifest_size": len(film)}
        unit.conn.execute(transfers.insert().values(id=transfer, **of, **sent, **at))
        place = {"transfer": transfer, "day": f"{unit.now:%Y-%m-%d}", "position": 1, "stored_at": unit.now}
        times = {"start_ms": start_ms, "end_ms": start_ms + 1000}
        unit.conn.execute(evidence_segments.insert().values(sha256=sha256, size=len(film), **place, **times))
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes_raw()
        Sealer("Pune", b"", Signer(key_id(raw), key, {key_id(raw): raw})).seal(unit, request)

    def _link(self) -> str:
        self.linked = self._request()
        return self._post(f"evidence/requests/{self.linked}/links", recipient="Inspector Kulkarni")["id"]

    def _copy(self) -> str:
        """A copy of a sealed request whose film is here."""
        self.linked, copy, now = self._request(), ulid(), datetime.now(UTC)
        film = second_of_film()
        row = {
            "id": copy,
            "request_id": self.linked,
            "device_id": "pune-cam-01",
            "camera": "front",
            "starts_at": now,
        }
        row |= {"ends_at": now, "asked_by": "the-admin", "asked_at": now, "reason": "press", "state": "ready"}
        row |= {
            "command": ulid(),
            "sha256": hashlib.sha256(film).hexdigest(),
            "size": len(film),
            "texts": {"copy.json": "{}"},
        }
        self.console.store.write_sync(lambda unit: unit.conn.execute(redacted_copies.insert().values(row)))
        return copy

    def _view(self) -> str:
        """A live view of whoever asks in the tests, with a picture."""
        view, now = ulid(), datetime.now(UTC)
        row = {
            "id": view,
            "device_id": "pune-cam-01",
            "camera": "front",
            "reason": "a quarrel",
            "command": ulid(),
        }
        row |= {
            "started_by": self.asking,
            "started_at": now,
            "ends_at": now + timedelta(minutes=1),
            "picture": PNG,
        }
        self.console.store.write_sync(lambda unit: unit.conn.execute(live_views.insert().values(row)))
        return view

    def _layer(self) -> str:
        form = {"name": "Roads", "source": "PMC"}
        file = {"file": ("layer", b'{"type": "FeatureCollection", "features": []}')}
        return self.client.post("/api/v1/map-layers", data=form, files=file).raise_for_status().json()["id"]

    def _post(self, path: str, **body) -> dict:
        answer = self.client.post(f"/api/v1/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json().get("claim", answer.json())


@cache
def second_of_film() -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as out:
        stream = out.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return target.getvalue()


def _fresh() -> str:
    return f"x{ulid().lower()}"


@cache
def operation_of(method: str, path: str) -> APIOperation:
    return _schema()[path][method.upper()]


@cache
def _schema() -> BaseSchema:
    return schemathesis.openapi.from_dict(document())


@cache
def drawn(method: str, path: str, mode: GenerationMode) -> tuple[Case, ...]:
    """What to ask of an operation, the same of either store: to draw it takes five times as long as to ask it."""
    found: list[Case] = []

    @hypothesis.seed(0)
    @hypothesis.given(case=operation_of(method, path).as_strategy(mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def draw(case: Case) -> None:
        # the server itself refuses an address of more than 64 KiB, before the application sees it
        hypothesis.assume(len(str(case.query)) < LONGEST_QUERY)
        found.append(case)

    # nothing can be wrong where nothing can be sent
    with suppress(hypothesis.errors.Unsatisfiable):
        draw()
    return tuple(found)


def test_every_operation_is_tried() -> None:
    documented = [(method, path) for path, methods in document()["paths"].items() for method in methods]
    assert sorted(OPERATIONS) == sorted(documented)


@pytest.mark.parametrize(("method", "path"), TO_BE_FOUND, ids=[f"{m} {p}" for m, p in TO_BE_FOUND])
def test_what_is_there_is_answered_as_documented(console, city, headers, method: str, path: str) -> None:
    operation = operation_of(method, path)
    known = city.known({parameter.name for parameter in operation.path_parameters})
    case = operation.Case(path_parameters=known)
    answer = case.call(base_url=console.url, headers=headers, session=city.session)
    case.validate_response(answer, checks=CHECKS)
    assert 200 <= answer.status_code < 300, answer.text


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_an_operation_answers_as_documented(console, city, headers, method: str, path: str) -> None:
    operation = operation_of(method, path)
    right, wrong = (drawn(method, path, mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    for case in (*right, *wrong):
        _ask(_copy(operation, case, case.path_parameters), city, headers)
    if names := {parameter.name for parameter in operation.path_parameters}:
        known = city.known(names)
        for case in right:
            _ask(_copy(operation, case, known), city, headers)


def _copy(operation: APIOperation, case: Case, path_parameters: dict[str, str]) -> Case:
    """To be asked once: what is sent adds to a case."""
    parts = {name: deepcopy(part) for name in PARTS if (part := getattr(case, name)) is not NOT_SET}
    return operation.Case(path_parameters=dict(path_parameters), **parts)


def _ask(case: Case, city: City, headers: dict[str, str]) -> None:
    answer = case.call(base_url=city.console.url, headers=headers, session=city.session)
    case.validate_response(answer, checks=CHECKS)
