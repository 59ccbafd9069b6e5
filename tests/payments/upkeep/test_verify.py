"""Verifying: sound books have no finding, and each kind of damage has its own."""

import pytest
from sqlalchemy import text

from payments.storage.database import Database
from payments.upkeep.verify import _RULES, verify
from tests.payments.full_books import fill

DAMAGES = {
    "UPDATE credits SET fee_centavos = 1, net_centavos = net_centavos - 1 WHERE invoice_id = '104'": (
        "credits whose live transfer and withheld part do not make up their net: 104"
    ),
    "UPDATE transfers SET amount_centavos = 99999999999999 WHERE invoice_id = '102'": (
        "transfers of more than their credit's net: credit-102"
    ),
    "UPDATE transfers SET generation = 3, external_id = 'credit-104-r3' WHERE invoice_id = '104'": (
        "lineages with a gap in their generations: 104"
    ),
    "UPDATE credits SET disposition = 'not_ours' WHERE invoice_id = '102'": (
        "transfers of credits that are not to be forwarded: credit-102"
    ),
    "DELETE FROM reversals WHERE invoice_id = 'withheld'": "credits with money withheld and no reversal: withheld",
    "UPDATE inbox_events SET outcome = 'ignored' WHERE outcome = 'credit' AND subject = '102'": (
        "credits whose event says that it made none: 102"
    ),
    "UPDATE inbox_events SET outcome = 'credit' WHERE outcome = 'unreadable'": (
        "events that made a credit, and there is none: unreadable-1"
    ),
    "UPDATE inbox_events SET body = '' WHERE event_id = 'unreadable-1'": (
        "events without their bytes: unreadable-1"
    ),
    "UPDATE invoices SET bank_invoice_id = NULL, reported_at = NULL, state = 'planned' WHERE batch_id = 1": (
        "issued batches without their invoices: repasse-k3-slot-1"
    ),
}


def test_sound_books_have_no_finding(database: Database) -> None:
    """Every state, and rows in every table."""
    fill(database)
    looked_at: list[str] = []
    assert verify(database, looked_at.append) == []
    assert len(looked_at) > len(_RULES)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_found_and_named(database: Database, damage: str) -> None:
    """A check that cannot fail protects nothing."""
    fill(database)
    with database.transaction() as connection:
        connection.execute(text(damage))
    assert any(finding.startswith(DAMAGES[damage]) for finding in verify(database, lambda _: None))


def test_many_findings_of_a_kind_are_not_all_listed(database: Database) -> None:
    """Three, and that there are more."""
    fill(database)
    with database.transaction() as connection:
        connection.execute(text("UPDATE inbox_events SET body = ''"))
    [finding] = verify(database, lambda _: None)
    assert finding.endswith(" and more")
    assert finding.count(",") == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_without_its_parent_is_found(database: Database) -> None:
    """SQLite keeps foreign keys only for whoever asks it to; a person's own tool may not have."""
    fill(database)
    with database.transaction() as connection:
        connection.connection.driver_connection.execute("COMMIT")  # type: ignore[union-attr]
        connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE")  # type: ignore[union-attr]
        connection.execute(text("DELETE FROM destinations"))
    assert "table transfers: row 1 points to no row of destinations" in verify(database, lambda _: None)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_rule_looks_through_one_table_for_each_row_of_another(database: Database) -> None:
    """With a million credits that would take days; SQLite calls it a correlated subquery, or a second scan."""
    with database.reading() as connection:
        for _, query in _RULES:
            plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
            assert not any("CORRELATED" in step for step in plan), plan
            assert sum(step.startswith("SCAN") for step in plan) <= 1, plan
