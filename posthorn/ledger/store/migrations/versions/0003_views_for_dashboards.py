"""Views for dashboards that speak SQL (Grafana, Metabase): totals, error codes, hours. No view holds a phone number.

Times are UTC: text with a Z on SQLite, ``timestamptz`` on PostgreSQL. A later migration that changes a column a view reads
drops the views first and makes them anew.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_VIEWS = ("v_campaign_totals", "v_error_codes", "v_hourly")
_TAKEN = ("accepted", "scheduled", "delivered", "undelivered", "no_report")
_STATES = ("suppressed", *_TAKEN, "rejected", "unknown", "cancelled")
_MOMENTS = ("created_at", "planned_at", "run_started_at", "run_ended_at", "cancelled_at")
_OUTCOMES = ("sending", "answered", "not_taken", "unknown", "abandoned", "late")
_WHO = "c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test"


def upgrade() -> None:
    op.execute(f"CREATE VIEW v_campaign_totals AS {_campaign_totals()}")
    op.execute(f"CREATE VIEW v_error_codes AS {_error_codes()}")
    op.execute(f"CREATE VIEW v_hourly AS {_hourly()}")


def downgrade() -> None:
    for view in _VIEWS:
        op.execute(f"DROP VIEW {view}")


def _campaign_totals() -> str:
    """A row per campaign and event.

    ``state`` is ``running`` from the beginning of a run to its end as the ledger has them: a killed run looks like that
    until the next one begins. Only ``posthorn campaign status`` asks whether the process lives.
    """
    pending = "coalesce(sum(k.pending) FILTER (WHERE k.state <> 1), 0)"
    sending = "coalesce(sum(k.pending) FILTER (WHERE k.state = 1), 0)"
    counted = [f"coalesce(sum(k.{state}), 0)" for state in _STATES]
    sums = ", ".join(f"{count} AS {state}" for count, state in zip(counted, _STATES, strict=True))
    balanced = f"c.invalid + c.duplicate + {pending} + {sending} + {' + '.join(counted)} = c.input"
    state = (
        "CASE WHEN c.run_started_at IS NOT NULL AND c.run_ended_at IS NULL THEN 'running'"
        " WHEN c.cancelled_at IS NOT NULL THEN 'cancelled'"
        " WHEN coalesce(sum(k.pending), 0) > 0 THEN 'stopped'"
        " WHEN coalesce(sum(k.unknown), 0) + coalesce(sum(k.rejected), 0) > 0 THEN 'needs_attention' ELSE 'finished' END"
    )
    moments = ", ".join(f"{_moment(f'c.{name}')} AS {name}" for name in _MOMENTS)
    return (
        f"SELECT {_WHO}, c.gateway, {state} AS state, c.stopped_because, c.input, c.invalid, c.duplicate,"
        f" {pending} AS pending, {sending} AS sending, {sums}, {balanced} AS balanced, {moments}"
        " FROM campaign c LEFT JOIN chunk k ON k.id BETWEEN c.first_chunk AND c.last_chunk"
        " WHERE c.planned_at IS NOT NULL GROUP BY c.id"
    )


def _error_codes() -> str:
    """A row per campaign or event and the provider's code or reason, with how many messages carry it."""
    return (
        f"SELECT {_WHO}, c.gateway, m.error AS code, count(*) AS messages"
        " FROM campaign c JOIN message m ON m.campaign_id = c.id AND m.error IS NOT NULL"
        " WHERE c.planned_at IS NOT NULL GROUP BY c.id, m.error"
    )


def _hourly() -> str:
    """A row per hour and campaign or event: the requests that began in it, and the messages taken by those that ended in it.

    A message counts once, in the hour in which its chunk was last answered.
    """
    outcomes = ", ".join(f"coalesce(sum(u.requests) FILTER (WHERE u.outcome = '{one}'), 0) AS {one}" for one in _OUTCOMES)
    taken = " + ".join(_TAKEN)
    return (
        f"SELECT {_moment('u.hour * 3600')} AS hour, {_WHO}, c.gateway, sum(u.requests) AS requests, {outcomes},"
        " sum(u.accepted) AS messages_accepted FROM ("
        f"SELECT {_hour('a.started_at')} AS hour, k.campaign_id, a.outcome, 1 AS requests, 0 AS accepted"
        " FROM attempt a JOIN chunk k ON k.id = a.chunk_id UNION ALL"
        f" SELECT {_hour('finished_at')}, campaign_id, NULL, 0, {taken} FROM chunk WHERE finished_at IS NOT NULL"
        ") u JOIN campaign c ON c.id = u.campaign_id GROUP BY u.hour, c.id"
    )


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _moment(seconds: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {seconds}, 'unixepoch')" if _is_sqlite() else f"to_timestamp({seconds})"


def _hour(seconds: str) -> str:
    return f"CAST({seconds} / 3600 AS INTEGER)" if _is_sqlite() else f"floor({seconds} / 3600)"
