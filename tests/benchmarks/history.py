"""A year of history, made by SQL: nearly all of it settled, and some of every other state."""

from datetime import datetime, timedelta
from random import Random

import psycopg
from sqlalchemy import text

from payments.invoice import searchable
from payments.storage.database import Database
from payments.tax_id import hash_tax_id, mask_tax_id
from worker.payers import random_payers

YEAR_SECONDS = 365 * 24 * 3600

# What is not decided yet, of the newest credits.
UNSETTLED = 60


def fill(database: Database, credits: int, now: datetime, unsettled: int = UNSETTLED) -> None:
    """Spread credits over the last year, with three events each; the newest ``unsettled`` are pending, sending or sent.

    Without any, a web process finds nothing to do in it.
    """
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
            known = {"credits": credits, "start": start, "unsettled": unsettled}
            parameters = {name: value for name, value in known.items() if f":{name}" in statement}
            connection.execute(text(statement), parameters)
    if database.is_postgresql:  # what its own daemon does within minutes
        url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("VACUUM ANALYZE")


def _payers() -> list[dict[str, object]]:
    return [
        {
            "j": number,
            "name": payer.name,
            "search": searchable(payer.name),
            "tax_id": mask_tax_id(payer.tax_id),
            "hash": hash_tax_id(b"the benchmark's key", payer.tax_id),
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
    f"CASE WHEN i > {_LAST} - :unsettled / 3 THEN 'pending' WHEN i > {_LAST} - :unsettled / 2 THEN 'sending' "
    f"WHEN i > {_LAST} - :unsettled THEN 'sent' "
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
        f"CAST('{'x' * 1500}' AS {{blob}}), {moment} FROM n"
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
