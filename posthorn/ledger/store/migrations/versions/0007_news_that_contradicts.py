"""Pushed news: who pushed it, when it says it happened, and how it contradicts the message whose id it names."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("parked_report", sa.Column("gateway", sa.String(length=40), nullable=True))
    op.add_column(
        "parked_report",
        sa.Column("happened_at", sa.Double(), nullable=True, comment="when it happened, by the news itself"),
    )
    op.add_column(
        "parked_report",
        sa.Column(
            "contradicts",
            sa.String(length=40),
            nullable=True,
            comment="what does not fit the message that has its id; such news is never applied",
        ),
    )


def downgrade() -> None:
    op.drop_column("parked_report", "contradicts")
    op.drop_column("parked_report", "happened_at")
    op.drop_column("parked_report", "gateway")
