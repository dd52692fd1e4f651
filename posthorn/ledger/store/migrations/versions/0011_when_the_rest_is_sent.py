"""When the rest of a delivery is sent by itself, and what it waits for until then."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "campaign",
        sa.Column("goes_on_for", sa.String(length=20), nullable=True, comment="what the rest of it waits for: hours"),
    )
    op.add_column(
        "campaign", sa.Column("goes_on_at", sa.Double(), nullable=True, comment="from when the rest is sent by itself")
    )


def downgrade() -> None:
    for name in ("goes_on_at", "goes_on_for"):
        op.drop_column("campaign", name)
