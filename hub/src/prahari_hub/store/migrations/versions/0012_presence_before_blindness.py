"""presence before blindness"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """How a device was when the hub went blind, so that a restart meanwhile does not take a box that has long been dead for news."""
    op.add_column("devices", sa.Column("presence_before", sa.String(), nullable=True))
