"""Approvals of campaigns before their first send; when a campaign's numbers were erased."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column(
            "content",
            sa.String(length=64),
            nullable=False,
            comment="hash of what was shown; other content needs another approval",
        ),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column(
            "flow_run_id",
            sa.String(length=36),
            nullable=True,
            comment="the paused flow run that waits for it, if one does",
        ),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=True),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_approval_campaign_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_campaign_id"), "approval", ["campaign_id"])
    op.add_column(
        "campaign",
        sa.Column("erased_at", sa.Double(), nullable=True, comment="when its numbers were erased; the counts stay"),
    )


def downgrade() -> None:
    op.drop_column("campaign", "erased_at")
    op.drop_index(op.f("ix_approval_campaign_id"), table_name="approval")
    op.drop_table("approval")
