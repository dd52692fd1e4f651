"""The first shape of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempt",
        sa.Column("chunk_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column(
            "outcome",
            sa.String(length=12),
            nullable=False,
            comment="sending, answered, not_taken, unknown, abandoned or late",
        ),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True, comment="HTTP status"),
        sa.Column("trace", sa.String(length=12), nullable=True, comment="how far the request got"),
        sa.Column("problem", sa.Text(), nullable=True, comment="one sentence, without numbers"),
        sa.Column("raw", sa.LargeBinary(), nullable=True, comment="the answer, kept where it was not clean"),
        sa.PrimaryKeyConstraint("chunk_id", "epoch", name=op.f("pk_attempt")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False, comment="a check by the provider: nothing is sent"),
        sa.Column("gateway", sa.String(length=40), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False, comment="the frozen content that identifies it"),
        sa.Column("options", sa.JSON(), nullable=False, comment="what steers the run and may change between runs"),
        sa.Column("rejects_file", sa.Text(), nullable=True),
        sa.Column("input", sa.Integer(), server_default="0", nullable=False),
        sa.Column("invalid", sa.Integer(), server_default="0", nullable=False),
        sa.Column("duplicate", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_chunk", sa.BigInteger(), nullable=True, comment="its chunks are first_chunk to last_chunk"),
        sa.Column("last_chunk", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("planned_at", sa.Double(), nullable=True, comment="null while its rows are still being written"),
        sa.Column("run_started_at", sa.Double(), nullable=True),
        sa.Column("run_by", sa.Text(), nullable=True, comment="who runs it, or ran it last"),
        sa.Column("run_ended_at", sa.Double(), nullable=True),
        sa.Column("stopped_because", sa.Text(), nullable=True, comment="why the last run stopped early, for the operator"),
        sa.Column("cancelled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", "test", name=op.f("uq_campaign_name_test")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=32), nullable=False, comment="names this ledger in spool files and locks"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
    )
    op.create_table(
        "message",
        sa.Column("chunk_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("phone", sa.BigInteger(), nullable=False),
        sa.Column("copy", sa.SmallInteger(), nullable=False, comment="0, or the n-th ticket of one number at one event"),
        sa.Column("line", sa.Integer(), nullable=False, comment="where the number stood in the operator's file"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("provider_id", sa.String(length=64), nullable=True),
        sa.Column("error", sa.String(length=64), nullable=True, comment="the provider's code or reason"),
        sa.Column("epoch", sa.Integer(), nullable=True, comment="of the attempt that left it unknown"),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("chunk_id", "position", name=op.f("pk_message")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_message_error",
        "message",
        ["campaign_id", "error"],
        unique=False,
        sqlite_where=sa.text("error IS NOT NULL"),
        postgresql_where=sa.text("error IS NOT NULL"),
    )
    op.create_index(
        "ix_message_without_id",
        "message",
        ["campaign_id", "chunk_id", "position"],
        unique=False,
        sqlite_where=sa.text("provider_id IS NULL AND state IN (1, 2)"),
        postgresql_where=sa.text("provider_id IS NULL AND state IN (1, 2)"),
    )
    op.create_index("uq_message_phone", "message", ["phone", "campaign_id", "copy"], unique=True)
    op.create_index(
        "uq_message_provider_id",
        "message",
        ["provider_id"],
        unique=True,
        sqlite_where=sa.text("provider_id IS NOT NULL"),
        postgresql_where=sa.text("provider_id IS NOT NULL"),
    )

    op.create_table(
        "parked_report",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column(
            "provider_id", sa.String(length=64), nullable=False, comment="an id that was no message's when the news came"
        ),
        sa.Column("phone", sa.BigInteger(), nullable=True),
        sa.Column("mms_id", sa.String(length=40), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parked_report")),
    )
    op.create_index("ix_parked_report_provider_id", "parked_report", ["provider_id"], unique=False)
    op.create_table(
        "settlement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("chunk_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("settled_at", sa.Double(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False, comment="found, absent, resend, surplus or resolved"),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="the message's state after it"),
        sa.Column("by", sa.Text(), nullable=False, comment="reconcile, or the person"),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement")),
    )
    op.create_index("ix_settlement_message", "settlement", ["chunk_id", "position"], unique=False)

    op.create_table(
        "stored_file",
        sa.Column("gateway", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False, comment="sha256 of the content, or the URL"),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "fingerprint", name=op.f("pk_stored_file")),
    )
    op.create_table(
        "ticket",
        sa.Column("chunk_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("barcode", sa.String(length=64), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False, comment="the attendee's other columns"),
        sa.PrimaryKeyConstraint("chunk_id", "position", name=op.f("pk_ticket")),
        sa.UniqueConstraint("campaign_id", "barcode", name=op.f("uq_ticket_campaign_id_barcode")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chunk",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column(
            "epoch",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="raised by every claim; guards every later write",
        ),
        sa.Column("owner", sa.String(length=120), nullable=True, comment="the process that claimed it last"),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("reported_at", sa.Double(), nullable=True, comment="when its reports were last asked for"),
        sa.Column("pending", sa.Integer(), server_default="0", nullable=False),
        sa.Column("accepted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scheduled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unknown", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("undelivered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("no_report", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("suppressed", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_chunk_campaign_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk")),
    )
    op.create_index(
        "ix_chunk_open",
        "chunk",
        ["campaign_id", "id"],
        unique=False,
        sqlite_where=sa.text("state <> 2"),
        postgresql_where=sa.text("state <> 2"),
    )

    op.create_table(
        "media",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.String(length=80), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("file_id", sa.String(length=64), nullable=True),
        sa.Column("verified_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], name=op.f("fk_media_campaign_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("campaign_id", "position", name=op.f("pk_media")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE message SET (fillfactor = 70)")  # room for its outcome beside each row


def downgrade() -> None:
    for table in (
        "parked_report",
        "settlement",
        "ticket",
        "message",
        "attempt",
        "media",
        "chunk",
        "stored_file",
        "identity",
        "campaign",
    ):
        op.drop_table(table)
