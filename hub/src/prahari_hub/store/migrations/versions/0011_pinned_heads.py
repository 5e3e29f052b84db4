"""pinned heads"""

import sqlalchemy as sa
from alembic import op

from prahari_hub.store.schema import Json

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Heads of chains that boxes told of, beside the coverage of the day; those that an account was held against, beside the transfer."""
    op.add_column("coverage_days", sa.Column("pins", sa.LargeBinary(), nullable=True))
    op.add_column("transfers", sa.Column("pins", Json, nullable=True))
