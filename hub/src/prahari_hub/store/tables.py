"""What several processes of the hub agree on through the database."""

from sqlalchemy import BigInteger, Column, String, Table

from prahari_hub.store.schema import UtcDateTime, metadata

leases = Table(
    "leases",
    metadata,
    Column(
        "name", String(100), primary_key=True
    ),  # partition/0 … partition/15, scheduler, worker/<group>/<holder>
    Column("holder", String(64), nullable=False),  # of one start of one process; empty when nobody holds it
    Column("epoch", BigInteger, nullable=False),  # counts the times that it passed to somebody
    Column("until", UtcDateTime, nullable=False),
)
