"""root cause"""

import sqlalchemy as sa
from alembic import op

from prahari_hub.store.schema import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHILDREN = ("incident_log", "notifications")


def upgrade() -> None:
    _places()
    aside = op.get_bind().dialect.name == "sqlite"
    if aside:
        _take_aside()
    with op.batch_alter_table("incidents") as batch:
        batch.alter_column("device_id", existing_type=sa.String(), nullable=True)
        batch.add_column(sa.Column("scope_type", sa.String(), server_default="device", nullable=False))
        batch.add_column(sa.Column("scope_id", sa.String(), nullable=True))
        batch.add_column(sa.Column("children", sa.Integer(), server_default="0", nullable=False))
        batch.add_column(sa.Column("parent_id", sa.String(), nullable=True))
        batch.add_column(sa.Column("hold", sa.String(), nullable=True))
        batch.add_column(sa.Column("hold_since", UtcDateTime(), nullable=True))
        batch.create_foreign_key("fk_incidents_parent_id", "incidents", ["parent_id"], ["id"])
        batch.create_index("ix_incidents_parent_id", ["parent_id"])
    if aside:
        _bring_back()
    op.create_table(
        "incident_children",
        sa.Column("incident_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("silent_since", UtcDateTime(), nullable=True),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_children_incident_id"),
        sa.PrimaryKeyConstraint("incident_id", "device_id", name="pk_incident_children"),
    )
    op.create_index("ix_incident_children_device", "incident_children", ["device_id", "left_at"])


def _places() -> None:
    op.create_table(
        "assets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("zone_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["assets.id"], name="fk_assets_parent_id"),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name="fk_assets_zone_id"),
        sa.PrimaryKeyConstraint("id", name="pk_assets"),
    )
    op.create_index("ix_assets_parent_id", "assets", ["parent_id"])
    op.create_index("ix_assets_zone_id", "assets", ["zone_id"])
    op.execute("ALTER TABLE sites ADD COLUMN asset_id VARCHAR CONSTRAINT fk_sites_asset_id REFERENCES assets (id)")
    op.create_index("ix_sites_asset_id", "sites", ["asset_id"])
    op.create_table(
        "windows",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("scope_type", sa.String(), nullable=False),
        sa.Column("scope_id", sa.String(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("cancelled_at", UtcDateTime(), nullable=True),
        sa.Column("followed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_windows"),
    )
    op.create_index("ix_windows_ends_at", "windows", ["ends_at"])


def _take_aside() -> None:
    """SQLite changes a column by copying its table, and dropping the old one must leave no row that refers to it."""
    for table in CHILDREN:
        op.execute(f"CREATE TABLE {table}_aside AS SELECT * FROM {table}")
        op.drop_table(table)


def _bring_back() -> None:
    op.create_table(
        "incident_log",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("incident_id", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("event_ulid", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_log_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_incident_log"),
    )
    op.create_index("ix_incident_log_incident_id", "incident_log", ["incident_id"])
    op.create_table(
        "notifications",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("incident_id", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), server_default="0", nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("took_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_notifications_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_due", "notifications", ["state", "due_at"])
    op.create_index("ix_notifications_incident_id", "notifications", ["incident_id"])
    for table in CHILDREN:
        op.execute(f"INSERT INTO {table} SELECT * FROM {table}_aside")
        op.drop_table(f"{table}_aside")
