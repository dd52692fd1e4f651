"""What was found out about an account at a provider, so that it is not tried again, and what a probe has proven."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_finding",
        sa.Column("gateway", sa.String(40), nullable=False),
        sa.Column("account", sa.String(64), nullable=False, comment="a hash of its address and login"),
        sa.Column("subject", sa.String(40), nullable=False, comment="what is known: upload, lists_files, hold, clock …"),
        sa.Column("verdict", sa.String(16), nullable=False, comment="confirmed, other or unclear"),
        sa.Column("value", sa.Text, nullable=False, comment="what the program goes by"),
        sa.Column("seen", sa.Text, nullable=False, comment="what was seen, for people"),
        sa.Column("found_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("gateway", "account", "subject", name="pk_account_finding"),
    )


def downgrade() -> None:
    op.drop_table("account_finding")
