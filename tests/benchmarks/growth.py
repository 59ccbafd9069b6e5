"""Growth: what the whole job, the statement and the operator's pages cost in a large database.

The large one is a real run's, copied many times over with other ids and days, so that it has every row that a credit
brings, whatever the schema. SQLite.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks import pages, whole
from tests.benchmarks.stand import CannotMeasure, Stand

DAYS = 31
_PAGES = ("/metrics", "/console", "/console/credits", "/console/transfers")
_ROUNDS = 5

# The bank's ids have 16 digits. Each copy moves them along the range of all of them, and back to its start at its end.
_ID = re.compile(r"(?<!\d)\d{16}(?!\d)")
_ID_LEAST, _IDS = 4_000_000_000_000_000, 3_000_000_000_000_000
_DAY = re.compile(r"\d{4}-\d\d-\d\dT")


def measure(
    folder: Path, checkout: Path, credits: int, workers: int, seconds: float, say: Callable[[str], None]
) -> Iterator[str]:
    """The pages and the highest rate held, with a thousand credits in the database and with so many."""
    few, many = folder / "few.db", folder / "many.db"
    target = whole.ours("to be copied", lambda _: f"sqlite:///{few}", workers)
    whole.run_at(folder, checkout, target, 250.0, 4.0, say)
    with sqlite3.connect(few) as database:
        database.execute("VACUUM INTO ?", (str(many),))
    began = time.monotonic()
    multiply(many, credits, say)
    yield f"{credits:,} credits made in {time.monotonic() - began:.0f} s, {many.stat().st_size / 1e9:.1f} GB"
    for path, count in ((few, 1_000), (many, credits)):
        yield f"\n{count:,} credits in the database"
        room = folder / f"pages-{count}"
        room.mkdir()
        with Stand(room, checkout) as stand:
            for page, milliseconds in _pages(stand, f"sqlite:///{path}"):
                yield f"{page:<42}{milliseconds:>8,.0f} ms"
        target = whole.ours(f"{count:,} credits", lambda _, path=path: f"sqlite:///{path}", workers)  # type: ignore[misc]
        for run in whole.highest(folder, checkout, target, seconds, say):
            yield run.line


def multiply(path: Path, credits: int, say: Callable[[str], None]) -> None:
    """Copy every row of the tables that grow with credits until there are so many. The web process must have ended."""
    with sqlite3.connect(path, isolation_level=None) as database:
        for pragma in ("synchronous = OFF", "foreign_keys = OFF", "cache_size = -2000000"):
            database.execute(f"PRAGMA {pragma}")
        there = database.execute("SELECT count(*) FROM credits").fetchone()[0]
        if not there:
            raise CannotMeasure("the run to be copied left no credits")
        growing = [_Growing(database, name) for name in _tables_of(database, at_least=there)]
        keys = {table.name: table.largest_key for table in growing}
        copies = credits // there - 1
        database.execute("BEGIN")
        for number in range(1, copies + 1):
            copy = _Copy(number, keys)
            for table in growing:
                database.executemany(table.insert, map(copy.of(table), table.rows))
            say(f"growth: {(number + 1) * there:,} of {credits:,} credits made")
        database.execute("COMMIT")
        database.execute("ANALYZE")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Growing:
    """A table, its rows, and what in them differs from copy to copy."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self.name = name
        columns = database.execute(f"SELECT name, type, pk FROM pragma_table_info('{name}')").fetchall()
        self.rows: list[tuple[Any, ...]] = database.execute(f"SELECT * FROM {name}").fetchall()
        self.insert = f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})"
        places = {column: place for place, (column, _, _) in enumerate(columns)}
        own = [column for column, kind, pk in columns if pk and kind.upper() in ("INTEGER", "BIGINT")]
        self.largest_key = max((row[places[own[0]]] for row in self.rows), default=0) if len(own) == 1 else 0
        references = {
            source: target
            for target, source in database.execute(
                f'SELECT "table", "from" FROM pragma_foreign_key_list(\'{name}\')'
            )
        }
        self.keys: list[tuple[int, str]] = []  # places of whole numbers that are keys, and of which table
        self.ids: list[int] = []
        self.times: list[int] = []
        for column, place in places.items():
            values = [row[place] for row in self.rows if row[place] is not None]
            if values and isinstance(values[0], int):
                if column in own[:1]:
                    self.keys.append((place, name))
                elif column in references:
                    self.keys.append((place, references[column]))
            elif any(isinstance(value, str) and _DAY.match(value) for value in values):
                self.times.append(place)
            elif any(isinstance(value, str) and _ID.search(value) for value in values):
                self.ids.append(place)


class _Copy:
    """Copy ``number`` of every row; ``keys`` are the largest key of each table that grows."""

    def __init__(self, number: int, keys: dict[str, int]) -> None:
        self._number = number
        self._keys = keys
        self._add = Random(number).randrange(_IDS)
        self._day = f"{date.today() - timedelta(days=1 + number % DAYS)}"  # noqa: DTZ011 - any day will do

    def of(self, table: _Growing) -> Callable[[tuple[Any, ...]], list[Any]]:
        """What makes a row of that table into the copy's."""
        keys = [(place, self._number * self._keys.get(name, 0)) for place, name in table.keys]

        def copied(row: tuple[Any, ...]) -> list[Any]:
            values = list(row)
            for place, more in keys:
                if values[place] is not None:
                    values[place] += more
            for place in table.ids:
                if values[place] is not None:
                    values[place] = _ID.sub(self._other_id, values[place])
            for place in table.times:
                if values[place] is not None:
                    values[place] = self._day + values[place][10:]
            return values

        return copied

    def _other_id(self, found: re.Match[str]) -> str:
        return str(_ID_LEAST + (int(found[0]) - _ID_LEAST + self._add) % _IDS)


def _pages(stand: Stand, database_url: str) -> Iterator[tuple[str, float]]:
    """Milliseconds of each page, and of ``run_job statement`` as a command; the best of some rounds."""
    stand.start_bank()
    _, port = stand.start_web(database_url)
    for page in _PAGES:
        yield page, pages.time_page(port, page)[0]
    yield "run_job statement", _best(lambda: stand.statement(database_url))


def _best(act: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def _tables_of(database: sqlite3.Connection, at_least: int) -> list[str]:
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        name
        for name in names
        if not name.startswith("sqlite_")
        and database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] >= at_least
    ]
