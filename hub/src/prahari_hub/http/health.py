"""/healthz: the process answers. /readyz: it can do its work. /metrics: what it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.http.state import store_of

router = APIRouter(include_in_schema=False)
Probe = Callable[[], str | None]
"""None where the part is ready, else one sentence that says what is missing."""
Gauges = Callable[[Connection], None]
"""Sets gauges from the database, right before they are read."""
Sampler = Callable[[], Awaitable[None]]
"""Sets gauges from elsewhere."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    probes: Mapping[str, Probe] = request.app.state.probes
    missing = {name: reason for name, probe in probes.items() if (reason := probe()) is not None}
    try:
        await store_of(request).read(lambda conn: conn.execute(sa.select(1)).scalar_one())
    except (SQLAlchemyError, Unavailable):
        missing["store"] = "the database does not answer"
    body: dict[str, object] = {"status": "not ready" if missing else "ready", "missing": missing}
    held = {
        name: reason for name, notice in request.app.state.notices.items() if (reason := notice()) is not None
    }
    if held:
        body["held"] = held  # it serves all the same
    return JSONResponse(body, 503 if missing else 200)


@router.get("/metrics")
async def exposition(request: Request) -> Response:
    gauges: list[Gauges] = request.app.state.gauges
    samplers: list[Sampler] = request.app.state.samplers
    for sample in samplers:
        await sample()
    for gauge in gauges:
        await store_of(request).read(gauge)
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)
