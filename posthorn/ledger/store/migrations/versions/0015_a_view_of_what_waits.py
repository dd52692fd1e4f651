"""A view for dashboards that calls what waits for its moment waiting, not stopped."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TAKEN = ("accepted", "scheduled", "delivered", "undelivered", "no_report")
_STATES = ("suppressed", *_TAKEN, "rejected", "unknown", "cancelled")
_MOMENTS = ("created_at", "planned_at", "run_started_at", "run_ended_at", "cancelled_at")
_WAITING = (
    " WHEN coalesce(sum(k.pending), 0) > 0 AND c.goes_on_at IS NOT NULL AND c.stopped_because IS NULL THEN 'waiting'"
    " WHEN coalesce(sum(k.pending), 0) > 0 AND c.halted_because IS NOT NULL THEN 'needs_attention'"
)


def upgrade() -> None:
    op.execute("DROP VIEW v_campaign_totals")
    op.execute(f"CREATE VIEW v_campaign_totals AS {_campaign_totals(_WAITING)}")


def downgrade() -> None:
    op.execute("DROP VIEW v_campaign_totals")
    op.execute(f"CREATE VIEW v_campaign_totals AS {_campaign_totals('')}")


def _campaign_totals(waiting: str) -> str:
    """As in 0009, but for what waits: ``waiting`` is a case of its state."""
    pending = "coalesce(sum(k.pending) FILTER (WHERE k.state <> 1), 0)"
    sending = "coalesce(sum(k.pending) FILTER (WHERE k.state = 1), 0)"
    counted = [f"coalesce(sum(k.{state}), 0)" for state in _STATES]
    sums = ", ".join(f"{count} AS {state}" for count, state in zip(counted, _STATES, strict=True))
    balanced = f"c.invalid + c.duplicate + {pending} + {sending} + {' + '.join(counted)} = c.input"
    who = "c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test"
    state = (
        "CASE WHEN c.run_started_at IS NOT NULL AND c.run_ended_at IS NULL THEN 'running'"
        " WHEN c.cancelled_at IS NOT NULL THEN 'cancelled'"
        f"{waiting} WHEN coalesce(sum(k.pending), 0) > 0 THEN 'stopped'"
        " WHEN coalesce(sum(k.unknown), 0) + coalesce(sum(k.rejected), 0) > 0 THEN 'needs_attention' ELSE 'finished' END"
    )
    moments = ", ".join(f"{_moment(f'c.{name}')} AS {name}" for name in _MOMENTS)
    return (
        f"SELECT {who}, c.gateway, {state} AS state, c.stopped_because, c.input, c.invalid, c.duplicate,"
        f" {pending} AS pending, {sending} AS sending, {sums}, {balanced} AS balanced, {moments}"
        " FROM campaign c LEFT JOIN chunk k ON k.campaign_id = c.id"
        " WHERE c.planned_at IS NOT NULL GROUP BY c.id"
    )


def _moment(seconds: str) -> str:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {seconds}, 'unixepoch')" if is_sqlite else f"to_timestamp({seconds})"
