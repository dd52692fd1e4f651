"""Pushed news: the ids of replaced attempts, and when parked news says that its message was delivered."""

import re

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
    _fill_replaced_ids()
    known = sa.text("replaced_id IS NOT NULL")
    op.create_index("ix_settlement_replaced_id", "settlement", ["replaced_id"], sqlite_where=known, postgresql_where=known)
    op.add_column("parked_report", sa.Column("delivered_at", sa.Double(), nullable=True))


def _fill_replaced_ids() -> None:
    """Of tickets that were sent again before, the evidence ends in ``; was accepted as <id>``."""
    connection = op.get_bind()
    resent = connection.execute(sa.text("SELECT id, evidence FROM settlement WHERE decision = 'resend'")).all()
    for row in resent:
        found = re.search(r"; was [a-z_]+ as (?!no id$)(.{1,64})$", row.evidence)
        if found:
            update = sa.text("UPDATE settlement SET replaced_id = :replaced WHERE id = :id")
            connection.execute(update, {"replaced": found[1], "id": row.id})


def downgrade() -> None:
    op.drop_column("parked_report", "delivered_at")
    op.drop_index("ix_settlement_replaced_id", table_name="settlement")
    op.drop_column("settlement", "replaced_id")
