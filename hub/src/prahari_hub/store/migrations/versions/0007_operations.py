"""operations"""

import sqlalchemy as sa
from alembic import op

from prahari_hub.store.schema import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sizes over time, for the disk's horizon; bytes that devices uploaded, by day."""
    op.create_table(
        "hub_sizes",
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("database_bytes", sa.BigInteger(), nullable=False),
        sa.Column("free_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_hub_sizes")),
    )
    op.create_table(
        "upload_days",
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "day", name=op.f("pk_upload_days")),
    )
