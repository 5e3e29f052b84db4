"""The application behind device HTTPS (8443): enrolment, and what other slices mount for devices that are in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from prahari_hub.http import problems
from prahari_hub.http.limits import RateLimit
from prahari_hub.identity import est
from prahari_hub.identity.service import Identity

BURST, PER_S = 600, 5.0
"""A depot enrols hundreds of boxes behind one address; guessing a secret of 120 bits needs rather more tries."""


def device_app(
    identity: Identity, *routers: APIRouter, limit: RateLimit | None = None, **state: Any
) -> FastAPI:
    """EST and what else devices ask. Every route of ``routers`` depends on ``peer.client_device``; ``state`` is put into app.state."""
    app = FastAPI(title="Prahari device HTTPS", version="1", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.identity = identity
    app.state.store = identity.store
    app.state.enrolment_limit = limit or RateLimit(BURST, PER_S)
    for name, part in state.items():
        setattr(app.state, name, part)
    problems.install(app)
    for router in (est.router, *routers):
        app.include_router(router)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app
