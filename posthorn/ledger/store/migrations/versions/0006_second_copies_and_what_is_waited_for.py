"""Second copies, each with its evidence; and what a campaign waits for, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "second_copy",
        sa.Column("provider_id", sa.String(length=64), primary_key=True, comment="of a copy that no message accounts for"),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("chunk_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="as the provider said last"),
        sa.Column("found_at", sa.Double(), nullable=False),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
    )
    op.create_index("ix_second_copy_campaign_id", "second_copy", ["campaign_id"])
    op.add_column(
        "campaign",
        sa.Column(
            "waiting_for", sa.String(length=20), nullable=True, comment="what goes on by itself at waiting_until: last_look"
        ),
    )
    op.add_column("campaign", sa.Column("waiting_until", sa.Double(), nullable=True))
    op.add_column(
        "campaign",
        sa.Column("copies_sought_at", sa.Double(), nullable=True, comment="when second copies were last looked for"),
    )


def downgrade() -> None:
    for name in ("copies_sought_at", "waiting_until", "waiting_for"):
        op.drop_column("campaign", name)
    op.drop_index("ix_second_copy_campaign_id", table_name="second_copy")
    op.drop_table("second_copy")
