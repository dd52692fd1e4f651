"""Pushed news: the ids of replaced attempts, and when parked news says that its message was delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "settlement",
        sa.Column(
            "replaced_id",
            sa.String(length=64),
            nullable=True,
            comment="the provider's id of the attempt that is replaced: news of it is old",
        ),
    )
    known = sa.text("replaced_id IS NOT NULL")
    op.create_index("ix_settlement_replaced_id", "settlement", ["replaced_id"], sqlite_where=known, postgresql_where=known)
    op.add_column("parked_report", sa.Column("delivered_at", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("parked_report", "delivered_at")
    op.drop_index("ix_settlement_replaced_id", table_name="settlement")
    op.drop_column("settlement", "replaced_id")
