"""Verifies what no single constraint can keep: rules across tables. Reads only, on one snapshot.

It takes as long as the database is big. A finding is a bug, a damaged disk, or a person's own SQL.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from payments.storage.database import Database
from payments.transfer import LIVE_STATES

# How many rows a finding names.
_NAMED = 3

_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE_STATES))
_HAVE_A_CREDIT = "('credit', 'nothing_to_forward', 'not_ours')"

# What must not exist, each with a query for the keys of the rows that break the rule.
_RULES: tuple[tuple[str, str], ...] = (
    (
        "credits whose live transfer and withheld part do not make up their net",
        "SELECT c.invoice_id FROM credits c LEFT JOIN transfers t "  # noqa: S608, our own words
        f"ON t.credit_number = c.number AND t.state IN ({_LIVE}) WHERE c.disposition = 'forward' "
        "AND coalesce(t.amount_centavos, 0) + c.withheld_centavos <> c.net_centavos",
    ),
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
        "SELECT e.event_id FROM inbox_events e LEFT JOIN credits c ON c.event_id = e.event_id "  # noqa: S608
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
        "SELECT b.tag FROM invoice_batches b LEFT JOIN planned_invoices p ON p.batch_id = b.id "
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
        for rule, query in _RULES:
            progress(rule)
            findings += _broken(connection, rule, query)
    return findings


def _damages(connection: Connection) -> list[str]:
    """What SQLite itself finds in pages, indexes and constraints; PostgreSQL checks its own."""
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(10)"))]
    damages = [f"the file: {line}" for line in found if line != "ok"]
    orphans = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_NAMED)
    return damages + [f"table {row[0]}: row {row[1]} points to no row of {row[2]}" for row in orphans]


def _broken(connection: Connection, rule: str, query: str) -> list[str]:
    keys = [str(key) for key in connection.execute(text(query)).scalars().fetchmany(_NAMED + 1)]
    if not keys:
        return []
    named = ", ".join(keys[:_NAMED])
    return [f"{rule}: {named}{' and more' if len(keys) > _NAMED else ''}"]
