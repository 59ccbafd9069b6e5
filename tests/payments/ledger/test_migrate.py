"""The schema: how it comes about, whatever happens meanwhile, and what it refuses to hold."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from payments.errors import LedgerUnavailable, LedgerUnusable
from payments.ledger import database as database_module
from payments.ledger import migrate as migrate_module
from payments.ledger.database import Database, open_database
from payments.ledger.migrate import NEWEST_REVISION, migrate, revision_of
from payments.ledger.statement import read_statement
from payments.ledger.tables import metadata
from tests.postgresql import Databases

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "payments" / "ledger" / "migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a file that does not exist yet, or of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fresh.db"
    else:
        server: Databases = request.getfixturevalue("postgresql")
        address = server.create(migrated=False)
        yield address
        server.drop(address)


# --- the revisions ---


def test_the_newest_revision_is_the_head_of_the_scripts() -> None:
    """The constant saves a start from importing Alembic; it must not lie."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST_REVISION]


def test_the_migrated_schema_is_the_one_that_the_code_believes_in(database: Database) -> None:
    """Alembic's own comparison finds nothing to do."""
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    ("database", "url"), [("sqlite", "sqlite"), ("postgresql", "postgresql")], indirect=True
)
def test_every_constraint_of_the_model_is_in_the_migrated_schema(database: Database, url: str) -> None:
    """By name and content, checks and partial indexes included, which Alembic does not compare."""
    modelled = open_database(url)
    with modelled.transaction() as connection:
        metadata.create_all(connection)
    with modelled.reading() as model, database.reading() as migrated:
        assert described(migrated) == described(model)
    modelled.close()


def described(connection: Connection) -> dict[str, Any]:
    """All that a schema promises."""
    inspector = inspect(connection)
    indexes = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''")
        if connection.dialect.name == "sqlite"
        else text(
            "SELECT indexname AS name, indexdef AS sql FROM pg_indexes "
            "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
    )
    return {"indexes": {row.name: " ".join(row.sql.split()) for row in indexes}} | {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table),
            "checks": sorted(
                (check["name"] or "", check["sqltext"]) for check in inspector.get_check_constraints(table)
            ),
            "uniques": sorted(
                (unique["name"] or "", unique["column_names"])
                for unique in inspector.get_unique_constraints(table)
            ),
            "references": sorted(
                (key["name"] or "", key["referred_table"]) for key in inspector.get_foreign_keys(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_a_fresh_file_is_migrated_once(url: str) -> None:
    """The second start finds nothing to do."""
    database = open_database(url)
    assert revision_of(database) is None
    assert migrate(database)
    assert not migrate(database)
    assert revision_of(database) == NEWEST_REVISION
    assert read_statement(database).balanced
    database.close()


def test_a_downgrade_leaves_nothing_and_can_be_migrated_again(url: str) -> None:
    """The way back is tried as well as the way there."""
    database = open_database(url)
    migrate(database)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    assert migrate(database)
    assert read_statement(database).balanced
    database.close()


def test_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    """An old program must not write into books that it does not understand."""
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerUnusable, match=r"version 9999, newer than .* install the newer repasse"):
        migrate(database)
    assert revision_of(database) == "9999"


def test_a_database_of_another_program_is_refused_and_left_alone(url: str) -> None:
    """Its tables are named, so that the mistake is seen."""
    database = open_database(url)
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
    with pytest.raises(LedgerUnusable, match=r"not ours \(customers\)"):
        migrate(database)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == ["customers"]
    database.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_locked_database_is_not_migrated_now(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unavailable, not unusable: the next start may do it."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    database = open_database(url)
    with database.reading():
        pass
    other = sqlite3.connect(tmp_path / "fresh.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable):
        migrate(database)
    other.execute("ROLLBACK")
    other.close()
    assert migrate(database)
    database.close()


# --- several at once, and dying in the middle ---


def test_threads_that_start_at_once_migrate_once(url: str) -> None:
    """Each with a connection of its own, on a file that none has seen."""
    barrier = threading.Barrier(6)
    changed: list[bool] = []
    errors: list[Exception] = []

    def start() -> None:
        database = open_database(url)
        barrier.wait()
        try:
            changed.append(migrate(database))
        except Exception as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(changed) == [False] * 5 + [True]


def test_processes_that_start_at_once_all_find_a_migrated_database(url: str) -> None:
    """web, worker and release of one deployment, on a fresh machine."""
    processes = [run("-m", "payments.ledger.migrate", DATABASE_URL=url) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    said = sorted("migrated to" in out for out, _ in outputs)
    assert said == [False, False, False, True], outputs
    database = open_database(url)
    assert revision_of(database) == NEWEST_REVISION
    database.close()


KILLED_AFTER_THE_TABLES = """
import os, signal, sys
from payments.ledger import migrate as module
from payments.ledger.database import open_database

upgrade = module._upgrade

def upgrade_and_die(connection):
    upgrade(connection)
    print("made", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

module._upgrade = upgrade_and_die
module.migrate(open_database(sys.argv[1]))
"""


def test_a_kill_in_the_middle_of_a_migration_leaves_the_old_version_whole(url: str) -> None:
    """All tables were made, the commit was not: the next start finds an empty database and makes them anew."""
    process = run("-c", KILLED_AFTER_THE_TABLES, url)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (-signal.SIGKILL, "made\n"), errors
    database = open_database(url)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    assert migrate(database)
    assert read_statement(database).balanced
    database.close()


def test_a_failure_in_the_middle_of_a_migration_leaves_the_old_version_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a revision must not leave half of it."""
    upgrade = migrate_module._upgrade

    def upgrade_and_fail(connection: Connection) -> None:
        upgrade(connection)
        raise RuntimeError("bug")

    monkeypatch.setattr(migrate_module, "_upgrade", upgrade_and_fail)
    database = open_database(url)
    with pytest.raises(RuntimeError, match="bug"):
        migrate(database)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://user:hunter2@host/x", "DATABASE_URL"),
        ("sqlite:////proc/nowhere/repasse.db", "cannot make the folder /proc/nowhere"),
    ],
)
def test_the_release_step_ends_with_one_line_and_status_2(address: str, said: str) -> None:
    """No traceback, no secret."""
    process = run("-m", "payments.ledger.migrate", DATABASE_URL=address)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said in errors
    assert errors.count("\n") == 1
    assert "hunter2" not in errors


def run(*arguments: str, **settings: str) -> "subprocess.Popen[str]":
    """A Python of ours, with an environment of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- what the schema refuses, by the name of the invariant ---

ROWS: dict[str, dict[str, Any]] = {
    "inbox_events": {
        "event_id": "'e'", "source": "'webhook'", "subscription": "'invoice'", "log_type": "'credited'",
        "outcome": "'credit'", "body": "x'00'", "received_at": "'t'",
    },
    "credits": {
        "invoice_id": "'i'", "log_id": "'l'", "event_id": "'e'", "gross_centavos": 100, "fee_centavos": 5,
        "net_centavos": 95, "withheld_centavos": 0, "disposition": "'forward'", "credited_at": "'t'",
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
    "transfers": {
        "id": 1, "invoice_id": "'i'", "generation": 1, "external_id": "'credit-i'", "amount_centavos": 95,
        "destination_id": 1, "state": "'sent'", "attempt": 1, "calls": 1, "due_at": "'t'",
        "bank_transfer_id": "'A'", "created_at": "'t'", "lease_expires_at": "NULL",
    },
    "bank_transfers": {
        "bank_transfer_id": "'A'", "external_id": "'credit-i'", "status": "'created'",
        "amount_centavos": 95, "seen_at": "'t'",
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
    "planned_invoices": {
        "id": 1, "batch_id": 1, "position": 1, "tag": "'b-01'", "amount_centavos": 100,
        "payer_name": "'Ana'", "payer_tax_id": "'1'", "bank_invoice_id": "'I'",
    },
    "attentions": {
        "id": 1, "kind": "'k'", "subject": "'s'", "detail": "'d'", "raised_at": "'t'", "resolved_at": "NULL",
    },
    "acts": {
        "id": 1, "at": "'t'", "who": "'ana'", "kind": "'retry'", "subject": "'credit-i'",
        "reason": "'the account is open again'", "result": "'pending'",
    },
    "switches": {"name": "'forwarding'", "paused_at": "NULL"},
    "processes": {
        "id": "'p'", "kind": "'web'", "host": "'h'", "pid": 1, "version": "'1'", "started_at": "'t'",
        "seen_at": "'t'",
    },
    "totals": {"name": "'credits.net'", "shard": 0, "number": 1, "centavos": 95},
    "tallies": {"minute": "'t'", "name": "'credited'", "shard": 0, "number": 1, "centavos": 95},
}  # fmt: skip

# A second row that differs from the one there in these columns, and the invariant that it would break. SQLite
# names a check by its name, a unique index or key by its columns, and a reference not at all.
SECOND_TRANSFER = {
    "id": 2,
    "generation": 2,
    "external_id": "'x'",
    "bank_transfer_id": "'B'",
    "state": "'failed'",
}
SECOND_CREDIT = {"invoice_id": "'j'", "log_id": "'m'"}
SECOND_BATCH = {"id": 2, "slot": 1, "tag": "'c'"}
SECOND_INVOICE = {"id": 2, "position": 2, "tag": "'b-02'", "bank_invoice_id": "'J'"}
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("an_event_once", "inbox_events", {}, "inbox_events.event_id"),
    ("a_credit_once_per_invoice", "credits", {"log_id": "'m'"}, "credits.invoice_id"),
    ("a_credit_once_per_log", "credits", {"invoice_id": "'j'"}, "credits.log_id"),
    ("a_credit_has_its_event", "credits", SECOND_CREDIT | {"event_id": "'?'"}, "FOREIGN KEY"),
    ("net_is_gross_minus_fee", "credits", SECOND_CREDIT | {"net_centavos": 96}, "net_is_gross_minus_fee"),
    (
        "no_negative_credit",
        "credits",
        SECOND_CREDIT | {"fee_centavos": -5, "net_centavos": 105},
        "no_negative_credit",
    ),
    ("withheld_within_net", "credits", SECOND_CREDIT | {"withheld_centavos": 96}, "withheld_within_net"),
    ("withheld_within_net", "credits", SECOND_CREDIT | {"withheld_centavos": -1}, "withheld_within_net"),
    (
        "credit_disposition_known",
        "credits",
        SECOND_CREDIT | {"disposition": "'maybe'"},
        "credit_disposition_known",
    ),
    (
        "only_positive_net_is_forwarded",
        "credits",
        SECOND_CREDIT | {"fee_centavos": 100, "net_centavos": 0},
        "only_positive_net_is_forwarded",
    ),
    ("a_reversal_once", "reversals", {}, "reversals.log_id"),
    (
        "no_negative_remainder",
        "reversals",
        {"log_id": "'w'", "remaining_centavos": -1},
        "no_negative_remainder",
    ),
    ("a_destination_once", "destinations", {"id": 2}, "destinations.bank_code"),
    (
        "an_external_id_once",
        "transfers",
        SECOND_TRANSFER | {"external_id": "'credit-i'"},
        "transfers.external_id",
    ),
    ("a_generation_once", "transfers", SECOND_TRANSFER | {"generation": 1}, "transfers.generation"),
    (
        "a_bank_transfer_once",
        "transfers",
        SECOND_TRANSFER | {"bank_transfer_id": "'A'"},
        "transfers.bank_transfer_id",
    ),
    ("a_transfer_has_its_credit", "transfers", SECOND_TRANSFER | {"invoice_id": "'?'"}, "FOREIGN KEY"),
    ("a_transfer_has_its_destination", "transfers", SECOND_TRANSFER | {"destination_id": 9}, "FOREIGN KEY"),
    (
        "only_positive_amounts_are_sent",
        "transfers",
        SECOND_TRANSFER | {"amount_centavos": 0},
        "only_positive_amounts_are_sent",
    ),
    ("lease_iff_sending", "transfers", SECOND_TRANSFER | {"lease_expires_at": "'t'"}, "lease_iff_sending"),
    (
        "lease_iff_sending",
        "transfers",
        SECOND_TRANSFER | {"invoice_id": "'?'", "state": "'sending'"},
        "lease_iff_sending",
    ),
    (
        "sent_has_its_bank_id",
        "transfers",
        SECOND_TRANSFER | {"state": "'settled'", "bank_transfer_id": "NULL"},
        "sent_has_its_bank_id",
    ),
    ("transfer_state_known", "transfers", SECOND_TRANSFER | {"state": "'lost'"}, "transfer_state_known"),
    *(
        (
            "one_live_transfer_per_credit",
            "transfers",
            SECOND_TRANSFER | {"state": f"'{state}'"},
            "transfers.invoice_id",
        )
        for state in ("pending", "sent", "settled", "dead")
    ),
    ("a_sighting_once", "bank_transfers", {}, "bank_transfers.bank_transfer_id"),
    ("history_has_its_transfer", "transfer_history", {"id": 2, "transfer_id": 9}, "FOREIGN KEY"),
    ("one_window", "issuing_windows", {"id": 2}, "one_window"),
    ("window_has_slots", "issuing_windows", {"slots": 0}, "window_has_slots"),
    ("a_slot_once", "invoice_batches", SECOND_BATCH | {"slot": 0}, "invoice_batches.slot"),
    ("a_batch_tag_once", "invoice_batches", SECOND_BATCH | {"tag": "'b'"}, "invoice_batches.tag"),
    ("batch_state_known", "invoice_batches", SECOND_BATCH | {"state": "'lost'"}, "batch_state_known"),
    (
        "batch_lease_iff_issuing",
        "invoice_batches",
        SECOND_BATCH | {"lease_expires_at": "'t'"},
        "batch_lease_iff_issuing",
    ),
    ("issued_has_its_time", "invoice_batches", SECOND_BATCH | {"state": "'issued'"}, "issued_has_its_time"),
    ("an_invoice_has_its_batch", "planned_invoices", SECOND_INVOICE | {"batch_id": 9}, "FOREIGN KEY"),
    ("a_position_once", "planned_invoices", SECOND_INVOICE | {"position": 1}, "planned_invoices.position"),
    ("an_invoice_tag_once", "planned_invoices", SECOND_INVOICE | {"tag": "'b-01'"}, "planned_invoices.tag"),
    (
        "a_bank_invoice_once",
        "planned_invoices",
        SECOND_INVOICE | {"bank_invoice_id": "'I'"},
        "bank_invoice_id",
    ),
    (
        "only_positive_invoices",
        "planned_invoices",
        SECOND_INVOICE | {"amount_centavos": 0},
        "only_positive_invoices",
    ),
    ("one_open_attention_per_subject", "attentions", {"id": 2}, "attentions.kind, attentions.subject"),
    ("an_act_has_its_reason", "acts", {"id": 2, "reason": "''"}, "an_act_has_its_reason"),
    ("an_act_has_its_reason", "acts", {"id": 2, "who": "''"}, "an_act_has_its_reason"),
    ("a_switch_once", "switches", {}, "switches.name"),
    ("switch_known", "switches", {"name": "'everything'"}, "switch_known"),
    ("a_process_once", "processes", {}, "processes.id"),
    ("a_total_once", "totals", {}, "totals.name"),
    ("a_tally_once", "tallies", {}, "tallies.minute"),
]


@pytest.fixture
def filled(database: Database) -> Database:
    """One sound row in every table."""
    with database.transaction() as connection:
        for table, row in ROWS.items():
            insert_raw(connection, table, row)
    return database


def insert_raw(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Past all of our code."""
    values = ", ".join(map(str, row.values()))
    if connection.dialect.name == "postgresql":
        values = values.replace("x'00'", r"'\x00'").replace("'t'", "'2026-03-02T15:00Z'")
    connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"))


@pytest.mark.parametrize(
    ("name", "table", "changes", "said"), REFUSED, ids=[f"{case[0]}-{n}" for n, case in enumerate(REFUSED)]
)
def test_the_schema_refuses_what_the_invariant_forbids(
    filled: Database, name: str, table: str, changes: dict[str, Any], said: str
) -> None:
    """Whatever bug, script or hand writes it."""
    if filled.is_postgresql:
        said = name  # it names every constraint
    else:
        with filled.reading() as connection:
            schema = connection.execute(text("SELECT group_concat(sql, ' ') FROM sqlite_master")).scalar_one()
        assert name in schema
    with pytest.raises(IntegrityError, match=said), filled.transaction() as connection:
        insert_raw(connection, table, ROWS[table] | changes)


def test_every_named_invariant_is_among_those_that_were_broken() -> None:
    """A new constraint comes with the row that it refuses."""
    names = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint.name, str)
    }
    names |= {
        str(index.name) for table in metadata.tables.values() for index in table.indexes if index.unique
    }
    assert {case[0] for case in REFUSED} == {name for name in names if name != "None"}


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("transfers", SECOND_TRANSFER),
        ("transfers", SECOND_TRANSFER | {"state": "'stopped'"}),
        ("credits", SECOND_CREDIT),
        ("credits", SECOND_CREDIT | {"disposition": "'nothing_to_forward'", "fee_centavos": 100, "net_centavos": 0}),
        ("invoice_batches", SECOND_BATCH),
        ("invoice_batches", SECOND_BATCH | {"slot": "NULL"}),
        ("planned_invoices", SECOND_INVOICE | {"bank_invoice_id": "NULL"}),
        ("attentions", {"id": 2, "resolved_at": "'t'"}),
        ("acts", {"id": 2}),
        ("switches", {"name": "'issuing'"}),
        ("processes", {"id": "'q'"}),
        ("totals", {"shard": 1}),
        ("tallies", {"shard": 1}),
    ],
)  # fmt: skip
def test_the_schema_takes_a_second_row_that_breaks_nothing(
    filled: Database, table: str, changes: dict[str, Any]
) -> None:
    """So the refusals above are refused for their one change."""
    with filled.transaction() as connection:
        insert_raw(connection, table, ROWS[table] | changes)
