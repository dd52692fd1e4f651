"""Who must not be messaged, and when each provider was last asked for that."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suppression",
        sa.Column("phone", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.SmallInteger(), autoincrement=False, nullable=False, comment="0 marketing, 1 all"),
        sa.Column("source", sa.String(length=20), nullable=False, comment="who said so, as a word"),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False, comment="the person, or the gateway"),
        sa.Column("since", sa.Double(), nullable=False, comment="when the person, or the provider, said so"),
        sa.Column("removed_at", sa.Double(), nullable=True, comment="null while it holds; what happened before stays past"),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.Column("removed_why", sa.Text(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="of the entry's last word; who reads on begins there"),
        sa.PrimaryKeyConstraint("phone", "scope", name=op.f("pk_suppression")),
    )
    op.create_index("ix_suppression_number", "suppression", ["number"])
    op.add_column(
        "identity",
        sa.Column(
            "suppressions",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="the number of the newest entry of the suppression list",
        ),
    )
    op.create_table(
        "opt_out_pull",
        sa.Column("gateway", sa.String(length=40), nullable=False),
        sa.Column("pulled_at", sa.Double(), nullable=False, comment="when the last pull that ended well began"),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_opt_out_pull")),
    )


def downgrade() -> None:
    op.drop_column("identity", "suppressions")
    op.drop_table("opt_out_pull")
    op.drop_table("suppression")
