"""What is spent of each cap."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spending",
        sa.Column("scope", sa.String(40), nullable=False, comment="day 2026-11-26, or delivery 17"),
        sa.Column("spent", sa.BigInteger, nullable=False, comment="millionths; never below the truth where a cap is heeded"),
        sa.PrimaryKeyConstraint("scope", name="pk_spending"),
    )


def downgrade() -> None:
    op.drop_table("spending")
