"""What the hub notes about its own keeping."""

from sqlalchemy import BigInteger, Column, Table

from prahari_hub.store.schema import UtcDateTime, metadata

hub_sizes = Table(
    "hub_sizes",
    metadata,
    Column("at", UtcDateTime, primary_key=True),  # about once an hour
    Column("database_bytes", BigInteger, nullable=False),
    Column("free_bytes", BigInteger, nullable=False),  # on the disk of the home
)
