"""The schema: what it refuses to hold, by the name of the invariant, past all of our code."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Table, inspect, text
from sqlalchemy.exc import IntegrityError

from payments.ledger.lineages import StoredCredit, Transfer
from payments.storage.database import Database, open_database
from payments.storage.schema import (
    LIVE_TRANSFER_STATES,
    TRANSFER_STATES,
    credits,
    metadata,
    transfers,
)
from payments.transfer import LIVE_STATES, ORIGINS, Destination, TransferState
from tests.postgresql import Databases

# A sound row for each table; the tables are in the order of their references.
ROWS: dict[str, dict[str, Any]] = {
    "inbox_events": {
        "event_id": "'e'", "source": "'webhook'", "subscription": "'invoice'", "log_type": "'credited'",
        "outcome": "'credit'", "body": "x'00'", "received_at": "'t'",
    },
    "credits": {
        "number": 1, "invoice_id": "'i'", "log_id": "'l'", "event_id": "'e'", "gross_centavos": 100, "fee_centavos": 5,
        "net_centavos": 95, "withheld_centavos": 0, "is_of_ours": "'1'",
        "disposition": "'forward'", "credited_at": "'t'",
        "recorded_at": "'t'",
    },
    "reversals": {
        "log_id": "'v'", "invoice_id": "'i'", "remaining_centavos": 0, "reversed_at": "'t'",
        "recorded_at": "'t'",
    },
    "destinations": {
        "id": 1, "bank_code": "'1'", "branch_code": "'1'", "account_number": "'1'", "account_type": "'1'",
        "name": "'1'", "tax_id": "'1'",
    },
    "bank_transfers": {
        "bank_transfer_id": "'A'", "credit_number": 1, "external_id": "'credit-i'", "status": "'created'",
        "amount_centavos": 95, "seen_at": "'t'",
    },
    "transfers": {
        "id": 1, "credit_number": 1, "invoice_id": "'i'", "generation": 1, "external_id": "'credit-i'",
        "amount_centavos": 95, "destination_id": 1, "state": "'sent'", "attempt": 1, "calls": 1, "due_at": "'t'",
        "bank_transfer_id": "'A'", "created_at": "'t'", "lease_expires_at": "NULL", "abandoned_at": "NULL",
    },
    "transfer_history": {
        "id": 1, "transfer_id": 1, "at": "'t'", "fact": "'sent'", "state": "'sent'", "attempt": 1,
    },
    "issuing_windows": {
        "id": 1, "token": "'k'", "opened_at": "'t'", "interval_seconds": 5.0, "slots": 8,
    },
    "invoice_batches": {
        "id": 1, "slot": 0, "tag": "'b'", "state": "'planned'", "attempt": 0, "due_at": "'t'",
        "next_at": "'t'", "late": "'0'", "planned_at": "'t'", "lease_expires_at": "NULL", "issued_at": "NULL",
    },
    "invoices": {
        "id": 1, "batch_id": 1, "position": 1, "tag": "'b-01'", "amount_centavos": 100,
        "payer_name": "'Ana'", "payer_tax_id": "'1'", "bank_invoice_id": "'I'", "state": "'open'", "reported_at": "'t'",
        "recorded_at": "'t'", "payer_tax_id_to_issue": "NULL",
    },
    "attentions": {
        "id": 1, "kind": "'k'", "subject": "'s'", "detail": "'d'", "raised_at": "'t'", "resolved_at": "NULL",
    },
    "reconciliations": {"id": 1, "started_at": "'t'", "ended_at": "'t'", "found": 0},
    "actions": {
        "id": 1, "at": "'t'", "who": "'ana'", "kind": "'retry'", "subject": "'credit-i'",
        "reason": "'the account is open again'", "result": "'pending'", "is_proved": "'0'",
    },
    "pauses": {"name": "'forwarding'", "paused_at": "NULL", "paused_by": "NULL", "reason": "NULL"},
    "relocations": {"id": 1, "moved_to": "'sqlite:///other.db'", "moved_at": "'t'"},
    "processes": {
        "id": "'p'", "kind": "'web'", "host": "'h'", "pid": 1, "version": "'1'", "started_at": "'t'",
        "seen_at": "'t'",
    },
}  # fmt: skip

# A second row that breaks nothing.
SECOND_CREDIT = {"number": 2, "invoice_id": "'j'", "log_id": "'m'"}
SECOND_REVERSAL = {"log_id": "'w'"}
SECOND_TRANSFER = {
    "id": 2, "generation": 2, "external_id": "'credit-i-r2'", "bank_transfer_id": "NULL", "state": "'failed'",
}  # fmt: skip
SECOND_BATCH = {"id": 2, "slot": 1, "tag": "'c'"}
SECOND_INVOICE = {"id": 2, "position": 2, "tag": "'b-02'", "bank_invoice_id": "'J'"}
PLANNED_INVOICE = SECOND_INVOICE | {"bank_invoice_id": "NULL", "state": "'planned'", "reported_at": "NULL"}

# What a second row changes of the first one, and the invariant that it would break. SQLite names a check by its name, a
# unique index or key by its columns (here after the name), and a reference not at all.
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("an_event_once: event_id", "inbox_events", {}),
    ("a_credit_once_per_invoice: invoice_id", "credits", {"number": 2, "log_id": "'m'"}),
    ("a_credit_once_per_log: log_id", "credits", {"number": 2, "invoice_id": "'j'"}),
    ("a_credit_has_its_event: FOREIGN KEY", "credits", SECOND_CREDIT | {"event_id": "'?'"}),
    ("net_is_gross_minus_fee", "credits", SECOND_CREDIT | {"net_centavos": 96}),
    ("no_negative_credit", "credits", SECOND_CREDIT | {"fee_centavos": -5, "net_centavos": 105}),
    ("withheld_within_net", "credits", SECOND_CREDIT | {"withheld_centavos": 96}),
    ("withheld_within_net", "credits", SECOND_CREDIT | {"withheld_centavos": -1}),
    ("credit_disposition_known", "credits", SECOND_CREDIT | {"disposition": "'maybe'"}),
    ("only_positive_net_is_forwarded", "credits", SECOND_CREDIT | {"fee_centavos": 100, "net_centavos": 0}),
    ("an_invoice_id_has_no_dash", "credits", SECOND_CREDIT | {"invoice_id": "'i-r2'"}),
    ("a_reversal_once: log_id", "reversals", {}),
    ("no_negative_remainder", "reversals", SECOND_REVERSAL | {"remaining_centavos": -1}),
    ("a_destination_once: bank_code", "destinations", {"id": 2}),
    *(
        ("an_external_id_is_derived", "transfers", SECOND_TRANSFER | {"external_id": f"'{external_id}'"})
        for external_id in ("credit-i", "credit-j-r2", "credit-i-r3", "credit-i-r02", "Credit-i-r2", "x", "")
    ),
    (
        "an_external_id_is_derived",
        "transfers",
        SECOND_TRANSFER | {"credit_number": 9, "generation": 1, "external_id": "'credit-i-r1'"},
    ),
    (
        "a_generation_once: generation",
        "transfers",
        SECOND_TRANSFER | {"generation": 1, "external_id": "'credit-i'"},
    ),
    ("a_bank_transfer_once: bank_transfer_id", "transfers", SECOND_TRANSFER | {"bank_transfer_id": "'A'"}),
    (
        "a_bank_transfer_is_of_its_credit: FOREIGN KEY",
        "transfers",
        SECOND_TRANSFER | {"bank_transfer_id": "'B'"},
    ),
    ("a_transfer_has_its_credit: FOREIGN KEY", "transfers", SECOND_TRANSFER | {"credit_number": 9}),
    (
        "a_transfer_has_its_credit: FOREIGN KEY",
        "transfers",
        SECOND_TRANSFER | {"invoice_id": "'j'", "external_id": "'credit-j-r2'"},
    ),
    ("a_transfer_has_its_destination: FOREIGN KEY", "transfers", SECOND_TRANSFER | {"destination_id": 9}),
    ("only_positive_amounts_are_sent", "transfers", SECOND_TRANSFER | {"amount_centavos": 0}),
    ("lease_iff_sending", "transfers", SECOND_TRANSFER | {"lease_expires_at": "'t'"}),
    ("lease_iff_sending", "transfers", SECOND_TRANSFER | {"credit_number": 9, "state": "'sending'"}),
    ("sent_has_its_bank_id", "transfers", SECOND_TRANSFER | {"credit_number": 9, "state": "'sent'"}),
    ("sent_has_its_bank_id", "transfers", SECOND_TRANSFER | {"credit_number": 9, "state": "'settled'"}),
    ("transfer_state_known", "transfers", SECOND_TRANSFER | {"state": "'lost'"}),
    ("only_the_dead_are_abandoned", "transfers", SECOND_TRANSFER | {"abandoned_at": "'t'"}),
    *(
        ("one_live_transfer_per_credit: credit_number", "transfers", SECOND_TRANSFER | changes)
        for changes in (
            {"state": "'pending'"},
            {"state": "'sending'", "lease_expires_at": "'t'"},
            {"state": "'sent'", "bank_transfer_id": "'B'"},
            {"state": "'settled'", "bank_transfer_id": "'B'"},
            {"state": "'dead'"},
        )
    ),
    ("a_sighting_once: bank_transfer_id", "bank_transfers", {}),
    (
        "a_sighting_has_its_credit: FOREIGN KEY",
        "bank_transfers",
        {"bank_transfer_id": "'B'", "credit_number": 9},
    ),
    ("history_has_its_transfer: FOREIGN KEY", "transfer_history", {"id": 2, "transfer_id": 9}),
    ("one_window", "issuing_windows", {"id": 2}),
    ("window_has_slots", "issuing_windows", {"slots": 0}),
    ("window_has_slots", "issuing_windows", {"interval_seconds": 0}),
    ("a_slot_once: slot", "invoice_batches", SECOND_BATCH | {"slot": 0}),
    ("a_batch_tag_once: tag", "invoice_batches", SECOND_BATCH | {"tag": "'b'"}),
    ("batch_state_known", "invoice_batches", SECOND_BATCH | {"state": "'lost'"}),
    ("batch_lease_iff_issuing", "invoice_batches", SECOND_BATCH | {"lease_expires_at": "'t'"}),
    ("batch_lease_iff_issuing", "invoice_batches", SECOND_BATCH | {"state": "'issuing'"}),
    ("issued_has_its_time", "invoice_batches", SECOND_BATCH | {"state": "'issued'"}),
    ("issued_has_its_time", "invoice_batches", SECOND_BATCH | {"issued_at": "'t'"}),
    ("an_invoice_has_its_batch: FOREIGN KEY", "invoices", SECOND_INVOICE | {"batch_id": 9}),
    ("a_position_once: position", "invoices", SECOND_INVOICE | {"position": 1}),
    ("an_invoice_tag_once: tag", "invoices", SECOND_INVOICE | {"tag": "'b-01'"}),
    ("a_bank_invoice_once: bank_invoice_id", "invoices", SECOND_INVOICE | {"bank_invoice_id": "'I'"}),
    ("only_positive_invoices", "invoices", PLANNED_INVOICE | {"amount_centavos": 0}),
    ("no_negative_invoice", "invoices", SECOND_INVOICE | {"amount_centavos": -1}),
    ("invoice_state_known", "invoices", SECOND_INVOICE | {"state": "'lost'"}),
    ("planned_iff_not_at_the_bank", "invoices", SECOND_INVOICE | {"state": "'planned'"}),
    ("planned_iff_not_at_the_bank", "invoices", PLANNED_INVOICE | {"state": "'open'"}),
    ("at_the_bank_has_its_report", "invoices", SECOND_INVOICE | {"reported_at": "NULL"}),
    ("an_invoice_is_ours_or_at_the_bank", "invoices", SECOND_INVOICE | {"tag": "NULL"}),
    (
        "an_invoice_is_ours_or_at_the_bank",
        "invoices",
        PLANNED_INVOICE | {"batch_id": "NULL", "position": "NULL", "tag": "NULL"},
    ),
    ("a_tax_id_is_whole_until_issued", "invoices", SECOND_INVOICE | {"payer_tax_id_to_issue": "'1'"}),
    ("one_open_attention_per_subject: kind", "attentions", {"id": 2}),
    ("an_action_has_its_reason", "actions", {"id": 2, "reason": "''"}),
    ("an_action_has_its_reason", "actions", {"id": 2, "who": "''"}),
    ("a_pause_once: name", "pauses", {}),
    ("pause_known", "pauses", {"name": "'everything'"}),
    ("recovered_within_net", "credits", SECOND_CREDIT | {"recovered_centavos": -1}),
    ("a_pause_says_who_and_why", "pauses", {"name": "'issuing'", "paused_at": "'t'", "reason": "'r'"}),
    ("one_relocation", "relocations", {"id": 2}),
    ("a_process_once: id", "processes", {}),
    ("a_bank_call_has_its_verdict", "processes", {"id": "'q'", "bank_verdict": "'accepted'"}),
]
TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("transfers", SECOND_TRANSFER),
    ("transfers", SECOND_TRANSFER | {"state": "'stopped'", "abandoned_at": "'t'"}),
    ("transfers", SECOND_TRANSFER | {"generation": 24, "external_id": "'credit-i-r24'"}),
    ("credits", SECOND_CREDIT),
    ("credits", SECOND_CREDIT | {"disposition": "'nothing_to_forward'", "fee_centavos": 100, "net_centavos": 0}),
    ("reversals", SECOND_REVERSAL),
    ("invoice_batches", SECOND_BATCH),
    ("invoice_batches", SECOND_BATCH | {"slot": "NULL"}),
    ("invoices", SECOND_INVOICE | {"amount_centavos": 0}),
    ("invoices", PLANNED_INVOICE | {"payer_tax_id_to_issue": "'1'"}),
    ("invoices", SECOND_INVOICE | {"batch_id": "NULL", "position": "NULL", "tag": "NULL"}),
    ("bank_transfers", {"bank_transfer_id": "'C'"}),
    ("bank_transfers", {"bank_transfer_id": "'C'", "credit_number": "NULL"}),
    ("attentions", {"id": 2, "resolved_at": "'t'"}),
    ("actions", {"id": 2}),
    ("pauses", {"name": "'issuing'"}),
    ("processes", {"id": "'q'"}),
]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, empty_books: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One sound row in every table; tests undo what they add."""
    server: Databases | None = None
    if request.param == "sqlite":
        address = f"sqlite:///{shutil.copy(empty_books, tmp_path_factory.mktemp('schema') / 'filled.db')}"
    else:
        server = request.getfixturevalue("postgresql")
        address = server.create()
    database = open_database(address)
    with database.transaction() as connection:
        for table, row in ROWS.items():
            insert_raw(connection, table, row)
    yield database
    database.close()
    if server is not None:
        server.drop(address)


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that is not committed."""
    with database.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def insert_raw(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Insert SQL literals, past all of our code."""
    values = ", ".join(map(str, row.values()))
    if connection.dialect.name == "postgresql":
        values = values.replace("x'00'", r"'\x00'").replace("'t'", "'2026-03-02T15:00Z'")
    connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"))


@pytest.mark.parametrize(
    ("invariant", "table", "changes"), REFUSED, ids=[f"{case[0]}-{n}" for n, case in enumerate(REFUSED)]
)
def test_the_schema_refuses_what_an_invariant_forbids(
    filled: Database, invariant: str, table: str, changes: dict[str, Any]
) -> None:
    """Whichever bug, script or person writes it."""
    name, _, said = invariant.partition(": ")
    if filled.is_postgresql:
        message = name  # it names every constraint
    elif said:
        message = said if said == "FOREIGN KEY" else rf"{table}\.{said}\b"
    else:
        message = name
    with pytest.raises(IntegrityError, match=message), undone(filled) as connection:
        insert_raw(connection, table, ROWS[table] | changes)


@pytest.mark.parametrize(("table", "changes"), TAKEN, ids=range(len(TAKEN)))
def test_the_schema_takes_a_second_row_that_breaks_nothing(
    filled: Database, table: str, changes: dict[str, Any]
) -> None:
    """So the refusals above are for the one change that each makes."""
    with undone(filled) as connection:
        insert_raw(connection, table, ROWS[table] | changes)
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 2


def test_every_table_and_every_named_invariant_is_tried() -> None:
    """A new table comes with a row, and a new constraint with the row that it refuses."""
    assert list(ROWS) == list(metadata.tables)
    names = {name for table in metadata.tables.values() for name in named(table, unique_only=True)}
    # Two say no more than a key does: they are there to be referred to.
    names -= {"a_number_has_its_invoice", "a_sighting_has_one_credit"}
    assert {invariant.partition(": ")[0] for invariant, _, _ in REFUSED} == names


def test_a_migrated_database_is_what_the_model_says(database: Database) -> None:
    """Alembic's own comparison finds nothing to do, and every constraint and index is there by its name."""
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        inspector = inspect(connection)
        for table in metadata.tables.values():
            there = {
                *(each["name"] for each in inspector.get_check_constraints(table.name)),
                *(each["name"] for each in inspector.get_unique_constraints(table.name)),
                *(each["name"] for each in inspector.get_foreign_keys(table.name)),
                *(each["name"] for each in inspector.get_indexes(table.name)),
                inspector.get_pk_constraint(table.name)["name"],
            }
            assert named(table) <= there


def named(table: Table, *, unique_only: bool = False) -> set[str]:
    """The names of a table's constraints and indexes; or of those indexes only that are constraints too."""
    names = [constraint.name for constraint in table.constraints]
    names += [index.name for index in table.indexes if index.unique or not unique_only]
    return {str(name) for name in names if isinstance(name, str)}


# --- the schema and the code say the same ---


def test_the_states_are_those_of_the_code() -> None:
    """The schema lists them as literals; the code has what they mean, and from where each may be reached."""
    assert set(TRANSFER_STATES) == set(TransferState) == set(ORIGINS)
    assert set(LIVE_TRANSFER_STATES) == LIVE_STATES
    assert len(TRANSFER_STATES) == len(TransferState)


@pytest.mark.parametrize(
    ("stored", "table", "not_read", "not_stored"),
    [
        (Transfer, transfers, set(), set()),
        (
            StoredCredit,
            credits,
            {"log_id", "event_id", "credited_at", "recovered_centavos", "is_of_ours"},
            {"is_changed"},
        ),
    ],
)
def test_what_is_loaded_has_a_field_for_each_column(
    stored: Any, table: Any, not_read: set[str], not_stored: set[str]
) -> None:
    """A column that is added must be loaded, or be named here."""
    names = [each.name for each in fields(stored)]
    assert set(names) - not_stored == {column.name for column in table.columns} - not_read


def test_a_destination_has_a_field_for_each_column() -> None:
    """And all of them together are unique."""
    columns = {column.name for column in metadata.tables["destinations"].columns}
    assert {each.name for each in fields(Destination)} == columns - {"id"}
