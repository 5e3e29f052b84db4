"""Gauges that are read from the store and the home when /metrics is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.fleet.tables import commands, twins
from prahari_hub.identity import certificates as issued
from prahari_hub.incidents import queries as incidents
from prahari_hub.operations import queries, sizes
from prahari_hub.operations.doctor import machine, network
from prahari_hub.settings import Settings
from prahari_hub.signage.tables import displays

DUE = {
    "twin": twins.c.next_send_at,
    "command": commands.c.next_send_at,
    "override": displays.c.next_send_at,
}


def of(settings: Settings, clock: Callable[[], datetime]) -> list[Callable[[Connection], None]]:
    """Functions for ``Parts.gauges``."""

    def room(conn: Connection) -> None:
        found = sizes.room(settings, conn)
        metrics.DATABASE_BYTES.set(found.database)
        metrics.DISK_FREE_BYTES.set(found.free)
        metrics.DISK_DAYS.set(math.nan if found.days is None else found.days)

    def certificates(conn: Connection) -> None:
        for name, end in network.ends(settings.home).items():
            if end is not None:
                metrics.CERTIFICATE_END.labels(name).set(end.timestamp())
        found = issued.horizon(conn, clock(), network.DEVICES_SOON)
        counts = {"expired": found.expired, "soon": found.soon}
        counts["good"] = found.devices - found.expired - found.soon
        for state, count in counts.items():
            metrics.DEVICE_CERTIFICATES.labels(state).set(count)

    def due(conn: Connection) -> None:
        for channel, column in DUE.items():
            count = conn.scalar(sa.select(sa.func.count()).where(column <= clock()))
            metrics.OUTGOING_DUE.labels(channel).set(count or 0)
        metrics.OUTGOING_DUE.labels("call").set(incidents.calls_due(conn, clock())[0])

    def backup(conn: Connection) -> None:
        kept = queries.backups(conn).kept
        metrics.BACKUP_AT.set(0 if kept is None else kept.timestamp())

    def kernel(_conn: Connection) -> None:
        told = machine.synchronised()
        metrics.CLOCK_SYNCHRONISED.set(math.nan if told is None else told)

    return [room, certificates, due, backup, kernel]
