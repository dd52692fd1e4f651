"""Waves that go one after the other, and what halted a delivery."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "campaign",
        sa.Column("open_wave", sa.Integer(), nullable=True, comment="waves above it are not claimed; null: all may be"),
    )
    op.add_column(
        "campaign",
        sa.Column("halted_because", sa.Text(), nullable=True, comment="what went wrong with a wave: a person has to decide"),
    )


def downgrade() -> None:
    for name in ("halted_because", "open_wave"):
        op.drop_column("campaign", name)
