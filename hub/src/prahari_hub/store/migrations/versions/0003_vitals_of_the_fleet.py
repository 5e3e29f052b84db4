"""vitals of the fleet"""

import sqlalchemy as sa
from alembic import op
from prahari_hub.store.schema import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vitals",
        sa.Column("cell", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cell", name=op.f("pk_vitals")),
    )
    op.create_table(
        "blind_spells",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blind_spells")),
    )
    op.create_index(op.f("ix_blind_spells_since"), "blind_spells", ["since"])
