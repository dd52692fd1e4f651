"""The ledger's tables, as SQLAlchemy sees them today; how they came to be is in ``migrations``.

Rows are narrow because there are millions. Times are seconds since 1970 (UTC), states the numbers of ``posthorn.models``.
A message's state stands in its row; while its chunk is being sent only the chunk says so. A chunk's counters are recounted
from its messages in the same transaction that moves them, so they cannot drift. Messages and attempts carry no foreign key:
checking it for every row would double the time of a large plan, and rows are only ever written beside their chunk.

**Waves.** A delivery's chunks are those with its id, and nothing else says which they are. Each belongs to the ``wave`` that
planned it; a chunk's members never change. Messages and tickets of a wave that is still being planned are there already,
but not their chunks: whoever joins ``chunk`` does not see them, and ids above the newest chunk's are an unfinished plan's.

**The row as its file says it.** A campaign's row is its number. A ticket's row has ``listed_code`` and ``listed_phone``
beside what was sent, wherever a decision in the ledger made them differ: null means "the same as is sent", an empty
``listed_code`` that the row has no code and one was made for it. A number sent to instead of the listed one is set in
``message.phone``, a code that replaces the listed one in ``ticket.barcode``, and the code that is no good any more goes to
``void_code`` (one without a place belongs to nobody: a proof's). Whoever changes one of them sets the listed one first.

**Taken out.** A row in ``taken_out`` is a person's lasting word (an absence that was accepted, a cancellation) that nothing
more is to go to that message: ``recount`` makes it cancelled whenever it would be pending. It may have left before.

**Absent.** A row that was refused or suppressed may leave its list without a word. It is in ``absent`` until it is in the
list again: meanwhile nobody has it sent again.

**As it was sent.** An attempt keeps the title, the moment (``send_at``) and the hold that its request named: the campaign's
may change afterwards. ``campaign.revision`` rises with each change of its content; a claim names the revision it sends.

**Approval.** A decision covers the content that was shown and what was planned then; a wave of later is asked about again.

**Proofs** are messages to an operator's own number. They have a table of their own, so that nothing counts them by mistake,
and name their delivery, which need not be planned.

**Erased.** From ``closed_at`` on nothing is merged any more; ``erased_code`` keeps what codes an event had, as keyed hashes.

Partial indexes are partial on PostgreSQL too, as the migrations say: its option is not repeated here, for that would import
its dialect on every ledger.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

COUNTERS = (
    "pending",
    "accepted",
    "scheduled",
    "rejected",
    "unknown",
    "delivered",
    "undelivered",
    "no_report",
    "cancelled",
    "suppressed",
)
"""The per-chunk counters, in the order of ``MessageState``."""

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(32), nullable=False, comment="names this ledger in spool files and locks"),
    Column("created_at", Double, nullable=False),
    Column(
        "suppressions",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="the number of the newest entry of the suppression list",
    ),
)

campaign = Table(
    "campaign",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("name", String(80), nullable=False),
    Column("test", Boolean, nullable=False, comment="a check by the provider: nothing is sent"),
    Column("gateway", String(40), nullable=False),
    Column("definition", JSON, nullable=False, comment="its content, frozen once something has left"),
    Column("options", JSON, nullable=False, comment="what steers the run and may change between runs"),
    Column("rejects_file", Text),
    Column("input", Integer, nullable=False, server_default="0"),
    Column("invalid", Integer, nullable=False, server_default="0"),
    Column("duplicate", Integer, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Column("planned_at", Double, comment="null while its rows are still being written"),
    Column("run_started_at", Double),
    Column("run_by", Text, comment="who runs it, or ran it last"),
    Column("run_ended_at", Double),
    Column("stopped_because", Text, comment="why the last run stopped early, for the operator"),
    Column("cancelled_at", Double),
    Column("erased_at", Double, comment="when its numbers were erased; the counts stay"),
    Column("waiting_for", String(20), comment="what goes on by itself at waiting_until: last_look"),
    Column("waiting_until", Double),
    Column("copies_sought_at", Double, comment="when second copies were last looked for"),
    Column("revision", Integer, nullable=False, server_default="1", comment="raised by every change of its content"),
    Column("list_hash", String(64), comment="of the list as it was last read, and of what was chosen of it"),
    Column("cleared_at", Double, comment="when its run last asked who has had the same message, and was let go on"),
    Column("closed_at", Double, comment="when erasing began: nothing is merged any more"),
    Column("goes_on_for", String(20), comment="what the rest of it waits for: hours"),
    Column("goes_on_at", Double, comment="from when the rest is sent by itself"),
    Column("open_wave", Integer, comment="waves above it are not claimed; null: all may be"),
    Column("halted_because", Text, comment="what went wrong with a wave: a person has to decide"),
    UniqueConstraint("name", "test"),
    sqlite_autoincrement=True,  # a number is never used twice, so no late writer meets another campaign
)

chunk = Table(
    "chunk",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0", comment="raised by every claim; guards every later write"),
    Column("owner", String(120), comment="the process that claimed it last"),
    Column("claimed_at", Double),
    Column("finished_at", Double),
    Column("reported_at", Double, comment="when its reports were last asked for"),
    *(Column(name, Integer, nullable=False, server_default="0") for name in COUNTERS),
    Column("wave", Integer, nullable=False, server_default="1"),
)
Index("ix_chunk_campaign_id", chunk.c.campaign_id, chunk.c.id)
Index("ix_chunk_open", chunk.c.campaign_id, chunk.c.id, sqlite_where=text("state <> 2"))

wave = Table(
    "wave",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="1 is the first plan"),
    Column("planned_at", Double, nullable=False),
    Column("messages", Integer, nullable=False, comment="how many it planned"),
)

message = Table(
    "message",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    Column("phone", BigInteger, nullable=False),
    Column("copy", SmallInteger, nullable=False, comment="0, or the n-th ticket of one number at one event"),
    Column("line", Integer, nullable=False, comment="where the number stood in the operator's file"),
    Column("state", SmallInteger, nullable=False),
    Column("provider_id", String(64)),
    Column("error", String(64), comment="the provider's code or reason"),
    Column("epoch", Integer, comment="of the attempt that left it unknown"),
    Column("delivered_at", Double),
    sqlite_with_rowid=False,
)
Index("uq_message_phone", message.c.phone, message.c.campaign_id, message.c.copy, unique=True)
Index(
    "uq_message_provider_id",
    message.c.provider_id,
    unique=True,
    sqlite_where=text("provider_id IS NOT NULL"),
)
Index(
    "ix_message_error",
    message.c.campaign_id,
    message.c.error,
    sqlite_where=text("error IS NOT NULL"),
)
Index(
    "ix_message_without_id",
    message.c.campaign_id,
    message.c.chunk_id,
    message.c.position,
    sqlite_where=text("provider_id IS NULL AND state IN (1, 2)"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(120), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(12), nullable=False, comment="sending, answered, not_taken, unknown, abandoned or late"),
    Column("code", String(64)),
    Column("status", SmallInteger, comment="HTTP status"),
    Column("trace", String(12), comment="how far the request got"),
    Column("problem", Text, comment="one sentence, without numbers"),
    Column("raw", LargeBinary, comment="the answer, kept where it was not clean"),
    Column("title", Text, comment="the title, the moment and the hold that the request named"),
    Column("send_at", Double),
    Column("hold_minutes", Integer),
    sqlite_with_rowid=False,
)

media = Table(
    "media",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content_type", String(80), nullable=False),
    Column("path", Text),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Column("file_id", String(64)),
    Column("verified_at", Double),
    Column("refused", Text, comment="why the provider refused the file: it may be replaced"),
)

approval = Table(
    "approval",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("content", String(64), nullable=False, comment="hash of what was shown; other content needs another approval"),
    Column("asked_at", Double, nullable=False),
    Column("flow_run_id", String(36), comment="the paused flow run that waits for it, if one does"),
    Column("decided_at", Double),
    Column("approved", Boolean),
    Column("by", Text),
    Column("note", Text),
)

stored_file = Table(
    "stored_file",
    metadata,
    Column("gateway", String(40), primary_key=True),
    Column("fingerprint", Text, primary_key=True, comment="sha256 of the content, or the URL"),
    Column("file_id", String(64), nullable=False),
    Column("stored_at", Double, nullable=False),
)

account_finding = Table(
    "account_finding",
    metadata,
    Column("gateway", String(40), primary_key=True),
    Column("account", String(64), primary_key=True, comment="a hash of its address and login"),
    Column("subject", String(40), primary_key=True, comment="what is known: upload, lists_files, hold, clock …"),
    Column("verdict", String(16), nullable=False, comment="confirmed, other or unclear"),
    Column("value", Text, nullable=False, comment="what the program goes by"),
    Column("seen", Text, nullable=False, comment="what was seen, for people"),
    Column("found_at", Double, nullable=False),
)

ticket = Table(
    "ticket",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    Column("barcode", String(64), nullable=False),
    Column("fields", JSON, nullable=False, comment="the attendee's other columns"),
    Column("listed_code", String(64), comment="the row's own code where it differs; empty where the row has none"),
    Column("listed_phone", BigInteger, comment="the row's own number where it differs"),
    UniqueConstraint("campaign_id", "barcode"),
    sqlite_with_rowid=False,
)

taken_out = Table(
    "taken_out",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    Column("taken_at", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    sqlite_with_rowid=False,
)

absent = Table(
    "absent",
    metadata,
    Column("chunk_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Integer, nullable=False),
    sqlite_with_rowid=False,
)

void_code = Table(
    "void_code",
    metadata,
    Column("campaign_id", Integer, primary_key=True, autoincrement=False),
    Column("code", String(64), primary_key=True),
    Column("chunk_id", BigInteger, comment="the ticket that had it; null for a code that was never an attendee's"),
    Column("position", Integer),
    Column("voided_at", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

erased_code = Table(
    "erased_code",
    metadata,
    Column("hash", String(32), primary_key=True, comment="of a code of an erased event, keyed by the ledger"),
    Column("campaign_id", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

settlement = Table(
    "settlement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", Integer, nullable=False),
    Column("chunk_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("settled_at", Double, nullable=False),
    Column("decision", String(20), nullable=False, comment="found, absent, resend, surplus or resolved"),
    Column("state", SmallInteger, nullable=False, comment="the message's state after it"),
    Column("by", Text, nullable=False, comment="reconcile, or the person"),
    Column("evidence", Text, nullable=False),
    Column("replaced_id", String(64), comment="the provider's id of the attempt that is replaced: news of it is old"),
)
Index("ix_settlement_message", settlement.c.chunk_id, settlement.c.position)
Index("ix_settlement_replaced_id", settlement.c.replaced_id, sqlite_where=text("replaced_id IS NOT NULL"))

second_copy = Table(
    "second_copy",
    metadata,
    Column("provider_id", String(64), primary_key=True, comment="of a copy that no message accounts for"),
    Column("campaign_id", Integer, nullable=False, index=True),
    Column("chunk_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="as the provider said last"),
    Column("found_at", Double, nullable=False),
    Column("withdrawn_at", Double),
    Column("evidence", Text, nullable=False),
)

parked_report = Table(
    "parked_report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("provider_id", String(64), nullable=False, comment="an id that was no message's when the news came"),
    Column("phone", BigInteger),
    Column("mms_id", String(40)),
    Column("state", SmallInteger, nullable=False),
    Column("reason", String(64)),
    Column("delivered_at", Double),
    Column("gateway", String(40)),
    Column("happened_at", Double, comment="when it happened, by the news itself"),
    Column("contradicts", String(40), comment="what does not fit the message that has its id; such news is never applied"),
)
Index("ix_parked_report_provider_id", parked_report.c.provider_id)

suppression = Table(
    "suppression",
    metadata,
    Column("phone", BigInteger, primary_key=True, autoincrement=False),
    Column("scope", SmallInteger, primary_key=True, autoincrement=False, comment="0 marketing, 1 all"),
    Column("source", String(20), nullable=False, comment="who said so, as a word"),
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False, comment="the person, or the gateway"),
    Column("since", Double, nullable=False, comment="when the person, or the provider, said so"),
    Column("removed_at", Double, comment="null while it holds; what happened before stays past"),
    Column("removed_by", Text),
    Column("removed_why", Text),
    Column("number", BigInteger, nullable=False, comment="of the entry's last word; who reads on begins there"),
)
Index("ix_suppression_number", suppression.c.number)

opt_out_pull = Table(
    "opt_out_pull",
    metadata,
    Column("gateway", String(40), primary_key=True),
    Column("pulled_at", Double, nullable=False, comment="when the last pull that ended well began"),
)

spending = Table(
    "spending",
    metadata,
    Column("scope", String(40), primary_key=True, comment="day 2026-11-26, or delivery 17"),
    Column("spent", BigInteger, nullable=False, comment="millionths; never below the truth where a cap is heeded"),
)

proof = Table(
    "proof",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("name", String(80), nullable=False, index=True, comment="of the delivery, which need not be planned yet"),
    Column("gateway", String(40), nullable=False),
    Column("phone", BigInteger, nullable=False, index=True),
    Column("title", Text, comment="of a campaign's"),
    Column("mms_id", String(40), comment="of a ticket's"),
    Column("code", String(64), comment="a ticket's own, which lets nobody in"),
    Column("by", Text, nullable=False),
    Column("owner", String(120), nullable=False, comment="the process that sent it"),
    Column("claimed_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", String(12), nullable=False, comment="sending, taken, refused, not_taken or unknown"),
    Column("provider_id", String(64), index=True),
    Column("error", String(64), comment="the provider's code or reason"),
    Column("problem", Text, comment="one sentence, without numbers"),
)
