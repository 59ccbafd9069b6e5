"""Verifies what no single constraint can keep: rules across tables. Reads only, on one snapshot.

It takes as long as the database is large. A finding is a bug, a damaged disk, or a person's own SQL.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from payments.ledger.balance import read_balance, read_unaccounted
from payments.storage.database import Database

# How many rows a finding names.
_NAMED = 3

_HAVE_A_CREDIT = "('credit', 'nothing_to_forward', 'not_ours')"

_UNACCOUNTED = "credits whose live transfer and withheld part do not make up their net"

# The other rules, each with a query for the keys of the rows that break it.
_RULES: tuple[tuple[str, str], ...] = (
    (
        "transfers of credits that are not to be forwarded",
        "SELECT t.external_id FROM transfers t JOIN credits c ON c.number = t.credit_number "
        "WHERE c.disposition <> 'forward'",
    ),
    (
        "transfers of more than their credit's net",
        "SELECT t.external_id FROM transfers t JOIN credits c ON c.number = t.credit_number "
        "WHERE t.amount_centavos > c.net_centavos",
    ),
    (
        "lineages with a gap in their generations",
        "SELECT max(invoice_id) FROM transfers GROUP BY credit_number "
        "HAVING min(generation) <> 1 OR max(generation) <> count(*)",
    ),
    (
        "credits with money withheld and no reversal",
        "SELECT c.invoice_id FROM credits c LEFT JOIN reversals r ON r.invoice_id = c.invoice_id "
        "WHERE c.withheld_centavos > 0 AND r.invoice_id IS NULL",
    ),
    (
        "events that made a credit, and there is none",
        # A join and no subquery, so that SQLite makes an index for the time of the query.
        "SELECT e.event_id FROM inbox_events e LEFT JOIN credits c ON c.event_id = e.event_id "  # noqa: S608, our words
        f"WHERE e.outcome IN {_HAVE_A_CREDIT} AND c.event_id IS NULL",
    ),
    (
        "credits whose event says that it made none",
        "SELECT c.invoice_id FROM credits c JOIN inbox_events e ON e.event_id = c.event_id "  # noqa: S608
        f"WHERE e.outcome NOT IN {_HAVE_A_CREDIT}",
    ),
    ("events without their bytes", "SELECT event_id FROM inbox_events WHERE length(body) = 0"),
    (
        "issued batches without their invoices",
        "SELECT b.tag FROM invoice_batches b LEFT JOIN invoices p ON p.batch_id = b.id "
        "WHERE b.state = 'issued' GROUP BY b.id, b.tag "
        "HAVING count(p.bank_invoice_id) <> count(p.id) OR count(p.id) = 0",
    ),
)


def verify(database: Database, progress: Callable[[str], None]) -> list[str]:
    """Every finding, in words; none when the database is sound. ``progress`` gets each rule before it is checked.

    Raises LedgerUnavailable, also when the database is so damaged that it cannot be read.
    """
    findings: list[str] = []
    with database.reading() as connection:
        if database.is_postgresql:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        else:
            progress("the file")
            findings += _damages(connection)
        progress(_UNACCOUNTED)
        findings += _named(_UNACCOUNTED, read_unaccounted(connection, _NAMED + 1))
        if not read_balance(connection).balanced:
            findings.append("the statement does not balance")
        for rule, query in _RULES:
            progress(rule)
            keys = connection.execute(text(query)).scalars().fetchmany(_NAMED + 1)
            findings += _named(rule, [str(key) for key in keys])
    return findings


def _damages(connection: Connection) -> list[str]:
    """What SQLite itself finds in pages, indexes and constraints; PostgreSQL checks its own."""
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(10)"))]
    damages = [f"the file: {line}" for line in found if line != "ok"]
    orphans = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_NAMED)
    return damages + [f"table {row[0]}: row {row[1]} points to no row of {row[2]}" for row in orphans]


def _named(rule: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    named = ", ".join(keys[:_NAMED])
    return [f"{rule}: {named}{' and more' if len(keys) > _NAMED else ''}"]
