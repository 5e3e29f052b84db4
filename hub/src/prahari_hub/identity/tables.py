"""Claims and certificates."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from prahari_hub.store.schema import UtcDateTime, metadata

claims = Table(
    "claims",
    metadata,
    Column("id", String, primary_key=True),  # the eight public characters of the token
    Column("secret_hmac", String, nullable=False),
    Column("device_id", String, nullable=False, index=True),
    Column("state", String, nullable=False),  # issued, bound, used, expired, revoked, locked
    Column("purpose", String, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("pubkey_sha256", String),
    Column("bound_at", UtcDateTime),
    Column("serial", String),
    Column("created_by", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String, primary_key=True),  # lower-case hex
    Column("device_id", String, nullable=False, index=True),
    Column("pubkey_sha256", String, nullable=False, index=True),
    Column("state", String, nullable=False),  # next (not yet connected), current, superseded, revoked
    Column("not_before", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("reason", String),
    Column("pem", Text, nullable=False),
    Index("ix_certificates_device_state", "device_id", "state"),
)

nonces = Table(
    "nonces",
    metadata,
    Column("nonce", String, primary_key=True),
    Column("expires_at", UtcDateTime, nullable=False),
)
