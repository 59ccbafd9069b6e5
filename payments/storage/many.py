"""Many rows by few statements: inserts of up to 64 rows each, and questions about up to 64 keys each.

What counts is not SQLite's work but Python's around it, and the lock of the interpreter, which is given up and
fought for again at every step of every statement. A hundred events one by one take some 1,400 steps; so, some 40.
Statements come in sizes of powers of two, so that each is compiled once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Executable,
    Insert,
    Select,
    Table,
    bindparam,
    insert,
    or_,
    select,
)
from sqlalchemy.sql.compiler import SQLCompiler

from payments.storage.prepared import Prepared, Rows, insert_into

_SIZE_MAX = 64


class InsertMany:
    """``INSERT ... ON CONFLICT DO NOTHING`` for rows of ``table``, given as tuples in the order of ``names``.

    Columns in ``shared`` have one value for all rows, given by name.
    """

    def __init__(self, table: Table, *names: str, shared: Sequence[str] = ()) -> None:
        self._table = table
        self._names = names
        self._shared = shared
        self._in_order = [column.name for column in table.c if column.name in {*names, *shared}]
        self._statements: dict[tuple[str, int], str] = {}
        self._binders: dict[str, dict[str, Any]] = {}

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]], **shared: Any) -> int:
        """Insert them; returns how many were new. A row that meets any unique constraint is skipped."""
        driver = connection.connection.driver_connection
        assert driver is not None  # the connection is open
        dialect = connection.dialect
        binders = self._binders_for(dialect)
        same = {name: _bound(binders[name], shared[name]) for name in self._shared}
        inserted = 0
        for part in _parts(rows):
            # By column: most need no binder, and are passed on without a look at each value.
            columns: dict[str, Sequence[Any]] = dict(zip(self._names, zip(*part, strict=True), strict=True))
            for name, column in columns.items():
                if (bind := binders[name]) is not None:
                    columns[name] = [_bound(bind, value) for value in column]
            sql = self._statement(dialect, len(part))
            arguments: Any
            if dialect.positional:
                for name, value in same.items():
                    columns[name] = [value] * len(part)
                arguments = list(
                    chain.from_iterable(zip(*map(columns.__getitem__, self._in_order), strict=True))
                )
            else:
                arguments = same | {
                    f"{name}_{number}": value
                    for name, column in columns.items()
                    for number, value in enumerate(column)
                }
            inserted += driver.execute(sql, arguments).rowcount
        return inserted

    def _binders_for(self, dialect: Dialect) -> dict[str, Any]:
        binders = self._binders.get(dialect.name)
        if binders is None:
            binders = self._binders[dialect.name] = {
                name: self._table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
                for name in self._in_order
            }
        return binders

    def _statement(self, dialect: Dialect, size: int) -> str:
        statement = self._statements.get((dialect.name, size))
        if statement is None:
            statement = self._statements[dialect.name, size] = self._compile(dialect, size)
        return statement

    def _compile(self, dialect: Dialect, size: int) -> str:
        def names_of(number: int) -> dict[str, str]:
            return {name: name if name in self._shared else f"{name}_{number}" for name in self._in_order}

        rows = [
            {name: bindparam(each, type_=self._table.c[name].type) for name, each in names_of(number).items()}
            for number in range(size)
        ]
        compiled = (
            insert_into(self._table, dialect.name)
            .values(rows)
            .on_conflict_do_nothing()
            .compile(dialect=dialect)
        )
        assert isinstance(compiled, SQLCompiler)
        # Row by row, and in a row in the table's order: so run() gives them to a driver that counts them.
        if compiled.positiontup is not None:
            assert compiled.positiontup == [
                each for number in range(size) for each in names_of(number).values()
            ]
        return compiled.string


class SelectAmong:
    """A select with one more condition: that any of ``columns`` holds one of some keys."""

    def __init__(self, statement: Select[Any], *columns: Column[Any]) -> None:
        self._among = _Among(statement.where, columns)

    def run(self, connection: Connection, *keys: Sequence[Any]) -> Rows:
        """The rows for these keys, one sequence for each column; all of the same length."""
        found = Rows()
        for statement, values in self._among.parts(keys):
            found.extend(statement.run(connection, values))
        return found


class InsertAmong:
    """``INSERT ... SELECT``: rows of ``table``, made from those that a select finds where ``column`` has some keys."""

    def __init__(self, table: Table, columns: Mapping[str, ColumnElement[Any]], column: Column[Any]) -> None:
        def statement(condition: ColumnElement[bool]) -> Insert:
            chosen = select(*columns.values()).where(condition)
            return insert(table).from_select(list(columns), chosen, include_defaults=False)

        self._among = _Among(statement, (column,))

    def run(self, connection: Connection, keys: Sequence[Any], values: Mapping[str, Any]) -> int:
        """Insert the rows for these keys, with ``values`` for the named parameters; returns how many."""
        return sum(
            statement.count(connection, {**values, **of_keys})
            for statement, of_keys in self._among.parts((keys,))
        )


class _Among:
    """A statement with a condition that any of some columns holds one of some keys; compiled once for each size."""

    def __init__(
        self, statement: Callable[[ColumnElement[bool]], Executable], columns: Sequence[Column[Any]]
    ) -> None:
        self._statement = statement
        self._columns = columns
        self._sizes: dict[int, Prepared] = {}

    def parts(self, keys: Sequence[Sequence[Any]]) -> Iterator[tuple[Prepared, dict[str, Any]]]:
        """The statements to run, each with its keys."""
        count = len(keys[0])
        for start in range(0, count, _SIZE_MAX):
            part = [column_keys[start : start + _SIZE_MAX] for column_keys in keys]
            size = 1 << (len(part[0]) - 1).bit_length()
            yield (
                self._sized(size),
                {
                    f"key_{column}_{number}": column_keys[min(number, len(column_keys) - 1)]
                    for column, column_keys in enumerate(part)
                    for number in range(size)
                },
            )

    def _sized(self, size: int) -> Prepared:
        prepared = self._sizes.get(size)
        if prepared is None:
            conditions = [
                column.in_([bindparam(f"key_{index}_{number}", type_=column.type) for number in range(size)])
                for index, column in enumerate(self._columns)
            ]
            prepared = self._sizes[size] = Prepared(self._statement(or_(*conditions)))
        return prepared


def _bound(bind: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if bind is None or value is None else bind(value)


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut into pieces whose lengths are powers of two, at most 64."""
    start = 0
    while start < len(rows):
        size = min(_SIZE_MAX, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size
