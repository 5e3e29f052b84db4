"""What displays should show beyond their playlist, and what they report."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from prahari_hub.store.schema import Json, UtcDateTime, metadata

displays = Table(
    "displays",
    metadata,
    Column("device_id", String, primary_key=True),
    Column("peripheral", String, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # of the newest set of overrides
    Column("confirmed_epoch", BigInteger, nullable=False, default=0),
    Column("bumped_at", UtcDateTime),  # when the newest epoch was made: leases count from then
    Column("sent", Integer, nullable=False, default=0),
    Column("sent_at", UtcDateTime),
    Column("next_send_at", UtcDateTime, index=True),  # until the display has confirmed the newest epoch
    Column("outcome", String),  # of the last override.state: applied, refused, ended
    Column("detail", String),
    Column("refused", Json),
    Column("active", Json),
    # the last display.shown
    Column("shown_source", String),
    Column("shown_item", String),
    Column("shown_class", Integer),
    Column("shown_epoch", BigInteger),
    Column("shown_text", String),
    Column("frame_sha256", String),
    Column("shown_at", UtcDateTime),
)

overrides = Table(
    "overrides",
    metadata,
    Column("id", String, primary_key=True),  # ULID
    Column("device_id", String, nullable=False),
    Column("peripheral", String, nullable=False),
    Column("class", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("lease_s", Integer, nullable=False),
    Column("content", Json, nullable=False),
    Column("reason", String, nullable=False),
    Column("issued_by", String, nullable=False),
    Column("cancelled_at", UtcDateTime),
    Column("cancelled_by", String),
    Column("ended_at", UtcDateTime),  # cancelled or expired: no longer in the set
    Index("ix_overrides_display", "device_id", "peripheral", "expires_at"),
)
