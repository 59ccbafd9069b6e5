"""The schema. Every constraint is named for the invariant that it keeps.

Money is integer centavos, moments are aware UTC. The SQL is what SQLite and PostgreSQL share.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: timestamptz on PostgreSQL; on SQLite text of one width, which sorts as time does.

    Refuses naive datetimes: a moment without a zone is a bug.
    """

    impl = String(27)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r} given to the ledger")
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        # not strftime: its %Y has fewer than four digits before the year 1000, on Linux
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        moment: datetime = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return moment.astimezone(UTC)


metadata = MetaData()

# SQLite counts up only on INTEGER primary keys; PostgreSQL wants room for more than two thousand million.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


# The states of a transfer (payments/transfer.py has what they mean; a test compares). Those from "pending" to "dead"
# are live: a credit has at most one live transfer.
LIVE_TRANSFER_STATES = ("pending", "sending", "sent", "settled", "dead")
TRANSFER_STATES = (*LIVE_TRANSFER_STATES, "failed", "stopped")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


inbox_events = Table(
    "inbox_events",
    metadata,
    Column("event_id", String(80), nullable=False),
    Column("source", String(16), nullable=False),  # webhook, or reconciliation
    Column("subscription", String(64), nullable=False),
    Column("log_type", String(64), nullable=False),
    Column("subject", String(64)),  # the invoice or transfer that it is about
    Column("outcome", String(24), nullable=False),  # what came of it, see inbox.Outcome
    Column("reason", Text),
    Column("digital_signature", Text),  # as received; None when reconciliation found the event
    Column("body", LargeBinary, nullable=False),  # the very bytes, for audit and replay
    Column("received_at", Instant, nullable=False),
    PrimaryKeyConstraint("event_id", name="an_event_once"),
)
# An event that made a credit is found through its credit, which names it; queries by subject say this condition too.
made_no_credit = text("outcome <> 'credit'")
Index(
    "inbox_events_by_subject",
    inbox_events.c.subject,
    sqlite_where=made_no_credit,
    postgresql_where=made_no_credit,
)
Index("inbox_events_by_time", inbox_events.c.received_at, inbox_events.c.outcome)

# The bank's ids are random: each index over them has a page of its own for every row. So what belongs to a credit
# refers to its number, which counts up, and the pages that are written are the last ones. See docs/decisions/0016.
credits = Table(
    "credits",
    metadata,
    Column("number", _Serial, primary_key=True),
    Column("invoice_id", String(64), nullable=False),
    Column("log_id", String(64), nullable=False),
    Column("event_id", ForeignKey("inbox_events.event_id", name="a_credit_has_its_event"), nullable=False),
    Column("gross_centavos", BigInteger, nullable=False),
    Column("fee_centavos", BigInteger, nullable=False),
    Column("net_centavos", BigInteger, nullable=False),
    Column("withheld_centavos", BigInteger, nullable=False),  # reversed before it was sent
    # reversed after it was sent, and got back from the destination, as an operator recorded
    Column("recovered_centavos", BigInteger, nullable=False, server_default="0"),
    Column("is_of_ours", Boolean, nullable=False),  # its invoice carries our tag
    Column("disposition", String(24), nullable=False),  # forward, nothing_to_forward, not_ours
    Column("credited_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    UniqueConstraint("invoice_id", name="a_credit_once_per_invoice"),
    UniqueConstraint("log_id", name="a_credit_once_per_log"),
    # says no more than the key does; it is what a transfer refers to, so that its invoice_id is its credit's
    UniqueConstraint("number", "invoice_id", name="a_number_has_its_invoice"),
    CheckConstraint("net_centavos = gross_centavos - fee_centavos", name="net_is_gross_minus_fee"),
    CheckConstraint("gross_centavos >= 0 AND fee_centavos >= 0", name="no_negative_credit"),
    CheckConstraint(
        "withheld_centavos >= 0 AND (withheld_centavos = 0 OR withheld_centavos <= net_centavos)",
        name="withheld_within_net",
    ),
    CheckConstraint(
        "recovered_centavos >= 0 AND (recovered_centavos = 0 OR recovered_centavos <= net_centavos)",
        name="recovered_within_net",
    ),
    CheckConstraint(
        _one_of("disposition", ("forward", "nothing_to_forward", "not_ours")), name="credit_disposition_known"
    ),
    CheckConstraint("disposition <> 'forward' OR net_centavos > 0", name="only_positive_net_is_forwarded"),
    # an external_id ends in -r2, -r3 ... for reissues: no invoice id may look like one
    CheckConstraint("invoice_id NOT LIKE '%-%'", name="an_invoice_id_has_no_dash"),
)
# With what is added up, so that sums and charts are read from the index alone.
Index(
    "credits_by_time",
    credits.c.recorded_at,
    credits.c.gross_centavos,
    credits.c.fee_centavos,
    credits.c.is_of_ours,
)
# What is not forwarded whole is rare; the statement asks for it.
_withheld = text("withheld_centavos > 0")
_not_forwarded = text("disposition <> 'forward'")
Index(
    "credits_withheld",
    credits.c.withheld_centavos,
    sqlite_where=_withheld,
    postgresql_where=_withheld,
)
_recovered = text("recovered_centavos > 0")
Index(
    "credits_recovered",
    credits.c.recovered_centavos,
    sqlite_where=_recovered,
    postgresql_where=_recovered,
)
Index(
    "credits_not_forwarded",
    credits.c.net_centavos,
    sqlite_where=_not_forwarded,
    postgresql_where=_not_forwarded,
)

reversals = Table(
    "reversals",
    metadata,
    Column("log_id", String(64), nullable=False),
    Column("invoice_id", String(64), nullable=False),
    Column("remaining_centavos", BigInteger, nullable=False),
    Column("reversed_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    PrimaryKeyConstraint("log_id", name="a_reversal_once"),
    CheckConstraint("remaining_centavos >= 0", name="no_negative_remainder"),
)
Index("reversals_by_invoice", reversals.c.invoice_id)

destinations = Table(
    "destinations",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("bank_code", String(16), nullable=False),
    Column("branch_code", String(16), nullable=False),
    Column("account_number", String(32), nullable=False),
    Column("account_type", String(16), nullable=False),
    Column("name", String(128), nullable=False),
    Column("tax_id", String(24), nullable=False),
    UniqueConstraint(
        "bank_code",
        "branch_code",
        "account_number",
        "account_type",
        "name",
        "tax_id",
        name="a_destination_once",
    ),
)

# What the bank last said of each of its transfers, ours or another's with our tag.
bank_transfers = Table(
    "bank_transfers",
    metadata,
    Column("bank_transfer_id", String(64), nullable=False),
    # whose lineage its external_id is of; NULL when that is of none of our credits
    Column("credit_number", ForeignKey("credits.number", name="a_sighting_has_its_credit")),
    Column("external_id", String(96), nullable=False),
    Column("status", String(24), nullable=False),
    Column("amount_centavos", BigInteger, nullable=False),
    Column("errors", Text),  # JSON list; NULL while the bank has not said why it failed
    Column("seen_at", Instant, nullable=False),
    PrimaryKeyConstraint("bank_transfer_id", name="a_sighting_once"),
    # says no more than the key does; it is what a transfer refers to, and how a lineage's are found
    UniqueConstraint("credit_number", "bank_transfer_id", name="a_sighting_has_one_credit"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("credit_number", _Serial, nullable=False),
    Column("invoice_id", String(64), nullable=False),  # its credit's
    Column("generation", Integer, nullable=False),  # 1, then 2, 3 ... for reissues
    Column("external_id", String(96), nullable=False),
    Column("amount_centavos", BigInteger, nullable=False),
    Column(
        "destination_id", ForeignKey("destinations.id", name="a_transfer_has_its_destination"), nullable=False
    ),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),  # counts claims; every record is fenced by it
    Column("calls", Integer, nullable=False),  # counts sends that were begun
    Column("call_tag", String(64)),  # the tag of the last send; one look-up by it answers for its whole call
    Column("due_at", Instant, nullable=False),  # when a pending one is to be tried
    Column("lease_expires_at", Instant),
    Column("bank_transfer_id", String(64)),
    Column("reason", Text),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("settled_at", Instant),
    Column(
        "retried_at", Instant
    ),  # when an operator last retried it: it may be replaced once more, and immediately
    Column("abandoned_at", Instant),  # when an operator gave it up; it stays dead for good
    ForeignKeyConstraint(
        ["credit_number", "invoice_id"],
        ["credits.number", "credits.invoice_id"],
        name="a_transfer_has_its_credit",
    ),
    UniqueConstraint("credit_number", "generation", name="a_generation_once"),
    # The bank's transfer is of one credit (a_sighting_once, and the reference), and of one transfer of that.
    ForeignKeyConstraint(
        ["credit_number", "bank_transfer_id"],
        ["bank_transfers.credit_number", "bank_transfers.bank_transfer_id"],
        name="a_bank_transfer_is_of_its_credit",
    ),
    UniqueConstraint("credit_number", "bank_transfer_id", name="a_bank_transfer_once"),
    # As transfer.external_id_for derives it. With a_credit_once_per_invoice, an_invoice_id_has_no_dash and
    # a_generation_once, no two transfers share an external_id, and no index over all of them is needed.
    CheckConstraint(
        "external_id = 'credit-' || invoice_id || CASE WHEN generation = 1 THEN '' ELSE '-r' || generation END",
        name="an_external_id_is_derived",
    ),
    CheckConstraint("amount_centavos > 0", name="only_positive_amounts_are_sent"),
    CheckConstraint("(state = 'sending') = (lease_expires_at IS NOT NULL)", name="lease_iff_sending"),
    CheckConstraint(
        "state NOT IN ('sent', 'settled') OR bank_transfer_id IS NOT NULL", name="sent_has_its_bank_id"
    ),
    CheckConstraint(_one_of("state", TRANSFER_STATES), name="transfer_state_known"),
    CheckConstraint(
        "abandoned_at IS NULL OR state IN ('dead', 'settled', 'stopped')", name="only_the_dead_are_abandoned"
    ),
)
is_live = text(_one_of("state", LIVE_TRANSFER_STATES))
Index(
    "one_live_transfer_per_credit",
    transfers.c.credit_number,
    unique=True,
    sqlite_where=is_live,
    postgresql_where=is_live,
)
_pending, _sending, _sent = (text(f"state = '{state}'") for state in ("pending", "sending", "sent"))
Index("transfers_due", transfers.c.due_at, sqlite_where=_pending, postgresql_where=_pending)
Index("transfers_leased", transfers.c.lease_expires_at, sqlite_where=_sending, postgresql_where=_sending)
Index("transfers_in_flight", transfers.c.sent_at, sqlite_where=_sent, postgresql_where=_sent)
# For the operator's lists, newest first; the states above have their own.
_settled = text("state = 'settled'")
is_ended = text(_one_of("state", ("dead", "failed", "stopped")))
Index(
    "transfers_settled",
    transfers.c.settled_at,
    transfers.c.amount_centavos,
    sqlite_where=_settled,
    postgresql_where=_settled,
)
Index(
    "transfers_ended",
    transfers.c.state,
    transfers.c.id,
    sqlite_where=is_ended,
    postgresql_where=is_ended,
)

transfer_history = Table(
    "transfer_history",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("transfer_id", ForeignKey("transfers.id", name="history_has_its_transfer"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("fact", String(24), nullable=False),  # claimed, sent, found, unclear, ...
    Column("state", String(16), nullable=False),  # the state afterwards
    Column("attempt", Integer, nullable=False),
    Column("detail", Text),
)
Index("transfer_history_by_transfer", transfer_history.c.transfer_id)

issuing_windows = Table(
    "issuing_windows",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token", String(16), nullable=False),  # makes this window's tags unlike any other deployment's
    Column("opened_at", Instant, nullable=False),
    Column("interval_seconds", Float, nullable=False),
    Column("slots", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_window"),
    CheckConstraint("slots > 0 AND interval_seconds > 0", name="window_has_slots"),
)

invoice_batches = Table(
    "invoice_batches",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("slot", Integer),  # NULL: issued by hand, outside the window
    Column("tag", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),  # when the slot begins
    Column("next_at", Instant, nullable=False),  # when a planned one is to be tried
    Column("lease_expires_at", Instant),
    Column("late", Boolean, nullable=False),
    Column("reason", Text),
    Column("planned_at", Instant, nullable=False),
    Column("issued_at", Instant),
    UniqueConstraint("slot", name="a_slot_once"),
    UniqueConstraint("tag", name="a_batch_tag_once"),
    CheckConstraint(
        _one_of("state", ("requested", "planned", "issuing", "issued", "skipped")), name="batch_state_known"
    ),
    CheckConstraint("(state = 'issuing') = (lease_expires_at IS NOT NULL)", name="batch_lease_iff_issuing"),
    CheckConstraint("(state = 'issued') = (issued_at IS NOT NULL)", name="issued_has_its_time"),
)

# Ours, from the moment they are planned, and those of other systems that the bank reported to us.
INVOICE_STATES = ("planned", "open", "overdue", "expired", "canceled", "paid", "credited")

invoices = Table(
    "invoices",
    metadata,
    Column("id", _Serial, primary_key=True),
    # of ours; NULL when another system issued it
    Column("batch_id", ForeignKey("invoice_batches.id", name="an_invoice_has_its_batch")),
    Column("position", Integer),
    Column("tag", String(80)),
    Column("bank_invoice_id", String(64)),  # NULL: planned, and not at the bank as far as we know
    Column("state", String(16), nullable=False),  # see invoice.InvoiceState
    Column("amount_centavos", BigInteger, nullable=False),  # as planned; then as the bank last reported it
    Column("payer_name", String(128)),
    Column("payer_tax_id", String(24)),  # masked
    Column("payer_tax_id_to_issue", String(24)),  # whole, and only until the bank has the invoice
    Column("payer_search", String(128)),  # the name as invoice.searchable makes it
    Column("payer_tax_id_hash", String(32)),  # see tax_id.hash_tax_id
    Column("payer_end_to_end_id", String(32)),  # of the Pix by which it was paid
    Column("tags", Text),  # all of them, as JSON
    Column("link", Text),  # to its page at the bank
    Column("recorded_at", Instant, nullable=False),  # when it was planned, or first reported to us
    Column("reported_at", Instant),  # the bank's own time of what it last reported
    Column("issued_at", Instant),
    Column("due_at", Instant),
    Column("paid_at", Instant),
    UniqueConstraint("batch_id", "position", name="a_position_once"),
    UniqueConstraint("tag", name="an_invoice_tag_once"),
    UniqueConstraint("bank_invoice_id", name="a_bank_invoice_once"),
    CheckConstraint(_one_of("state", INVOICE_STATES), name="invoice_state_known"),
    CheckConstraint("(state = 'planned') = (bank_invoice_id IS NULL)", name="planned_iff_not_at_the_bank"),
    CheckConstraint("(bank_invoice_id IS NULL) = (reported_at IS NULL)", name="at_the_bank_has_its_report"),
    CheckConstraint(
        "(batch_id IS NULL) = (tag IS NULL) AND (batch_id IS NULL) = (position IS NULL) "
        "AND (batch_id IS NOT NULL OR bank_invoice_id IS NOT NULL)",
        name="an_invoice_is_ours_or_at_the_bank",
    ),
    CheckConstraint(
        "bank_invoice_id IS NULL OR payer_tax_id_to_issue IS NULL", name="a_tax_id_is_whole_until_issued"
    ),
    CheckConstraint("state <> 'planned' OR amount_centavos > 0", name="only_positive_invoices"),
    CheckConstraint("amount_centavos >= 0", name="no_negative_invoice"),
)
# With the amount, so that sums are read from the index alone.
Index("invoices_by_time", invoices.c.recorded_at, invoices.c.id, invoices.c.amount_centavos)
# Nearly every invoice ends up credited; what has not is few, and is what an operator looks for.
is_not_credited = text("state <> 'credited'")
Index(
    "invoices_not_credited",
    invoices.c.state,
    invoices.c.recorded_at,
    invoices.c.id,
    invoices.c.amount_centavos,
    sqlite_where=is_not_credited,
    postgresql_where=is_not_credited,
)
# A part of a name is looked for in every entry: the index holds all that is compared and found, a fifth of the table.
Index(
    "invoices_by_payer",
    invoices.c.payer_search,
    invoices.c.payer_tax_id_hash,
    invoices.c.bank_invoice_id,
)

attentions = Table(
    "attentions",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(96), nullable=False),
    Column("invoice_id", String(64)),  # the invoice whose credit it is about, where there is one
    Column("detail", Text, nullable=False),
    Column("raised_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("notified_at", Instant),  # when an alert of it was taken; NULL: not yet
    Column("notify_after", Instant),  # not before then: a process is sending it, or it is to be tried again
    Column("notify_attempts", Integer, nullable=False, server_default="0"),
)
_open = text("resolved_at IS NULL")
Index(
    "one_open_attention_per_subject",
    attentions.c.kind,
    attentions.c.subject,
    unique=True,
    sqlite_where=_open,
    postgresql_where=_open,
)
Index("attentions_by_subject", attentions.c.subject)
Index("attentions_by_invoice", attentions.c.invoice_id)
Index("attentions_open", attentions.c.id, sqlite_where=_open, postgresql_where=_open)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("found", Integer, nullable=False),  # facts that were new to us
    Column("failure", Text),  # NULL when every question to the bank was answered
)
Index("reconciliations_by_time", reconciliations.c.started_at)

# --- what operators did, and what they decided ---

actions = Table(
    "actions",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("who", String(64), nullable=False),
    Column("kind", String(24), nullable=False),  # retry, abandon, replay, pause, ...
    Column("subject", String(96), nullable=False),  # an external_id, an event, what is paused
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("is_proved", Boolean, nullable=False),  # who is the name of the token's owner; else it was typed
    CheckConstraint("reason <> '' AND who <> ''", name="an_action_has_its_reason"),
)
Index("actions_by_subject", actions.c.subject)

pauses = Table(
    "pauses",
    metadata,
    Column("name", String(16), nullable=False),
    Column("paused_at", Instant),  # NULL: running
    Column("paused_by", String(64)),
    Column("reason", Text),
    PrimaryKeyConstraint("name", name="a_pause_once"),
    CheckConstraint(
        "(paused_at IS NULL) = (paused_by IS NULL) AND (paused_at IS NULL) = (reason IS NULL)",
        name="a_pause_says_who_and_why",
    ),
    CheckConstraint(_one_of("name", ("forwarding", "issuing")), name="pause_known"),
)

# A row here closes this database: its rows were copied to another, which is now the one in use.
relocations = Table(
    "relocations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("moved_to", String(200), nullable=False),  # the other database's address, without its password
    Column("moved_at", Instant, nullable=False),
    CheckConstraint("id = 1", name="one_relocation"),
)

processes = Table(
    "processes",
    metadata,
    Column("id", String(64), nullable=False),  # chosen at its start
    Column("kind", String(16), nullable=False),  # web, worker
    Column("host", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("stopped_at", Instant),  # NULL: it runs, or it died
    Column("bank_key_fetched_at", Instant),
    # when it last noticed that a clock was set by more than a minute, and by how much (below 0: back)
    Column("clock_stepped_at", Instant),
    Column("clock_step_seconds", Float),
    Column("bank_verdict", String(16)),  # of its last call to the bank; NULL: it has made none
    Column("bank_called_at", Instant),
    PrimaryKeyConstraint("id", name="a_process_once"),
    CheckConstraint("(bank_verdict IS NULL) = (bank_called_at IS NULL)", name="a_bank_call_has_its_verdict"),
)
