"""Health and metrics of a process without a console: what it counts itself; what the database counts, the consoles tell."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from prahari_hub.http import health
from prahari_hub.http.health import Probe, Sampler
from prahari_hub.store import Store


def status_app(
    store: Store, probes: dict[str, Probe], notices: dict[str, Probe], samplers: Sequence[Sampler]
) -> FastAPI:
    """/healthz, /readyz and /metrics, for whoever reaches the port."""
    app = FastAPI(title="Prahari", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.store = store
    app.state.probes = probes
    app.state.notices = notices
    app.state.gauges = []
    app.state.samplers = list(samplers)
    app.include_router(health.router)
    return app
