"""Chunks are found by their campaign: those of one campaign need not be neighbours."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_chunk_campaign_id", "chunk", ["campaign_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_chunk_campaign_id", table_name="chunk")
