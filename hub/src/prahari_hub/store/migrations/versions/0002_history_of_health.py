"""history of health"""

import sqlalchemy as sa
from alembic import op
from prahari_hub.store.schema import Json, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KINDS = ("up_s", "down_s", "unknown_s", "planned_s", "maintenance_s")


def upgrade() -> None:
    for name in ("health_buckets", "health_hours", "health_days", "health_months"):
        rolled: list[sa.Column[bool]] = [sa.Column("rolled", sa.Boolean(), nullable=False)] if name == "health_hours" else []
        op.create_table(
            name,
            sa.Column("start", UtcDateTime(), nullable=False),
            sa.Column("cell", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("packed", sa.LargeBinary(), nullable=False),
            *rolled,
            sa.PrimaryKeyConstraint("start", "cell", name=op.f(f"pk_{name}")),
        )
    op.create_index("ix_health_hours_rolled_start", "health_hours", ["rolled", "start"])
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("vendor", sa.String(), nullable=True))
        devices.add_column(sa.Column("model", sa.String(), nullable=True))
        devices.add_column(sa.Column("counted_from", UtcDateTime(), nullable=True))
    op.drop_index(op.f("ix_transitions_device_id"), "transitions")
    op.create_index("ix_transitions_device_at", "transitions", ["device_id", "at"])
    availability()


def availability() -> None:
    op.create_table(
        "availability_closed",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("plain", Json, nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_availability_closed")),
    )
    op.create_table(
        "availability_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        *[sa.Column(kind, sa.Integer(), nullable=False) for kind in KINDS],
        sa.PrimaryKeyConstraint("day", "device_id", name=op.f("pk_availability_days")),
    )
    op.create_table(
        "availability_months",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        *[sa.Column(kind, sa.Integer(), nullable=False) for kind in KINDS],
        sa.PrimaryKeyConstraint("month", "device_id", name=op.f("pk_availability_months")),
    )
    op.create_index("ix_availability_months_month_down_s", "availability_months", ["month", "down_s"])
    op.create_table(
        "availability_sums",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("zone_id", sa.String(), nullable=False),
        sa.Column("vendor", sa.String(), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        *[sa.Column(kind, sa.BigInteger(), nullable=False) for kind in KINDS],
        sa.PrimaryKeyConstraint("day", "zone_id", "vendor", name=op.f("pk_availability_sums")),
    )
