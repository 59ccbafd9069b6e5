"""What the operator's reads cost with a year of history: sums, lists with every filter, search, timelines.

``python -m tests.benchmarks.reads [--credits N] [--postgresql] [--file PATH]`` fills a new database by SQL, reads each
ten times and prints the fastest, the median and the slowest in milliseconds; on a machine that does other work too, the
fastest says most. A file that exists is read as it is.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import psycopg
from sqlalchemy import text

from payments.invoice import searchable
from payments.operator.filters import Filter
from payments.operator.health import read_health
from payments.operator.invoices import count_invoices, list_invoices, total_invoices
from payments.operator.lists import (
    count_credits,
    count_events,
    list_credits,
    list_events,
    list_transfers,
    total_credits,
    total_transfers,
)
from payments.operator.overview import read_overview
from payments.operator.revision import read_mark
from payments.operator.search import search
from payments.operator.statement import read_period, read_statement
from payments.operator.timeline import read_credit
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.tax_id import hash_tax_id, mask_tax_id
from tests.postgresql import Server
from worker.payers import random_payers

ROUNDS = 10
YEAR_SECONDS = 365 * 24 * 3600


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reads")
    parser.add_argument("--credits", type=int, default=1_000_000)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own")
    parser.add_argument("--file", type=Path, help="where the SQLite file is, or is to be")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        if arguments.postgresql:
            server = Server(on_disk=True, shared_buffers="512MB")
            stack.callback(server.close)
            database, is_new = open_database(server.url(), is_unhurried=True), True
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = arguments.file or folder / "reads.db"
            is_new = not path.exists()
            database = open_database(f"sqlite:///{path}")
        if is_new:
            migrate(database)
            fill(database, arguments.credits, datetime.now(UTC))
        for name, milliseconds in measure(database).items():
            print(
                f"{name:<30}{min(milliseconds):10.1f}{statistics.median(milliseconds):10.1f}"
                f"{max(milliseconds):10.1f} ms",
                flush=True,
            )
        database.close()


def measure(database: Database) -> dict[str, list[float]]:
    """Milliseconds of every round, by what was read."""
    now = datetime.now(UTC)
    invoice_id = list_credits(database, None, limit=1).items[0].invoice_id
    month = Filter(since=now - timedelta(days=30))
    [payer] = random_payers(Random(1), 1)
    reads: dict[str, Callable[[], object]] = {
        "statement": lambda: read_statement(database),
        "overview, last hour": lambda: read_overview(
            database, now, now - timedelta(hours=1), timedelta(hours=1), 30
        ),
        "overview, last day": lambda: read_overview(
            database, now, now - timedelta(days=1), timedelta(days=1), 48
        ),
        "overview, last week": lambda: read_overview(
            database, now, now - timedelta(days=7), timedelta(days=7), 56
        ),
        "health": lambda: read_health(database, now),
        "statement of a month": lambda: read_period(database, now - timedelta(days=30), now),
        "change marker": lambda: read_mark(database),
        "list of credits": lambda: list_credits(database, None),
        "credits of an amount": lambda: _with_totals(
            list_credits, total_credits, database, Filter(amount_centavos=12_345)
        ),
        "credits of a payer": lambda: _with_totals(
            list_credits, total_credits, database, Filter(payer="silva")
        ),
        "credits of no one": lambda: _with_totals(
            list_credits, total_credits, database, Filter(payer="zzzz")
        ),
        "credits of a month": lambda: _with_totals(
            list_credits, total_credits, database, Filter(since=now - timedelta(days=30))
        ),
        "credits settled": lambda: (
            list_credits(database, None, state="settled"),
            total_credits(database, state="settled"),
        ),
        "credits blocked": lambda: (
            list_credits(database, None, state="dead"),
            total_credits(database, state="dead"),
        ),
        "counts of credits": lambda: count_credits(database),
        "list of settled transfers": lambda: list_transfers(database, None, state="settled"),
        "transfers settled in a month": lambda: (
            list_transfers(database, None, state="settled", where=month),
            total_transfers(database, month, "settled"),
        ),
        "transfers of a payer": lambda: (
            list_transfers(database, None, where=Filter(payer="silva")),
            total_transfers(database, Filter(payer="silva")),
        ),
        "invoices": lambda: _with_totals(list_invoices, total_invoices, database, Filter()),
        "invoices of a payer": lambda: _with_totals(
            list_invoices, total_invoices, database, Filter(payer="ana silva")
        ),
        "invoices by tax id": lambda: _with_totals(
            list_invoices, total_invoices, database, Filter(payer=payer.tax_id, tax_id_key=TAX_ID_KEY)
        ),
        "invoices paid": lambda: list_invoices(database, None, state="paid"),
        "counts of invoices": lambda: count_invoices(database),
        "counts of events": lambda: count_events(database),
        "events ignored": lambda: list_events(database, None, outcome="ignored"),
        "search by name": lambda: search(database, "conceicao"),
        "search by tax id": lambda: search(database, payer.tax_id, TAX_ID_KEY),
        "search by amount": lambda: search(database, "R$ 123,45"),
        "search by the start of an id": lambda: search(database, invoice_id[:8]),
        "search for nothing": lambda: search(database, "nothing-of-this-name"),
        "timeline of a credit": lambda: read_credit(database, invoice_id),
    }
    taken: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(ROUNDS):
        for name, read in reads.items():
            began = time.perf_counter()
            read()
            taken[name].append((time.perf_counter() - began) * 1000)
    return taken


def _with_totals(
    items: Callable[..., object], totals: Callable[..., object], database: Database, where: Filter
) -> None:
    items(database, None, where)
    totals(database, where)


def fill(database: Database, credits: int, now: datetime) -> None:
    """Spread credits over the last year: nearly all settled, three events each, and some of every other state."""
    dialect = "postgresql" if database.is_postgresql else "sqlite"
    start = f"{now - timedelta(seconds=YEAR_SECONDS):%Y-%m-%d %H:%M:%S}+00:00"
    blob, false = ("BYTEA", "FALSE") if database.is_postgresql else ("BLOB", "0")
    with database.transaction() as connection:
        connection.execute(
            text("CREATE TEMP TABLE p (j INTEGER, name TEXT, search TEXT, tax_id TEXT, hash TEXT)")
        )
        connection.execute(text("INSERT INTO p VALUES (:j, :name, :search, :tax_id, :hash)"), _payers())
        for each in (*_NUMBERS[dialect], *_FILL):
            statement = each.replace("{blob}", blob).replace("{false}", false)
            parameters = {"credits": credits, "start": start} if ":credits" in statement else {}
            connection.execute(text(statement), parameters)
    if database.is_postgresql:  # what its own daemon does within minutes
        url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("VACUUM ANALYZE")


TAX_ID_KEY = b"the benchmark's key"


def _payers() -> list[dict[str, object]]:
    return [
        {
            "j": number,
            "name": payer.name,
            "search": searchable(payer.name),
            "tax_id": mask_tax_id(payer.tax_id),
            "hash": hash_tax_id(TAX_ID_KEY, payer.tax_id),
        }
        for number, payer in enumerate(random_payers(Random(1), 5000))
    ]


# A number, an id as random as the bank's, when the credit was recorded, when its transfer settled, its gross amount.
_NUMBERS = {
    "sqlite": (
        "CREATE TEMP TABLE n (i INTEGER PRIMARY KEY, k TEXT, t TEXT, s TEXT, g INTEGER)",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :credits) "
        "INSERT INTO n SELECT i, 4000000000000000 + abs(random()) % 3000000000000000, "
        "strftime('%Y-%m-%dT%H:%M:%f000Z', :start, (i * 31535000.0 / :credits) || ' seconds'), "
        "strftime('%Y-%m-%dT%H:%M:%f000Z', :start, (i * 31535000.0 / :credits + 1 + i % 90) || ' seconds'), "
        "1000 + i * 7919 % 49001 FROM c",
    ),
    "postgresql": (
        "CREATE TEMP TABLE n (i BIGINT PRIMARY KEY, k TEXT, t TIMESTAMPTZ, s TIMESTAMPTZ, g BIGINT)",
        "INSERT INTO n SELECT i, (4000000000000000 + floor(random() * 3000000000000000))::bigint::text, "
        "cast(:start AS timestamptz) + i * 31535000.0 / :credits * interval '1 second', "
        "cast(:start AS timestamptz) + (i * 31535000.0 / :credits + 1 + i % 90) * interval '1 second', "
        "1000 + i * 7919 % 49001 "
        "FROM generate_series(1, :credits) AS c(i)",
        "ANALYZE n",
    ),
}

_LAST = "(SELECT max(i) FROM n)"
_STATE = (
    f"CASE WHEN i > {_LAST} - 20 THEN 'pending' WHEN i > {_LAST} - 30 THEN 'sending' WHEN i > {_LAST} - 60 THEN 'sent' "
    "WHEN i % 50000 = 7 THEN 'dead' ELSE 'settled' END"
)
_PAYER = 'p.name, p.search, p.tax_id, p.hash, \'["repasse","repasse-5f3a9c1e-slot-3","repasse-5f3a9c1e-slot-3-07"]\''
_LINK = "https://example-ws.sandbox.starkbank.com/invoicelink/7c1e90a4b5d24f0e8a3b6d95c2f01e77"
_INVOICE = (
    "bank_invoice_id, amount_centavos, payer_name, payer_search, payer_tax_id, payer_tax_id_hash, tags, link, "
    "recorded_at, reported_at, issued_at, due_at, paid_at, payer_end_to_end_id"
)
_FILL = (
    "INSERT INTO destinations (bank_code, branch_code, account_number, account_type, name, tax_id) "
    "VALUES ('1', '1', '1', 'payment', 'x', 'y')",
    *(
        "INSERT INTO inbox_events (event_id, source, subscription, log_type, subject, outcome, digital_signature, "
        f"body, received_at) SELECT {key}, 'webhook', '{subscription}', '{log_type}', k, '{outcome}', 's', "
        f"CAST('{'x' * 500}' AS {{blob}}), {moment} FROM n"
        for key, subscription, log_type, outcome, moment in (
            ("k", "invoice", "credited", "credit", "t"),
            ("'a' || k", "transfer", "processing", "bank_report", "t"),
            ("'b' || k", "transfer", "success", "bank_report", "s"),
        )
    ),
    "INSERT INTO credits (number, invoice_id, log_id, event_id, gross_centavos, fee_centavos, net_centavos, "
    "withheld_centavos, is_of_ours, disposition, credited_at, recorded_at) "
    "SELECT i, k, k, k, g, 50, g - 50, CASE WHEN i % 2000 = 11 THEN 100 ELSE 0 END, i % 50 <> 9, "
    "CASE WHEN i % 3000 = 13 THEN 'not_ours' ELSE 'forward' END, t, t FROM n",
    "INSERT INTO reversals (log_id, invoice_id, remaining_centavos, reversed_at, recorded_at) "
    "SELECT k, k, g - 100, t, t FROM n WHERE i % 2000 = 11",
    "INSERT INTO bank_transfers (bank_transfer_id, credit_number, external_id, status, amount_centavos, seen_at) "
    "SELECT k, i, 'credit-' || k, 'success', g - 50, t FROM n",
    "INSERT INTO transfers (credit_number, invoice_id, generation, external_id, amount_centavos, destination_id, "
    "state, attempt, calls, due_at, lease_expires_at, bank_transfer_id, created_at, sent_at, settled_at) "
    f"SELECT i, k, 1, 'credit-' || k, CASE WHEN i % 2000 = 11 THEN g - 150 ELSE g - 50 END, 1, {_STATE}, 1, 1, t, "
    f"CASE WHEN {_STATE} = 'sending' THEN s END, k, t, t, CASE WHEN {_STATE} = 'settled' THEN s END "
    "FROM n WHERE i % 3000 <> 13 AND i % 10000 <> 3",
    # failed, and replaced
    "INSERT INTO transfers (credit_number, invoice_id, generation, external_id, amount_centavos, destination_id, "
    "state, attempt, calls, due_at, created_at, sent_at) "
    "SELECT i, k, 1, 'credit-' || k, g - 50, 1, 'failed', 1, 1, t, t, t FROM n WHERE i % 10000 = 3",
    "INSERT INTO transfers (credit_number, invoice_id, generation, external_id, amount_centavos, destination_id, "
    "state, attempt, calls, due_at, bank_transfer_id, created_at, sent_at, settled_at) "
    "SELECT i, k, 2, 'credit-' || k || '-r2', g - 50, 1, 'settled', 1, 1, t, k, t, t, s FROM n WHERE i % 10000 = 3",
    *(
        "INSERT INTO transfer_history (transfer_id, at, fact, state, attempt) "
        f"SELECT id, created_at, '{fact}', '{fact}', 1 FROM transfers"
        for fact in ("claimed", "sent", "settled")
    ),
    "INSERT INTO attentions (kind, subject, invoice_id, detail, raised_at) "
    "SELECT 'transfer_dead', 'credit-' || k, k, 'blocked', t FROM n WHERE i % 50000 = 7",
    # a batch of ten invoices for every ten credits
    "INSERT INTO invoice_batches (id, tag, state, attempt, due_at, next_at, late, planned_at, issued_at) "
    "SELECT i, 'batch' || i, 'issued', 1, t, t, {false}, t, t FROM n WHERE i % 10 = 1",
    # one in fifty of another system
    f"INSERT INTO invoices (batch_id, position, tag, state, {_INVOICE}) "
    "SELECT CASE WHEN i % 50 <> 9 THEN i - (i - 1) % 10 END, CASE WHEN i % 50 <> 9 THEN 1 + (i - 1) % 10 END, "
    "CASE WHEN i % 50 <> 9 THEN 'batch' || (i - (i - 1) % 10) || '-' || i END, 'credited', "
    f"k, g, {_PAYER}, '{_LINK}', t, t, t, t, t, 'E20018183202603021510' || substr(k, 6) "
    "FROM n JOIN p ON p.j = i % 5000",
    # and one more in ten that was never credited
    f"INSERT INTO invoices (batch_id, position, tag, state, {_INVOICE}) "
    "SELECT i - (i - 1) % 10, 11, 'batch' || (i - (i - 1) % 10) || '-late', "
    f"CASE WHEN i > {_LAST} - 200 THEN 'open' WHEN i % 4000 = 3 THEN 'paid' WHEN i % 3 = 0 THEN 'canceled' "
    f"ELSE 'expired' END, '3' || substr(k, 2), g, {_PAYER}, '{_LINK}', t, t, t, t, "
    "CASE WHEN i % 4000 = 3 THEN t END, NULL "
    "FROM n JOIN p ON p.j = i % 5000 WHERE i % 10 = 3",
)


if __name__ == "__main__":
    main()
