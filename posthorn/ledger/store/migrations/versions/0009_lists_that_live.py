"""Lists that live: waves, rows as their file says them, what was taken out, what was sent, void and erased codes."""

import json
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_LISTS = ("recipients", "attendees")
_TAKEN = ("accepted", "scheduled", "delivered", "undelivered", "no_report")
_STATES = ("suppressed", *_TAKEN, "rejected", "unknown", "cancelled")
_MOMENTS = ("created_at", "planned_at", "run_started_at", "run_ended_at", "cancelled_at")
_OF_THE_CAMPAIGN = "k.campaign_id = c.id"
_OF_THE_RANGE = "k.id BETWEEN c.first_chunk AND c.last_chunk"


def upgrade() -> None:
    _create_tables()
    op.add_column("chunk", sa.Column("wave", sa.Integer(), nullable=False, server_default="1"))
    op.add_column(
        "campaign",
        sa.Column(
            "revision", sa.Integer(), nullable=False, server_default="1", comment="raised by every change of its content"
        ),
    )
    op.add_column(
        "campaign",
        sa.Column(
            "list_hash",
            sa.String(length=64),
            nullable=True,
            comment="of the list as it was last read, and of what was chosen of it",
        ),
    )
    op.add_column(
        "campaign",
        sa.Column(
            "cleared_at",
            sa.Double(),
            nullable=True,
            comment="when its run last asked who has had the same message, and was let go on",
        ),
    )
    op.add_column(
        "campaign",
        sa.Column("closed_at", sa.Double(), nullable=True, comment="when erasing began: nothing is merged any more"),
    )
    op.add_column(
        "ticket",
        sa.Column(
            "listed_code",
            sa.String(length=64),
            nullable=True,
            comment="the row's own code where it differs; empty where the row has none",
        ),
    )
    op.add_column(
        "ticket", sa.Column("listed_phone", sa.BigInteger(), nullable=True, comment="the row's own number where it differs")
    )
    op.add_column(
        "attempt",
        sa.Column("title", sa.Text(), nullable=True, comment="the title, the moment and the hold that the request named"),
    )
    op.add_column("attempt", sa.Column("send_at", sa.Double(), nullable=True))
    op.add_column("attempt", sa.Column("hold_minutes", sa.Integer(), nullable=True))
    op.add_column(
        "media",
        sa.Column("refused", sa.Text(), nullable=True, comment="why the provider refused the file: it may be replaced"),
    )
    _fill()
    if op.get_context().dialect.name != "sqlite":
        op.execute("COMMENT ON COLUMN campaign.definition IS 'its content, frozen once something has left'")
    op.execute("DROP VIEW v_campaign_totals")
    for name in ("first_chunk", "last_chunk"):
        op.drop_column("campaign", name)
    op.execute(f"CREATE VIEW v_campaign_totals AS {_campaign_totals(_OF_THE_CAMPAIGN)}")


def downgrade() -> None:
    op.execute("DROP VIEW v_campaign_totals")
    for name in ("first_chunk", "last_chunk"):
        op.add_column("campaign", sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE campaign SET first_chunk = (SELECT min(id) FROM chunk WHERE campaign_id = campaign.id),"
        " last_chunk = (SELECT max(id) FROM chunk WHERE campaign_id = campaign.id)"
    )
    op.execute(f"CREATE VIEW v_campaign_totals AS {_campaign_totals(_OF_THE_RANGE)}")
    for table, names in (
        ("media", ("refused",)),
        ("attempt", ("hold_minutes", "send_at", "title")),
        ("ticket", ("listed_phone", "listed_code")),
        ("campaign", ("closed_at", "cleared_at", "list_hash", "revision")),
        ("chunk", ("wave",)),
    ):
        for name in names:
            op.drop_column(table, name)
    for table in ("erased_code", "void_code", "taken_out", "wave"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "wave",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False, comment="1 is the first plan"),
        sa.Column("planned_at", sa.Double(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False, comment="how many it planned"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], "fk_wave_campaign_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("campaign_id", "number", name="pk_wave"),
    )
    op.create_table(
        "taken_out",
        sa.Column("chunk_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chunk_id", "position", name="pk_taken_out"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "void_code",
        sa.Column("campaign_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column(
            "chunk_id",
            sa.BigInteger(),
            nullable=True,
            comment="the ticket that had it; null for a code that was never an attendee's",
        ),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("voided_at", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "code", name="pk_void_code"),
    )
    op.create_table(
        "erased_code",
        sa.Column("hash", sa.String(length=32), nullable=False, comment="of a code of an erased event, keyed by the ledger"),
        sa.Column("campaign_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("hash", "campaign_id", name="pk_erased_code"),
        sqlite_with_rowid=False,
    )


def _fill() -> None:
    """What was planned is the first wave; what was sent was sent with the content as it was frozen."""
    connection = op.get_bind()
    op.execute(
        "INSERT INTO wave (campaign_id, number, planned_at, messages)"
        " SELECT id, 1, planned_at, input - invalid - duplicate FROM campaign WHERE planned_at IS NOT NULL"
    )
    campaign = sa.table("campaign", sa.column("id"), sa.column("kind"), sa.column("definition", sa.JSON()))
    for row in connection.execute(sa.select(campaign)).all():
        content = {key: value for key, value in row.definition.items() if key not in _LISTS}
        connection.execute(campaign.update().where(campaign.c.id == row.id).values(definition=content))
        if row.kind == 0:
            _keep_as_sent(connection, row.id, content)
        elif content.get("barcode") == "generate":
            _keep_generated(connection, row.id)
    op.execute("UPDATE campaign SET closed_at = erased_at WHERE erased_at IS NOT NULL")


def _keep_as_sent(connection: sa.Connection, campaign_id: int, content: dict[str, object]) -> None:
    moment = str(content.get("send_at") or "")
    values = {
        "title": content.get("title"),
        "send_at": datetime.fromisoformat(moment).timestamp() if moment else None,
        "hold": content.get("hold_minutes"),
        "campaign": campaign_id,
    }
    connection.execute(
        sa.text(
            "UPDATE attempt SET title = :title, send_at = :send_at, hold_minutes = :hold"
            " WHERE chunk_id IN (SELECT id FROM chunk WHERE campaign_id = :campaign)"
        ),
        values,
    )


def _keep_generated(connection: sa.Connection, campaign_id: int) -> None:
    """A code that stands in none of its row's cells was made for it: the row has none."""
    select = sa.text("SELECT chunk_id, position, barcode, fields FROM ticket WHERE campaign_id = :campaign")
    rows = connection.execute(select, {"campaign": campaign_id}).all()
    made = [{"chunk": row.chunk_id, "position": row.position} for row in rows if row.barcode not in _cells(row.fields)]
    if made:
        update = sa.text("UPDATE ticket SET listed_code = '' WHERE chunk_id = :chunk AND position = :position")
        connection.execute(update, made)


def _cells(fields: object) -> Iterable[str]:
    own = json.loads(fields) if isinstance(fields, str) else fields
    return {str(value).strip() for value in own.values()} if isinstance(own, dict) else ()


def _campaign_totals(chunks: str) -> str:
    """As in 0003, but for which chunks are a campaign's."""
    pending = "coalesce(sum(k.pending) FILTER (WHERE k.state <> 1), 0)"
    sending = "coalesce(sum(k.pending) FILTER (WHERE k.state = 1), 0)"
    counted = [f"coalesce(sum(k.{state}), 0)" for state in _STATES]
    sums = ", ".join(f"{count} AS {state}" for count, state in zip(counted, _STATES, strict=True))
    balanced = f"c.invalid + c.duplicate + {pending} + {sending} + {' + '.join(counted)} = c.input"
    who = "c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test"
    state = (
        "CASE WHEN c.run_started_at IS NOT NULL AND c.run_ended_at IS NULL THEN 'running'"
        " WHEN c.cancelled_at IS NOT NULL THEN 'cancelled'"
        " WHEN coalesce(sum(k.pending), 0) > 0 THEN 'stopped'"
        " WHEN coalesce(sum(k.unknown), 0) + coalesce(sum(k.rejected), 0) > 0 THEN 'needs_attention' ELSE 'finished' END"
    )
    moments = ", ".join(f"{_moment(f'c.{name}')} AS {name}" for name in _MOMENTS)
    return (
        f"SELECT {who}, c.gateway, {state} AS state, c.stopped_because, c.input, c.invalid, c.duplicate,"
        f" {pending} AS pending, {sending} AS sending, {sums}, {balanced} AS balanced, {moments}"
        f" FROM campaign c LEFT JOIN chunk k ON {chunks}"
        " WHERE c.planned_at IS NOT NULL GROUP BY c.id"
    )


def _moment(seconds: str) -> str:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {seconds}, 'unixepoch')" if is_sqlite else f"to_timestamp({seconds})"
