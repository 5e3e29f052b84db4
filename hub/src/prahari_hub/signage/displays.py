"""Displays: what each one reports, and what it should show by the rule that both ends share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Refused, validate
from prahari_wire.display import DisplayConfig, Override, Shown, ShownSource
from prahari_wire.playback import Item, plan
from sqlalchemy import Connection

from prahari_hub.errors import NotFound
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import devices, expected_uploads, peripherals, sites, twins
from prahari_hub.signage import overrides
from prahari_hub.signage.tables import displays
from prahari_hub.store import Unit
from prahari_hub.texts import N_

SLACK = timedelta(seconds=20)
"""How far behind a display's report may be before it counts as wrong: the way, the drawing, the turn of an item."""


@dataclass(frozen=True)
class Reported:
    """The last display.shown."""

    source: str
    item: str | None
    cls: int
    epoch: int
    text: str | None
    frame_sha256: str
    frame_stored: bool
    at: datetime


@dataclass(frozen=True)
class Display:
    """``agrees`` is None while nobody can tell: nothing reported, or the device is not online."""

    device: str
    peripheral: str
    name: str | None
    device_name: str | None
    site_id: str | None
    site_name: str | None
    presence: str
    state: str
    faults: list[str]
    config: DisplayConfig | None
    shown: Reported | None
    should: Item | None
    agrees: bool | None
    epoch: int
    confirmed_epoch: int
    outcome: str | None
    detail: str | None
    refused: dict[str, str]
    overrides: list[Override] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"{self.device}:{self.peripheral}"

    @property
    def confirmed(self) -> bool:
        return self.confirmed_epoch >= self.epoch


def shown(unit: Unit, fact: Fact) -> None:
    """display.shown; one that is older than what is known changes nothing."""
    body = fact.body
    assert isinstance(body, Shown)
    if fact.peripheral is None or not overrides.is_display(unit.conn, fact.device, fact.peripheral):
        return
    overrides.ensure(unit, fact.device, fact.peripheral)
    where = (displays.c.device_id == fact.device) & (displays.c.peripheral == fact.peripheral)
    known = unit.conn.execute(sa.select(displays.c.shown_at, displays.c.shown_epoch).where(where)).one()
    if fact.late and known.shown_at is not None and fact.at <= known.shown_at:
        return
    unit.conn.execute(
        displays.update()
        .where(where)
        .values(
            shown_source=str(body.source),
            shown_item=body.item,
            shown_class=body.cls,
            shown_epoch=body.epoch,
            shown_text=body.text,
            frame_sha256=body.frame_sha256,
            shown_at=fact.at,
        )
    )
    unit.tell("displays", id=f"{fact.device}:{fact.peripheral}", frame=body.frame_sha256)


def _query() -> sa.Select[Any]:
    stored = (
        sa.select(expected_uploads.c.stored_at)
        .where(
            expected_uploads.c.device_id == displays.c.device_id,
            expected_uploads.c.sha256 == displays.c.frame_sha256,
        )
        .scalar_subquery()
    )
    return (
        sa.select(
            peripherals.c.device_id,
            peripherals.c.id.label("peripheral"),
            peripherals.c.name,
            peripherals.c.state,
            peripherals.c.faults,
            devices.c.name.label("device_name"),
            devices.c.presence,
            devices.c.site_id,
            sites.c.name.label("site_name"),
            twins.c.document,
            *(column for column in displays.c if column.name not in ("device_id", "peripheral")),
            stored.label("frame_stored_at"),
        )
        .join(devices, devices.c.id == peripherals.c.device_id)
        .outerjoin(sites, sites.c.id == devices.c.site_id)
        .outerjoin(twins, twins.c.device_id == devices.c.id)
        .outerjoin(
            displays,
            (displays.c.device_id == peripherals.c.device_id) & (displays.c.peripheral == peripherals.c.id),
        )
        .where(peripherals.c.type == "display")
    )


def list_displays(
    conn: Connection, now: datetime, *, after: tuple[str, str] | None = None, limit: int = 50
) -> list[Display]:
    """By device and peripheral; ``after`` is the last one of the page before."""
    query = _query()
    if after is not None:
        query = query.where(
            sa.or_(
                peripherals.c.device_id > after[0],
                (peripherals.c.device_id == after[0]) & (peripherals.c.id > after[1]),
            )
        )
    query = query.order_by(peripherals.c.device_id, peripherals.c.id).limit(limit)
    return [_display(conn, row._mapping, now) for row in conn.execute(query).all()]


def get(conn: Connection, display: str, now: datetime) -> Display:
    """By ``device:peripheral``, or by the device's id if it serves one display."""
    device, colon, peripheral = display.partition(":")
    query = _query().where(peripherals.c.device_id == device)
    if colon:
        query = query.where(peripherals.c.id == peripheral)
    rows = conn.execute(query.limit(2)).all()
    if len(rows) != 1:
        if rows:
            raise NotFound(
                N_("{device} serves several displays; name one as device:peripheral"), device=device
            )
        raise NotFound(N_("there is no display {display}"), display=display)
    return _display(conn, rows[0]._mapping, now)


def _display(conn: Connection, row: Any, now: datetime) -> Display:
    device, peripheral = row["device_id"], row["peripheral"]
    config = _config(row["document"], peripheral)
    in_force = overrides.active(conn, device, peripheral)
    reported = _reported(row)
    return Display(
        device=device,
        peripheral=peripheral,
        name=row["name"],
        device_name=row["device_name"],
        site_id=row["site_id"],
        site_name=row["site_name"],
        presence=row["presence"],
        state=row["state"],
        faults=list(row["faults"]),
        config=config,
        shown=reported,
        should=plan(config, now, in_force) if config else None,
        agrees=_agrees(config, in_force, reported, now) if row["presence"] == "online" else None,
        epoch=row["epoch"] or 0,
        confirmed_epoch=row["confirmed_epoch"] or 0,
        outcome=row["outcome"],
        detail=row["detail"],
        refused=dict(row["refused"] or {}),
        overrides=in_force,
    )


def _config(document: Any, peripheral: str) -> DisplayConfig | None:
    found = (document or {}).get("peripherals", {}).get(peripheral)
    if not found or found.get("type") != "display":
        return None
    try:
        return validate(DisplayConfig, found)
    except Refused:
        return None


def _reported(row: Any) -> Reported | None:
    if row["shown_at"] is None:
        return None
    return Reported(
        source=row["shown_source"],
        item=row["shown_item"],
        cls=row["shown_class"],
        epoch=row["shown_epoch"],
        text=row["shown_text"],
        frame_sha256=row["frame_sha256"],
        frame_stored=row["frame_stored_at"] is not None,
        at=row["shown_at"],
    )


def _agrees(
    config: DisplayConfig | None, in_force: list[Override], reported: Reported | None, now: datetime
) -> bool | None:
    """Whether the report is what the rule gives now or gave within SLACK; of a playlist any item will do."""
    if config is None or reported is None:
        return None
    before = [item for item in in_force if item.issued_at <= now - SLACK]
    wanted = {_what(plan(config, now, in_force)), _what(plan(config, now - SLACK, before))}
    return (reported.source, reported.item if reported.source == ShownSource.OVERRIDE else None) in wanted


def _what(item: Item) -> tuple[str, str | None]:
    return str(item.source), item.id if item.source is ShownSource.OVERRIDE else None
