"""Incidents on two axes (active or cleared; unacknowledged or acknowledged), their log and their notifications."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table

from prahari_hub.store.schema import Json, UtcDateTime, metadata

incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("key", String, nullable=False),  # repeats with the same key join the open incident
    Column("kind", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("rank", Integer, nullable=False),  # of the severity, 0 highest: sorts
    Column("device_id", ForeignKey("devices.id")),  # none of an outage, which is of a place
    Column("peripheral", String),
    Column("site_id", String),
    Column("title", String, nullable=False),
    Column("detail", Json, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    Column("cleared_at", UtcDateTime),
    Column("acked_at", UtcDateTime),
    Column("acked_by", String),
    Column("round", Integer, nullable=False, server_default="0"),  # how often it lost its acknowledgement
    Column(
        "waits_since", UtcDateTime
    ),  # when it lost it last; escalation counts from then, else from opened_at
    Column("resolved_at", UtcDateTime),
    Column("resolved_by", String),
    Column("assignee", String),
    Column("snapshot", String),
    Column("version", Integer, nullable=False, default=1),
    Column("scope_type", String, nullable=False, server_default="device"),  # device, site, asset, zone, fleet
    Column("scope_id", String),  # of the place
    Column("children", Integer, nullable=False, server_default="0"),  # devices that it holds now
    Column("parent_id", ForeignKey("incidents.id"), index=True),  # the incident that took this one in
    Column("hold", String),  # why escalation waits: the id of a window, or maintenance
    Column("hold_since", UtcDateTime),
    Index("ix_incidents_open_key", "key", "resolved_at"),
    Index("ix_incidents_queue", "resolved_at", "rank", "opened_at"),
    Index("ix_incidents_device", "device_id", "opened_at"),
    Index("ix_incidents_kind", "kind", "resolved_at"),
    Index("ix_incidents_hold", "hold"),
)

incident_children = Table(
    "incident_children",
    metadata,
    Column("incident_id", ForeignKey("incidents.id"), primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("silent_since", UtcDateTime),
    Column("joined_at", UtcDateTime, nullable=False),
    Column("left_at", UtcDateTime),
    Index("ix_incident_children_device", "device_id", "left_at"),
)

incident_log = Table(
    "incident_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident_id", ForeignKey("incidents.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String, nullable=False),
    Column(
        "action", String, nullable=False
    ),  # opened, repeated, cleared, acknowledged, assigned, commented, resolved, told
    Column("text", String),
    Column("event_ulid", String),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident_id", ForeignKey("incidents.id"), nullable=False, index=True),
    Column("round", Integer, nullable=False, server_default="0"),  # of the incident
    Column("step", Integer, nullable=False),
    Column("channel", String, nullable=False),  # webhook, mail
    Column("target", String, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),  # waiting, sent, failed, dropped
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", String),
    Column("took_s", Float),
    Index("ix_notifications_due", "state", "due_at"),
)
