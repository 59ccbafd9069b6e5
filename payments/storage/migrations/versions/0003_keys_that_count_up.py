"""Credits are numbered, and transfers refer to the number: fewer indexes in the random order of the bank's ids.

All rows are kept. On SQLite the tables are made anew, since it cannot change a constraint; on PostgreSQL they are
altered where they are. Nothing is committed unless counts and sums are what they were.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVE = "state IN ('dead', 'pending', 'sending', 'sent', 'settled')"
_MAY_BE_A_REISSUE = "replace(external_id, '-r', '') <> external_id"
_DERIVED = (
    "external_id = 'credit-' || invoice_id || '-r' || generation "
    "OR (generation = 1 AND external_id = 'credit-' || invoice_id)"
)

# What must be the same afterwards: of each table its rows, and whatever is money or says whose it is.
_SUMS = (
    "SELECT count(*), count(DISTINCT invoice_id), sum(gross_centavos), sum(fee_centavos), sum(net_centavos), "
    "sum(withheld_centavos), count(DISTINCT log_id) FROM credits",
    "SELECT state, generation, count(*), count(DISTINCT invoice_id), count(DISTINCT external_id), "
    "sum(amount_centavos), sum(attempt), count(bank_transfer_id) FROM transfers "
    "GROUP BY state, generation ORDER BY state, generation",
    # each transfer with its credit's money
    "SELECT count(*), sum(c.net_centavos - t.amount_centavos) FROM transfers t "
    "JOIN credits c ON c.invoice_id = t.invoice_id",
    # each transfer with what the bank said of it
    "SELECT t.state, b.status, count(*), sum(b.amount_centavos) FROM transfers t JOIN bank_transfers b "
    "ON b.bank_transfer_id = t.bank_transfer_id GROUP BY t.state, b.status ORDER BY t.state, b.status",
    "SELECT count(*), count(DISTINCT external_id), sum(amount_centavos), count(errors) FROM bank_transfers",
    "SELECT count(*), sum(transfer_id), sum(attempt), max(id) FROM transfer_history",
    "SELECT count(*) FROM inbox_events",
)


# Whatever a transfer of ours says that the bank gave it an id, there is what the bank said of it. Our programs have
# always kept both; should a row be missing, the transfer tells as much.
_SIGHT = (
    "INSERT INTO bank_transfers (bank_transfer_id, external_id, status, amount_centavos, seen_at) "
    "SELECT bank_transfer_id, external_id, CASE state WHEN 'settled' THEN 'success' WHEN 'failed' THEN 'failed' "
    "ELSE 'created' END, amount_centavos, coalesce(settled_at, sent_at, created_at) FROM transfers t "
    "WHERE bank_transfer_id IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM bank_transfers b WHERE b.bank_transfer_id = t.bank_transfer_id)"
)


def _credit_of(credits: str) -> str:
    """The number of the credit that a sighting ``b`` is of: of the transfer that carries it, or has its external_id;

    or else the credit whose reissue it names, or whose first transfer.
    """
    name = "substr(b.external_id, 8)"  # after credit-
    base = f"rtrim({name}, '0123456789')"
    is_ours = "substr(b.external_id, 1, 7) = 'credit-'"
    of_transfer = f"SELECT c.number FROM transfers t JOIN {credits} c ON c.invoice_id = t.invoice_id WHERE"  # noqa: S608
    return (
        f"coalesce(({of_transfer} t.bank_transfer_id = b.bank_transfer_id), "  # noqa: S608, our own words
        f"({of_transfer} t.external_id = b.external_id), "
        f"(SELECT c.number FROM {credits} c WHERE {is_ours} AND {base} <> {name} "
        f"AND c.invoice_id = CASE WHEN {base} LIKE '%-r' THEN substr({base}, 1, length({base}) - 2) END), "
        f"(SELECT c.number FROM {credits} c WHERE {is_ours} AND c.invoice_id = {name}))"
    )


def upgrade() -> None:
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        _prepare_postgresql(connection)
    op.execute(_SIGHT)
    before = _sums(connection)
    op.drop_index("inbox_events_by_subject", "inbox_events")
    made_no_credit = sa.text("outcome <> 'credit'")
    op.create_index(
        "inbox_events_by_subject",
        "inbox_events",
        ["subject"],
        sqlite_where=made_no_credit,
        postgresql_where=made_no_credit,
    )
    if is_sqlite:
        _make_anew((_CREDITS, _SIGHTINGS, _TRANSFERS), (_NUMBERED, _SEEN, _REFERRING))
    else:
        for statement in _ALTER:
            op.execute(statement)
    _index(sa.text(_LIVE), "credit_number")
    may_be_a_reissue = sa.text(_MAY_BE_A_REISSUE)
    op.create_index(
        "an_external_id_once",
        "transfers",
        ["external_id"],
        unique=True,
        sqlite_where=may_be_a_reissue,
        postgresql_where=may_be_a_reissue,
    )
    _check(connection, before)
    # The first 0002 counted every credit here, and books have it that were brought up by that.
    op.execute("DELETE FROM totals WHERE name = 'credits.withheld'")
    op.execute(
        "INSERT INTO totals (name, shard, number, centavos) SELECT 'credits.withheld', 0, COUNT(*), "
        "SUM(withheld_centavos) FROM credits WHERE withheld_centavos > 0 HAVING COUNT(*) > 0"
    )


def downgrade() -> None:
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        _prepare_postgresql(connection)
    before = _sums(connection)
    op.drop_index("inbox_events_by_subject", "inbox_events")
    op.create_index("inbox_events_by_subject", "inbox_events", ["subject"])
    if is_sqlite:
        _make_anew((_OLD_CREDITS, _OLD_SIGHTINGS, _OLD_TRANSFERS), (_UNNUMBERED, _JUST_SEEN, _NOT_REFERRING))
    else:
        for statement in _ALTER_BACK:
            op.execute(statement)
    _index(sa.text(_LIVE), "invoice_id")
    op.create_index("bank_transfers_by_external_id", "bank_transfers", ["external_id"])
    _check(connection, before)


# --- the same before and after ---


def _sums(connection: sa.Connection) -> list[list[tuple[object, ...]]]:
    return [[tuple(row) for row in connection.execute(sa.text(query))] for query in _SUMS]


def _check(connection: sa.Connection, before: list[list[tuple[object, ...]]]) -> None:
    after = _sums(connection)
    for query, was, is_ in zip(_SUMS, before, after, strict=True):
        if was != is_:
            raise RuntimeError(f"{query}: {was} before, {is_} afterwards; nothing was changed")
    if connection.dialect.name == "sqlite":
        orphans = connection.execute(sa.text("PRAGMA foreign_key_check")).fetchmany(3)
        if orphans:
            raise RuntimeError(f"rows without what they refer to: {orphans}; nothing was changed")


def _index(live: sa.TextClause, column: str) -> None:
    """The indexes that were dropped with their table, or are over another column now."""
    op.create_index(
        "one_live_transfer_per_credit",
        "transfers",
        [column],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    if op.get_bind().dialect.name != "sqlite":
        return
    op.create_index("credits_by_time", "credits", ["recorded_at"])
    for name, columns, where in (
        ("transfers_due", ["due_at"], "state = 'pending'"),
        ("transfers_leased", ["lease_expires_at"], "state = 'sending'"),
        ("transfers_in_flight", ["sent_at"], "state = 'sent'"),
        ("transfers_settled", ["settled_at"], "state = 'settled'"),
        ("transfers_ended", ["state", "id"], "state IN ('dead', 'failed', 'stopped')"),
    ):
        op.create_index(name, "transfers", columns, sqlite_where=sa.text(where))
    op.create_index("transfer_history_by_transfer", "transfer_history", ["transfer_id"])


# --- PostgreSQL ---


def _prepare_postgresql(connection: sa.Connection) -> None:
    # As long as it takes; and everything that is changed is locked first, in the order in which our code writes.
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(
        sa.text(
            "LOCK TABLE inbox_events, credits, transfers, bank_transfers, transfer_history IN ACCESS EXCLUSIVE MODE"
        )
    )


_ALTER = (
    "ALTER TABLE credits ADD COLUMN number BIGINT",
    "UPDATE credits SET number = numbered.number FROM (SELECT invoice_id, row_number() OVER "
    "(ORDER BY recorded_at, invoice_id) AS number FROM credits) numbered "
    "WHERE numbered.invoice_id = credits.invoice_id",
    "ALTER TABLE transfers ADD COLUMN credit_number BIGINT",
    "UPDATE transfers SET credit_number = credits.number FROM credits "
    "WHERE credits.invoice_id = transfers.invoice_id",
    "ALTER TABLE bank_transfers ADD COLUMN credit_number BIGINT",
    f"UPDATE bank_transfers b SET credit_number = {_credit_of('credits')}",  # noqa: S608, our own words
    "ALTER TABLE transfers DROP CONSTRAINT a_transfer_has_its_credit, DROP CONSTRAINT a_generation_once, "
    "DROP CONSTRAINT an_external_id_once, DROP CONSTRAINT a_bank_transfer_once",
    "DROP INDEX one_live_transfer_per_credit",
    "DROP INDEX bank_transfers_by_external_id",
    "ALTER TABLE credits DROP CONSTRAINT a_credit_once_per_invoice",
    "CREATE SEQUENCE credits_number_seq OWNED BY credits.number",
    "SELECT setval('credits_number_seq', coalesce(max(number), 1), max(number) IS NOT NULL) FROM credits",
    "ALTER TABLE credits ALTER COLUMN number SET NOT NULL, "
    "ALTER COLUMN number SET DEFAULT nextval('credits_number_seq'), "
    "ADD PRIMARY KEY (number), "
    "ADD CONSTRAINT a_credit_once_per_invoice UNIQUE (invoice_id), "
    "ADD CONSTRAINT a_number_has_its_invoice UNIQUE (number, invoice_id)",
    "ALTER TABLE bank_transfers "
    "ADD CONSTRAINT a_sighting_has_its_credit FOREIGN KEY (credit_number) REFERENCES credits (number), "
    "ADD CONSTRAINT a_sighting_has_one_credit UNIQUE (credit_number, bank_transfer_id)",
    "ALTER TABLE transfers ALTER COLUMN credit_number SET NOT NULL, "
    "ADD CONSTRAINT a_transfer_has_its_credit FOREIGN KEY (credit_number, invoice_id) "
    "REFERENCES credits (number, invoice_id), "
    "ADD CONSTRAINT a_bank_transfer_is_of_its_credit FOREIGN KEY (credit_number, bank_transfer_id) "
    "REFERENCES bank_transfers (credit_number, bank_transfer_id), "
    "ADD CONSTRAINT a_generation_once UNIQUE (credit_number, generation), "
    "ADD CONSTRAINT a_bank_transfer_once UNIQUE (credit_number, bank_transfer_id), "
    f"ADD CONSTRAINT an_external_id_is_derived CHECK ({_DERIVED})",
)

_ALTER_BACK = (
    "DROP INDEX one_live_transfer_per_credit",
    "DROP INDEX an_external_id_once",
    # with all the constraints that it is part of
    "ALTER TABLE transfers DROP CONSTRAINT an_external_id_is_derived, DROP COLUMN credit_number",
    "ALTER TABLE bank_transfers DROP COLUMN credit_number",
    "ALTER TABLE credits DROP CONSTRAINT a_credit_once_per_invoice, DROP COLUMN number",
    "ALTER TABLE credits ADD CONSTRAINT a_credit_once_per_invoice PRIMARY KEY (invoice_id)",
    "ALTER TABLE transfers ADD CONSTRAINT a_transfer_has_its_credit FOREIGN KEY (invoice_id) "
    "REFERENCES credits (invoice_id), "
    "ADD CONSTRAINT a_generation_once UNIQUE (invoice_id, generation), "
    "ADD CONSTRAINT a_bank_transfer_once UNIQUE (bank_transfer_id), "
    "ADD CONSTRAINT an_external_id_once UNIQUE (external_id)",
)


# --- SQLite ---


def _make_anew(columns: tuple[str, str, str], fillings: tuple[str, str, str]) -> None:
    """New tables beside the old ones; the old ones go, whoever refers first; then the new ones take their names.

    Not the other way round: a table that others refer to cannot go, and references are kept all the while.
    """
    tables = ("credits", "bank_transfers", "transfers", "transfer_history")
    for table, its_columns, filling in zip(tables, (*columns, _HISTORY), (*fillings, _HAPPENED), strict=True):
        op.execute(f"CREATE TABLE new_{table} ({its_columns})")
        op.execute(filling)
    for table in reversed(tables):
        op.drop_table(table)
    for table in tables:
        op.rename_table(f"new_{table}", table)


_CREDIT_COLUMNS = (
    "log_id VARCHAR(64) NOT NULL, event_id VARCHAR(80) NOT NULL, gross_centavos BIGINT NOT NULL, "
    "fee_centavos BIGINT NOT NULL, net_centavos BIGINT NOT NULL, withheld_centavos BIGINT NOT NULL, "
    "disposition VARCHAR(24) NOT NULL, credited_at VARCHAR(27) NOT NULL, recorded_at VARCHAR(27) NOT NULL, "
    "CONSTRAINT a_credit_once_per_log UNIQUE (log_id), "
    "CONSTRAINT net_is_gross_minus_fee CHECK (net_centavos = gross_centavos - fee_centavos), "
    "CONSTRAINT no_negative_credit CHECK (gross_centavos >= 0 AND fee_centavos >= 0), "
    "CONSTRAINT withheld_within_net CHECK "
    "(withheld_centavos >= 0 AND (withheld_centavos = 0 OR withheld_centavos <= net_centavos)), "
    "CONSTRAINT credit_disposition_known CHECK (disposition IN ('forward', 'not_ours', 'nothing_to_forward')), "
    "CONSTRAINT only_positive_net_is_forwarded CHECK (disposition <> 'forward' OR net_centavos > 0), "
    "CONSTRAINT a_credit_has_its_event FOREIGN KEY(event_id) REFERENCES inbox_events (event_id)"
)
_CREDITS = (
    f"number INTEGER NOT NULL, invoice_id VARCHAR(64) NOT NULL, {_CREDIT_COLUMNS}, PRIMARY KEY (number), "
    "CONSTRAINT a_credit_once_per_invoice UNIQUE (invoice_id), "
    "CONSTRAINT a_number_has_its_invoice UNIQUE (number, invoice_id)"
)
_OLD_CREDITS = (
    f"invoice_id VARCHAR(64) NOT NULL, {_CREDIT_COLUMNS}, "
    "CONSTRAINT a_credit_once_per_invoice PRIMARY KEY (invoice_id)"
)
_CREDIT_VALUES = (
    "invoice_id, log_id, event_id, gross_centavos, fee_centavos, net_centavos, withheld_centavos, disposition, "
    "credited_at, recorded_at"
)
# Each row that is inserted gets the next number.
_NUMBERED = (
    f"INSERT INTO new_credits ({_CREDIT_VALUES}) "  # noqa: S608, our own words
    f"SELECT {_CREDIT_VALUES} FROM credits ORDER BY recorded_at, rowid"
)
_UNNUMBERED = (
    f"INSERT INTO new_credits ({_CREDIT_VALUES}) SELECT {_CREDIT_VALUES} FROM credits ORDER BY number"  # noqa: S608
)

_SIGHTING_COLUMNS = (
    "external_id VARCHAR(96) NOT NULL, status VARCHAR(24) NOT NULL, amount_centavos BIGINT NOT NULL, errors TEXT, "
    "seen_at VARCHAR(27) NOT NULL, CONSTRAINT a_sighting_once PRIMARY KEY (bank_transfer_id)"
)
_SIGHTINGS = (
    f"bank_transfer_id VARCHAR(64) NOT NULL, credit_number INTEGER, {_SIGHTING_COLUMNS}, "
    "CONSTRAINT a_sighting_has_its_credit FOREIGN KEY(credit_number) REFERENCES new_credits (number), "
    "CONSTRAINT a_sighting_has_one_credit UNIQUE (credit_number, bank_transfer_id)"
)
_OLD_SIGHTINGS = f"bank_transfer_id VARCHAR(64) NOT NULL, {_SIGHTING_COLUMNS}"
_SIGHTING_VALUES = "bank_transfer_id, external_id, status, amount_centavos, errors, seen_at"
_SEEN = (
    f"INSERT INTO new_bank_transfers (credit_number, {_SIGHTING_VALUES}) "  # noqa: S608
    f"SELECT {_credit_of('new_credits')}, {_SIGHTING_VALUES} FROM bank_transfers b ORDER BY rowid"
)
_JUST_SEEN = (
    f"INSERT INTO new_bank_transfers ({_SIGHTING_VALUES}) "  # noqa: S608
    f"SELECT {_SIGHTING_VALUES} FROM bank_transfers ORDER BY rowid"
)

_TRANSFER_COLUMNS = (
    "invoice_id VARCHAR(64) NOT NULL, generation INTEGER NOT NULL, external_id VARCHAR(96) NOT NULL, "
    "amount_centavos BIGINT NOT NULL, destination_id INTEGER NOT NULL, state VARCHAR(16) NOT NULL, "
    "attempt INTEGER NOT NULL, calls INTEGER NOT NULL, call_tag VARCHAR(64), due_at VARCHAR(27) NOT NULL, "
    "lease_expires_at VARCHAR(27), bank_transfer_id VARCHAR(64), reason TEXT, created_at VARCHAR(27) NOT NULL, "
    "sent_at VARCHAR(27), settled_at VARCHAR(27), PRIMARY KEY (id), "
    "CONSTRAINT only_positive_amounts_are_sent CHECK (amount_centavos > 0), "
    "CONSTRAINT lease_iff_sending CHECK ((state = 'sending') = (lease_expires_at IS NOT NULL)), "
    "CONSTRAINT sent_has_its_bank_id CHECK (state NOT IN ('sent', 'settled') OR bank_transfer_id IS NOT NULL), "
    "CONSTRAINT transfer_state_known CHECK "
    "(state IN ('dead', 'failed', 'pending', 'sending', 'sent', 'settled', 'stopped')), "
    "CONSTRAINT a_transfer_has_its_destination FOREIGN KEY(destination_id) REFERENCES destinations (id)"
)
_TRANSFERS = (
    f"id INTEGER NOT NULL, credit_number INTEGER NOT NULL, {_TRANSFER_COLUMNS}, "
    "CONSTRAINT a_transfer_has_its_credit FOREIGN KEY(credit_number, invoice_id) "
    "REFERENCES new_credits (number, invoice_id), "
    "CONSTRAINT a_bank_transfer_is_of_its_credit FOREIGN KEY(credit_number, bank_transfer_id) "
    "REFERENCES new_bank_transfers (credit_number, bank_transfer_id), "
    "CONSTRAINT a_bank_transfer_once UNIQUE (credit_number, bank_transfer_id), "
    "CONSTRAINT a_generation_once UNIQUE (credit_number, generation), "
    f"CONSTRAINT an_external_id_is_derived CHECK ({_DERIVED})"
)
_OLD_TRANSFERS = (
    f"id INTEGER NOT NULL, {_TRANSFER_COLUMNS}, "
    "CONSTRAINT a_transfer_has_its_credit FOREIGN KEY(invoice_id) REFERENCES new_credits (invoice_id), "
    "CONSTRAINT a_bank_transfer_once UNIQUE (bank_transfer_id), "
    "CONSTRAINT an_external_id_once UNIQUE (external_id), "
    "CONSTRAINT a_generation_once UNIQUE (invoice_id, generation)"
)
_TRANSFER_VALUES = (
    "invoice_id, generation, external_id, amount_centavos, destination_id, state, attempt, calls, call_tag, due_at, "
    "lease_expires_at, bank_transfer_id, reason, created_at, sent_at, settled_at"
)
_REFERRING = (
    f"INSERT INTO new_transfers (id, credit_number, {_TRANSFER_VALUES}) "  # noqa: S608
    "SELECT id, (SELECT number FROM new_credits WHERE new_credits.invoice_id = transfers.invoice_id), "
    f"{_TRANSFER_VALUES} FROM transfers ORDER BY id"
)
_NOT_REFERRING = (
    f"INSERT INTO new_transfers (id, {_TRANSFER_VALUES}) "  # noqa: S608
    f"SELECT id, {_TRANSFER_VALUES} FROM transfers ORDER BY id"
)
_HISTORY = (
    "id INTEGER NOT NULL, transfer_id INTEGER NOT NULL, at VARCHAR(27) NOT NULL, fact VARCHAR(24) NOT NULL, "
    "state VARCHAR(16) NOT NULL, attempt INTEGER NOT NULL, detail TEXT, PRIMARY KEY (id), "
    "CONSTRAINT history_has_its_transfer FOREIGN KEY(transfer_id) REFERENCES new_transfers (id)"
)
_HAPPENED = (
    "INSERT INTO new_transfer_history (id, transfer_id, at, fact, state, attempt, detail) "
    "SELECT id, transfer_id, at, fact, state, attempt, detail FROM transfer_history ORDER BY id"
)
