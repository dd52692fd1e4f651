"""Proofs: real messages to an operator's own number, which are no recipient's."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proof",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False, comment="of the delivery, which need not be planned yet"),
        sa.Column("gateway", sa.String(length=40), nullable=False),
        sa.Column("phone", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True, comment="of a campaign's"),
        sa.Column("mms_id", sa.String(length=40), nullable=True, comment="of a ticket's"),
        sa.Column("code", sa.String(length=64), nullable=True, comment="a ticket's own, which lets nobody in"),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False, comment="the process that sent it"),
        sa.Column("claimed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=False, comment="sending, taken, refused, not_taken or unknown"),
        sa.Column("provider_id", sa.String(length=64), nullable=True),
        sa.Column("error", sa.String(length=64), nullable=True, comment="the provider's code or reason"),
        sa.Column("problem", sa.Text(), nullable=True, comment="one sentence, without numbers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proof")),
    )
    op.create_index("ix_proof_name", "proof", ["name"])
    op.create_index("ix_proof_phone", "proof", ["phone"])
    op.create_index("ix_proof_provider_id", "proof", ["provider_id"])


def downgrade() -> None:
    op.drop_table("proof")
