"""The newest time that the hub could trust."""

from sqlalchemy import Column, Integer, Table

from prahari_hub.store.schema import UtcDateTime, metadata

hub_clock = Table(
    "hub_clock",
    metadata,
    Column("id", Integer, primary_key=True),  # one row: 1
    Column("at", UtcDateTime, nullable=False),
)
