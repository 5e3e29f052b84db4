"""Zones, sites, devices, peripherals, twins, commands, events and what was refused."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from prahari_hub.store.schema import BigId, Json, UtcDateTime, metadata

zones = Table(
    "zones",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("parent_id", ForeignKey("zones.id")),
)

sites = Table(
    "sites",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("zone_id", ForeignKey("zones.id"), index=True),
    Column("lat", Float, nullable=False),
    Column("lon", Float, nullable=False),
    Column("asset_id", ForeignKey("assets.id"), index=True),  # the cabinet, switch or feeder that it hangs on
    Index("ix_sites_lat_lon", "lat", "lon"),  # what stands near a point
)

assets = Table(
    "assets",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),  # cabinet, switch, feeder
    Column("name", String, nullable=False),
    Column("parent_id", ForeignKey("assets.id"), index=True),
    Column("zone_id", ForeignKey("zones.id"), index=True),
)

windows = Table(
    "windows",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("kind", String, nullable=False),  # planned_power, maintenance
    Column("scope_type", String, nullable=False),  # device, site, asset, zone
    Column("scope_id", String, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False, index=True),
    Column("reason", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("cancelled_at", UtcDateTime),  # before it began: it never counted
    Column("followed_at", UtcDateTime),  # when what was still silent after its end was looked for
)

devices = Table(
    "devices",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String),
    Column("site_id", ForeignKey("sites.id"), index=True),
    Column(
        "service", String, nullable=False, server_default="registered"
    ),  # registered, active, maintenance, retired
    Column("created_at", UtcDateTime, nullable=False),
    Column("vendor", String),
    Column("model", String),
    Column("counted_from", UtcDateTime),  # first online: availability counts from here on
    # presence, by the hub's clock
    Column("presence", String, nullable=False, server_default="unknown"),  # online, suspect, offline, unknown
    Column("presence_since", UtcDateTime),
    Column("presence_before", String),  # while it is unknown because the hub was blind: how it was before
    Column("last_seen", UtcDateTime),
    Column("born_at", UtcDateTime),
    # the current session and what the last birth said
    Column("boot", String),
    Column("conn", BigInteger),
    Column("clock", String),
    Column("clock_offset_ms", Float),
    Column("birth", Json),
    Column("heartbeat_s", Integer),  # of the applied twin
    # the last heartbeat
    Column(
        "health_state", String, nullable=False, server_default="unknown"
    ),  # worst of its checks: ok, warn, fail, unknown
    Column("health", Json),
    Index("ix_devices_presence_id", "presence", "id"),
    Index("ix_devices_presence_health_state_service", "presence", "health_state", "service"),
    Index("ix_devices_service", "service"),
)

peripherals = Table(
    "peripherals",
    metadata,
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String, primary_key=True),
    Column("type", String, nullable=False),
    Column("name", String),
    Column("state", String, nullable=False, server_default="unknown"),
    Column("faults", Json, nullable=False),
    Column("note", String),
    Column("updated_at", UtcDateTime, nullable=False),
)

twins = Table(
    "twins",
    metadata,
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("document", Json, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", String, nullable=False),
    Column("reported_version", BigInteger),
    Column("applied_version", BigInteger),
    Column("reported_outcome", String),
    Column("reported_errors", Json),
    Column("reported_at", UtcDateTime),
    Column("sent", Integer, nullable=False, default=0),
    Column("next_send_at", UtcDateTime, index=True),  # until the device has reported on this version
)

twin_history = Table(
    "twin_history",
    metadata,
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("document", Json, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("args", Json, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("idempotency", String, nullable=False),
    Column("safe", Boolean, nullable=False),
    Column("issued_by", String, nullable=False),
    Column("state", String, nullable=False),
    Column("state_at", UtcDateTime, nullable=False),
    Column("sent", Integer, nullable=False, default=0),
    Column("next_send_at", UtcDateTime),
    Column("result", Json),
    Column("error", String),
    Index("ix_commands_device_issued", "device_id", "issued_at"),
    Index("ix_commands_state_next", "state", "next_send_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("ulid", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("journal", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("peripheral", String),
    Column("at", UtcDateTime, nullable=False),
    Column("mono_ms", BigInteger, nullable=False),
    Column("boot", String, nullable=False),
    Column("conn", BigInteger, nullable=False),
    Column("clock", String, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("body", Json, nullable=False),
    UniqueConstraint("device_id", "journal", "seq"),
    Index("ix_events_device_received", "device_id", "received_at"),
    sqlite_autoincrement=True,
)

journals = Table(
    "journals",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("journal", String, primary_key=True),
    Column("upto", BigInteger, nullable=False),
    Column("beyond", Json, nullable=False),  # closed ranges above upto, sorted
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("device_id", String, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("channel", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("journal", String),
    Column("seq", BigInteger),
    Column("ulid", String),
    Column(
        "payload", LargeBinary
    ),  # events whole, of other messages the first kilobytes, for whoever repairs the sender
)

refusal_counts = Table(
    "refusal_counts",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("device_id", String, nullable=False),
    Column("peripheral", String),
    Column("kind", String, nullable=False),  # presence, service, clone
    Column("before", String, nullable=False),
    Column("after", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("detail", String),
    Index("ix_transitions_device_at", "device_id", "at"),
    sqlite_autoincrement=True,
    info={"partition": ("at", "month")},
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

vitals = Table(  # what heartbeats said last, of a cell's devices: see vitals.py
    "vitals",
    metadata,
    Column("cell", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)

blind_spells = Table(  # when the hub heard no device of a partition, or of any: nobody can tell how they were
    "blind_spells",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("partition", Integer),
    Column("since", UtcDateTime, nullable=False, index=True),
    Column("until", UtcDateTime),
)

health_blocks = Table(
    "health_blocks",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)


def _packed(name: str, *more: Column[Any] | Index, **how: Any) -> Table:
    """Health of one cell of devices from ``start`` on: fleet/history/tiers.py says how the tiers follow from each other."""
    return Table(
        name,
        metadata,
        Column("start", UtcDateTime, primary_key=True),
        Column("cell", Integer, primary_key=True, autoincrement=False),
        Column("packed", LargeBinary, nullable=False),
        *more,
        **how,
    )


health_buckets = _packed("health_buckets")
health_hours = _packed(
    "health_hours",
    Column("rolled", Boolean, nullable=False),  # into its day and month
    Index("ix_health_hours_rolled_start", "rolled", "start"),
    info={"partition": ("start", "day")},
)
health_days = _packed("health_days", info={"partition": ("start", "month")})
health_months = _packed("health_months")


def _seconds(kind: type[Integer] = Integer) -> list[Column[int]]:
    names = ("up_s", "down_s", "unknown_s", "planned_s", "maintenance_s")
    return [Column(name, kind, nullable=False) for name in names]


availability_closed = Table(
    "availability_closed",
    metadata,
    Column("day", Date, primary_key=True),  # of the city's time zone
    Column("after", String, nullable=False),  # the last device that has been closed
    Column("plain", Json, nullable=False),  # by partition: of a device that was online throughout
    Column("closed_at", UtcDateTime),  # null while it is being closed
)

availability_days = Table(  # device-days that differ from the plain one
    "availability_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("device_id", String, primary_key=True),
    *_seconds(),
)

availability_months = Table(  # the sum of a device's rows in availability_days
    "availability_months",
    metadata,
    Column("month", Date, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("days", Integer, nullable=False),
    *_seconds(),
    Index("ix_availability_months_month_down_s", "month", "down_s"),
)

availability_sums = Table(
    "availability_sums",
    metadata,
    Column("day", Date, primary_key=True),
    Column("zone_id", String, primary_key=True),  # of the site; empty without one
    Column("vendor", String, primary_key=True),  # empty without one
    Column("devices", Integer, nullable=False),
    *_seconds(BigInteger),
)

live_views = Table(  # the newest picture alone is kept, and only while somebody watches
    "live_views",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("device_id", String, nullable=False),
    Column("camera", String, nullable=False),
    Column("started_by", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("command", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("pictures", Integer, nullable=False, server_default="0"),
    Column("picture", LargeBinary),
    Index("ix_live_views_ended_at", "ended_at"),
)

expected_uploads = Table(
    "expected_uploads",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Column("size", BigInteger),
    Column("named_by", String, nullable=False),  # the event or command that announced it
    Column("at", UtcDateTime, nullable=False),
    Column("stored_at", UtcDateTime),
)

granted_files = Table(
    "granted_files",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Column("until", UtcDateTime, nullable=False),  # a device may fetch what its overrides and commands name
)

upload_days = Table(
    "upload_days",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("day", Date, primary_key=True),  # UTC
    Column("bytes", BigInteger, nullable=False),
)

map_layers = Table(
    "map_layers",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("format", String, nullable=False),  # geojson, pmtiles
    Column("source", String, nullable=False),  # whose data it is: shown in the map's corner
    Column("sha256", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
