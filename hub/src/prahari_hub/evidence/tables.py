"""What footage there is, who asked for it, what came, what was sealed and to whom it was given.

The custody log is the audit log: every step of a request is a row of it under the subject ``request:<id>``, so it is append-only
and in the hash chain.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from prahari_hub.store.schema import BigId, Json, UtcDateTime, metadata

coverage_cameras = (
    Table(  # a number for each camera that ever reported, so that a state's millions of days stay small
        "coverage_cameras",
        metadata,
        Column("id", BigId, primary_key=True, autoincrement=True),
        Column("device_id", String, nullable=False),
        Column("camera", String, nullable=False),
        UniqueConstraint("device_id", "camera"),
    )
)

coverage_days = Table(
    "coverage_days",
    metadata,
    Column("camera_id", BigId, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since 1970-01-01, UTC
    Column("version", BigInteger, nullable=False),  # of the device's own account of the day
    Column("packed", LargeBinary, nullable=False),  # spans and gaps: see spans.py
    Column("pins", LargeBinary),  # heads of the day's chain that the device told of: see pins.py
    sqlite_with_rowid=False,
)

footage_requests = Table(
    "footage_requests",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("authority", String, nullable=False),
    Column("case_number", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("place", Json, nullable=False),  # kind and what it names, as it was asked
    Column("zone_id", String),  # of the place, for the figures
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),  # submitted, collecting, sealed, closed
    Column("submitted_by", String, nullable=False),
    Column("submitter", String, nullable=False),  # the person behind it, also where a token submitted
    Column("submitted_at", UtcDateTime, nullable=False),
    Column("decided_by", String),
    Column("decided_at", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False),  # what has not come by then will not come
    Column("outcome", String),  # fulfilled, partial, refused, impossible
    Column("reason", String),  # of a fixed list: why it is not fulfilled
    Column("note", String),
    Column("ended_at", UtcDateTime),
    Column("version", Integer, nullable=False),
    Index("ix_footage_requests_state_id", "state", "id"),
    Index("ix_footage_requests_submitted_at", "submitted_at"),
)

request_cameras = Table(
    "request_cameras",
    metadata,
    Column("request_id", ForeignKey("footage_requests.id", ondelete="CASCADE"), primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("camera", String, primary_key=True),
    Column("site_id", String),
    Column("asked_ms", BigInteger, nullable=False),  # how long the asked interval is
    Column("known_ms", BigInteger, nullable=False),  # how much of it was known to exist at submission
    Column("state", String, nullable=False),  # asked, preserving, sending, received, missing
    Column("reason", String),  # of the fixed list, where something is missing
    Column("note", String),
    Column("hold", String, nullable=False, unique=True),  # ULID of the hold on the device
    Column("hold_command", String),
    Column("release_command", String),
    Column("released_at", UtcDateTime),  # when the device said that it holds it no longer
    Column("sealed_ms", BigInteger, nullable=False, server_default="0"),
    Column("changed_at", UtcDateTime, nullable=False),
    Index("ix_request_cameras_state", "state"),
    Index("ix_request_cameras_device_id_camera", "device_id", "camera"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("request_id", ForeignKey("footage_requests.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("device_id", String, nullable=False),
    Column("camera", String, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),  # wanted, asked, coming, received, failed, off
    Column("command", String),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_at", UtcDateTime),
    Column("reason", String),
    Column("note", String),
    Column("manifest_sha256", String),  # the device's own account, in the object store
    Column("manifest_size", Integer),
    Column("pins", Json),  # heads that the hub had of its chains before: see pins.py
    Column("changed_at", UtcDateTime, nullable=False),
    Index("ix_transfers_state_id", "state", "id"),
)

evidence_segments = Table(  # files of a transfer that the device has announced
    "evidence_segments",
    metadata,
    Column("transfer", String, primary_key=True),
    Column("sha256", String, primary_key=True),
    Column("day", String, nullable=False),
    Column("position", Integer, nullable=False),  # in the chain of its day
    Column("size", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime),
    Index("ix_evidence_segments_sha256", "sha256"),
)

sealed_items = Table(
    "sealed_items",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("request_id", ForeignKey("footage_requests.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("sealed_at", UtcDateTime, nullable=False),
    Column("manifest", LargeBinary, nullable=False),  # the very bytes that were signed
    Column("manifest_sha256", String, nullable=False),
    Column("key", String, nullable=False),  # id of the hub's signing key
    Column("texts", Json, nullable=False),  # small files of the package by path, the seal among them
    Column("size", BigInteger, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("keep_until", UtcDateTime),  # a date that a person named, before the setting keep_sealed_days
    Column("deleted_at", UtcDateTime),  # its footage is gone, its manifest stays
)

redacted_copies = Table(  # films in which persons are hidden, drawn by the box
    "redacted_copies",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("request_id", ForeignKey("footage_requests.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("device_id", String, nullable=False),
    Column("camera", String, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("reason", String, nullable=False),
    Column("state", String, nullable=False),  # asked, coming, ready, failed, deleted
    Column("command", String, nullable=False),
    Column("note", String),
    Column("sha256", String),  # of the film, in the object store of footage
    Column("size", BigInteger),
    Column("texts", Json),  # the statement over it and the hub's signature
    Column("ended_at", UtcDateTime),
    Index("ix_redacted_copies_state", "state"),
)

release_links = Table(
    "release_links",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("request_id", ForeignKey("footage_requests.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("hash", String, nullable=False, unique=True),  # of the secret: a copy of the database opens none
    Column("recipient", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("most_uses", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("revoked_at", UtcDateTime),
)
