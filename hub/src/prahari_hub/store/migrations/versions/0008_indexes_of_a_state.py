"""what is asked all the time of a state's devices and incidents"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The list's counts, and which incidents of a kind are open or wait: read from indexes, since the rows are hundreds of megabytes."""
    op.create_index(
        "ix_devices_presence_health_state_service", "devices", ["presence", "health_state", "service"]
    )
    op.create_index("ix_devices_service", "devices", ["service"])
    op.create_index("ix_incidents_kind", "incidents", ["kind", "resolved_at"])
    op.create_index("ix_incidents_hold", "incidents", ["hold"])
