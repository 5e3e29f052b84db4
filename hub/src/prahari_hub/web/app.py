"""The console's application: every slice's API routes below /api/v1, every slice's pages, static files.

A slice's ``api.router`` has paths below /api/v1, its ``pages.router`` whole paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from prahari_hub.access import api as access_api
from prahari_hub.access import pages as access_pages
from prahari_hub.access.authenticator import StoreAuthenticator
from prahari_hub.evidence import api as evidence_api
from prahari_hub.evidence import api_copies, api_keeping, pages_copies, release_pages, sheets
from prahari_hub.evidence import pages as evidence_pages
from prahari_hub.fleet import api as fleet_api
from prahari_hub.fleet import pages as fleet_pages
from prahari_hub.fleet import pages_live, pages_owner, pages_places, pages_rules
from prahari_hub.fleet.availability import api as availability_api
from prahari_hub.fleet.availability import pages as availability_pages
from prahari_hub.fleet.map import api as map_api
from prahari_hub.fleet.map import pages as map_pages
from prahari_hub.fleet.map.board import Board
from prahari_hub.fleet.map.dark import DarkPlaces
from prahari_hub.http import health, problems
from prahari_hub.http.health import Gauges, Probe, Sampler
from prahari_hub.http.limits import RateLimit
from prahari_hub.http.middleware import Guard
from prahari_hub.http.static import HashedFiles
from prahari_hub.http.stream import note_position
from prahari_hub.identity import api as identity_api
from prahari_hub.identity import pages as identity_pages
from prahari_hub.incidents import api as incidents_api
from prahari_hub.incidents import pages as incidents_pages
from prahari_hub.incidents.service import count_open
from prahari_hub.operations import api as operations_api
from prahari_hub.operations import pages as operations_pages
from prahari_hub.settings import Settings
from prahari_hub.signage import api as signage_api
from prahari_hub.signage import pages as signage_pages
from prahari_hub.store import Store
from prahari_hub.web import gauges
from prahari_hub.web import pages as web_pages

API_ROUTERS: tuple[APIRouter, ...] = (
    access_api.router,
    identity_api.router,
    fleet_api.router,
    availability_api.router,
    map_api.router,
    incidents_api.router,
    evidence_api.router,
    api_keeping.router,
    api_copies.router,
    signage_api.router,
    operations_api.router,
)
PAGE_ROUTERS: tuple[APIRouter, ...] = (
    web_pages.router,
    access_pages.router,
    identity_pages.router,
    fleet_pages.router,
    pages_places.router,
    pages_rules.router,
    pages_owner.router,
    pages_live.router,
    availability_pages.router,
    map_pages.router,
    incidents_pages.router,
    sheets.router,
    evidence_pages.router,
    pages_copies.router,
    release_pages.router,
    signage_pages.router,
    operations_pages.router,
)
STATIC = Path(__file__).parent / "static"
BODY_LIMITS = {
    "/api/v1/map": 512 * 1024 * 1024,
    "/map": 512 * 1024 * 1024,
    "/api/v1/blobs": 64 * 1024 * 1024,
    "/api/v1/topology": 64 * 1024 * 1024,
    "/topology/import": 64 * 1024 * 1024,
}
WRONG_PASSWORDS, WRONG_PASSWORDS_PER_S = 50, 1 / 60
"""Of one address, before it waits; a whole control room may stand behind one."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass
class Parts:
    """What the composition root gives: ``state`` holds further parts that routes look for in ``app.state``."""

    settings: Settings
    store: Store
    state: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    notices: dict[str, Probe] = field(default_factory=dict)
    gauges: list[Gauges] = field(default_factory=list)
    samplers: list[Sampler] = field(default_factory=list)


def console_app(parts: Parts) -> FastAPI:
    """The whole console on one port: pages, API, static files, health and metrics."""
    settings = parts.settings
    app = FastAPI(title="Prahari", version="1", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.store = parts.store
    app.state.authenticator = StoreAuthenticator(parts.store, secure=settings.cookie_secure)
    app.state.probes = parts.probes
    app.state.notices = parts.notices
    app.state.samplers = parts.samplers
    app.state.gauges = [count_open, gauges.presence, *parts.gauges]
    app.state.log_in_limit = RateLimit(WRONG_PASSWORDS, WRONG_PASSWORDS_PER_S)
    app.state.error_page = web_pages.error_page
    for name, part in parts.state.items():
        setattr(app.state, name, part)
    app.state.board = parts.state.get("board") or Board()
    app.state.dark_places = DarkPlaces()
    if feed := parts.state.get("feed"):
        feed.listen(app.state.board.on_changes)
    problems.install(app)
    app.router.routes.extend(_routes())
    if STATIC.is_dir():
        app.mount("/static", HashedFiles(STATIC), name="static")
    app.add_middleware(
        Guard,
        hosts={*settings.hosts, settings.listen, *LOCAL_HOSTS},
        limits=BODY_LIMITS,
        secure=settings.cookie_secure,
    )
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Shared by every console of this process: an application that includes routers looks at each of their signatures anew."""
    router = APIRouter()
    router.include_router(health.router)
    # to include the whole API would look at each of its signatures once more, and forget what it saw
    router.routes.extend(api_router().routes)
    router.add_api_route("/api/v1/openapi.json", document, include_in_schema=False)
    for each in PAGE_ROUTERS:
        router.include_router(each, include_in_schema=False, dependencies=[Depends(note_position)])
    return router.routes


def api_router() -> APIRouter:
    """All routes below /api/v1, each documented with the problems that it may answer."""
    api = APIRouter(prefix="/api/v1", responses=problems.RESPONSES)
    for router in API_ROUTERS:
        api.include_router(router)
    return api


def openapi(api: APIRouter) -> dict[str, Any]:
    """The OpenAPI document of the API, with the problem document and both ways to authenticate."""
    document = get_openapi(
        title="Prahari",
        version="1",
        description="The hub's API. Lists are keyset-paged; errors are RFC 9457 problem documents.",
        routes=api.routes,
    )
    components = document.setdefault("components", {})
    schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "an API token: prt_…"},
        "session": {"type": "apiKey", "in": "cookie", "name": "prahari_session"},
    }
    document["security"] = [{"token": []}, {"session": []}]
    return document


@cache
def document() -> dict[str, Any]:
    """``openapi`` of the API, made when somebody first asks."""
    return openapi(api_router())
