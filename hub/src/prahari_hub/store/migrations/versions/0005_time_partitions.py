"""time partitions"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LONG_LIVED = ("events", "transitions", "refusals")
"""32 bits number 2,147,483,647 rows: at 200 events a second they last for four months."""
PARTITIONED = {
    "transitions": ("at", "id, at", {"ix_transitions_device_at": "device_id, at"}),
    "health_hours": ("start", "start, cell", {"ix_health_hours_rolled_start": "rolled, start"}),
    "health_days": ("start", "start, cell", {}),
}


def upgrade() -> None:
    """On PostgreSQL alone: numbers of 64 bits, and tables that grow with time in partitions of time."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in LONG_LIVED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id TYPE BIGINT")
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS BIGINT")
    for table, (column, key, indexes) in PARTITIONED.items():
        _partition(table, column, key, indexes)


def _partition(table: str, column: str, key: str, indexes: dict[str, str]) -> None:
    """What stands becomes the partition of everything that has no other: nothing is copied."""
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_rest")
    op.execute(f"ALTER TABLE {table}_rest DROP CONSTRAINT pk_{table}")
    for index in indexes:
        op.execute(f"DROP INDEX {index}")
    op.execute(f"CREATE TABLE {table} (LIKE {table}_rest INCLUDING DEFAULTS) PARTITION BY RANGE ({column})")
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_rest DEFAULT")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({key})")
    for index, columns in indexes.items():
        op.execute(f"CREATE INDEX {index} ON {table} ({columns})")
    if table in LONG_LIVED:
        op.execute(f"ALTER SEQUENCE {table}_id_seq OWNED BY {table}.id")
