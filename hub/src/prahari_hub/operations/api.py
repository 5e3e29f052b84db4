"""GET /api/v1/hub: is the hub well?"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from prahari_hub.errors import Unavailable
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.operations import overview
from prahari_hub.operations.overview import Overview
from prahari_hub.texts import N_

router = APIRouter(tags=["hub"])
Reader = Annotated[Actor, Depends(require(*READERS))]


class FindingOut(BaseModel):
    """``do`` says what a person does about it."""

    subject: str
    level: Literal["ok", "warn", "fail"]
    said: str
    do: str | None


class FiguresOut(BaseModel):
    """Of the process that answers, but for database and disk. Rates are null until it was asked twice, 5 s apart.

    ``database_elsewhere``: on PostgreSQL the database is on a disk that the hub does not see, and ``days_left`` is null.
    """

    heartbeats_s: float | None
    events_s: float | None
    waiting: int
    lag_s: float
    dropped: int
    writes_waiting: int
    broker_connections: int
    browsers: int
    memory_mib: float
    database_bytes: int
    database_a_day: float | None
    database_elsewhere: bool
    free_bytes: int
    days_left: float | None


class ProcessOut(BaseModel):
    id: str
    partitions: int
    schedules: bool
    until: datetime


class HubOut(BaseModel):
    """``level`` is the worst of the findings; ``ingests``: the process that answers hears devices itself."""

    level: Literal["ok", "warn", "fail"]
    ingests: bool
    findings: list[FindingOut]
    figures: FiguresOut
    processes: list[ProcessOut]


@router.get("/hub")
async def get_hub(request: Request, _actor: Reader) -> HubOut:
    """Whether the hub is well, in sentences and figures."""
    found = await looked_at(request)
    return HubOut.model_validate(
        {
            "level": str(found.level),
            "ingests": found.ingests,
            "findings": [finding.as_json() for finding in found.findings],
            "figures": vars(found.figures),
            "processes": [vars(process) for process in found.processes],
        }
    )


async def looked_at(request: Request) -> Overview:
    """The overview for one request; Unavailable where the database does not answer."""
    state = request.app.state
    for sample in state.samplers:
        await sample()
    notices = {name: probe() for name, probe in {**state.probes, **state.notices}.items()}
    try:
        return await asyncio.to_thread(overview.take, state.settings, store_of(request), notices=notices)
    except OSError as error:
        raise Unavailable(N_("the hub's home cannot be read: {strerror}"), strerror=error.strerror) from error
