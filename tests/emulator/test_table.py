"""Pages, cursors and indexes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.books.refusal import Refusal
from emulator.books.table import Table

START = datetime(2026, 3, 1, tzinfo=UTC)


def a_table(count: int) -> Table:
    table = Table("row", indexes=("tags",))
    for n in range(count):
        updated = (START + timedelta(minutes=(n * 7) % count)).isoformat()
        table.add({"id": str(n), "tags": [f"tag-{n % 3}"], "updated": updated}, START + timedelta(minutes=n))
    return table


def walk(table: Table, **arguments: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        rows, cursor = table.page(cursor=cursor, **arguments)
        found += [row["id"] for row in rows]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 25, 100])
@pytest.mark.parametrize("sort", ["-created", "created", "-updated", "updated"])
def test_pages_show_every_row_once_in_order(limit: int, sort: str) -> None:
    """Paging with any limit shows each row once."""
    table = a_table(25)
    rows = list(table.all())
    key = (lambda row: row["updated"]) if "updated" in sort else (lambda row: int(row["id"]))
    expected = [row["id"] for row in sorted(rows, key=key, reverse=sort.startswith("-"))]
    assert walk(table, limit=limit, sort=sort) == expected


def test_rows_that_arrive_or_leave_while_paging_shift_nothing() -> None:
    """A cursor is a position and not an offset."""
    table = a_table(10)
    first, cursor = table.page(limit=4)
    table.add({"id": "new", "tags": []}, START + timedelta(days=1))
    table.remove("6")
    table.remove("4")
    second, cursor = table.page(limit=4, cursor=cursor)
    assert [row["id"] for row in first + second] == ["9", "8", "7", "6", "5", "3", "2", "1"]
    assert [row["id"] for row in table.page(limit=4, cursor=cursor)[0]] == ["0"]


def test_an_index_answers_any_of_its_values_within_days_and_ids() -> None:
    """Index, day and id filters are combined."""
    table = a_table(9)
    assert walk(table, within={"tags": ["tag-1"]}) == ["7", "4", "1"]
    assert walk(table, within={"tags": ["tag-1", "tag-2", "tag-9"]}, limit=2) == [
        "8",
        "7",
        "5",
        "4",
        "2",
        "1",
    ]
    assert walk(table, within={"tags": ["tag-1"]}, ids=["4", "5", "unknown"]) == ["4"]
    after, before = START + timedelta(minutes=2), START + timedelta(minutes=7)
    assert walk(table, within={"tags": ["tag-1"]}, after=after, before=before) == ["4"]
    table.index("tags", "late", "3")
    table.index("tags", "late", "3")
    assert walk(table, within={"tags": ["late"]}) == ["3"]


@pytest.mark.parametrize("cursor", ["x", "????", "cm93Oi1jcmVhdGVkOjk5", "b3RoZXI6LWNyZWF0ZWQ6MQ"])
def test_a_cursor_that_the_list_never_gave_is_refused(cursor: str) -> None:
    """A foreign or damaged cursor gets invalidCursor."""
    with pytest.raises(Refusal, match="invalidCursor"):
        a_table(3).page(cursor=cursor)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"within": {"tags": ["rare"]}},
        {"within": {"tags": ["tag-1"]}},
        {"after": START + timedelta(minutes=500), "before": START + timedelta(minutes=600)},
    ],
)
def test_a_page_of_many_rows_takes_no_scan(asked: dict[str, Any]) -> None:
    """A page looks at no row but its own and the one after them."""
    table = a_table(1_000)
    table.index("tags", "rare", "5")
    looked_at: list[str] = []

    def keep(row: dict[str, Any]) -> bool:
        looked_at.append(row["id"])
        return True

    rows, _ = table.page(limit=10, keep=keep, **asked)
    assert looked_at[:10] == [row["id"] for row in rows]
    assert len(looked_at) <= 11
