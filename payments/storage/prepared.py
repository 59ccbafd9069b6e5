"""Statements that are written in SQLAlchemy, compiled once for each dialect, and run on the driver itself.

SQLite answers a look-up by key in 3 microseconds; SQLAlchemy's own execution adds 25, and 100 when the statement is
built anew. An event takes a dozen statements, so this is what decides how many a second can be stored. Only for
statements whose parameters are single values (no expanding IN).
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

# A named tuple whose fields are the statement's columns; what they hold is the schema's business.
Row = Any

# Stands for a value that the statement itself does not give.
_REQUIRED = object()

# A parameter's name, the value that the statement itself gives it, and what makes it the driver's.
_Parameter = tuple[str, Any, Callable[[Any], Any] | None]


class Rows(list[Row]):
    """What a statement returned: named tuples, in a list that also answers as SQLAlchemy's results do."""

    def one_or_none(self) -> Any:
        """The only row, or None; more than one is a bug."""
        if len(self) > 1:
            raise ValueError(f"{len(self)} rows where at most one was expected")
        return self[0] if self else None

    def one(self) -> Any:
        """The only row; anything else is a bug."""
        if len(self) != 1:
            raise ValueError(f"{len(self)} rows where one was expected")
        return self[0]

    def scalar(self) -> Any:
        """The first value of the first row, or None."""
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        """The first value of the only row."""
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self]


class Prepared:
    """One statement. Safe to share between threads and databases."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._plans: dict[str, _Plan] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Rows:
        """Run it in the connection's transaction, with a value for every named parameter (else KeyError)."""
        plan = self._plan(connection.dialect)
        cursor = plan.execute(connection, values)
        if plan.make_row is None:
            return Rows()
        found = cursor.fetchall()
        if not plan.readers:
            return Rows(map(plan.make_row, found))
        return Rows(plan.read(row) for row in found)

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run one that returns nothing, as above; says how many rows it changed."""
        return int(self._plan(connection.dialect).execute(connection, values).rowcount)

    def _plan(self, dialect: Dialect) -> "_Plan":
        plan = self._plans.get(dialect.name)
        if plan is None:
            # two threads may both compile it; the plans are equal
            plan = self._plans[dialect.name] = _Plan(self._statement, dialect)
        return plan


def insert_into(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do on a conflict, in the words of a dialect."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


class _Plan:
    """A statement compiled for one dialect: its text, and what turns values into the driver's and back."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        assert isinstance(statement, ClauseElement)
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = compiled.string
        self._is_positional = compiled.positional
        names = (compiled.positiontup if compiled.positional else compiled.params) or ()
        self._parameters: list[_Parameter] = [
            (
                name,
                _REQUIRED if compiled.binds[name].required else compiled.params.get(name),
                compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect),
            )
            for name in names
        ]
        columns = list(getattr(statement, "exported_columns", ()))
        self.readers: list[tuple[int, Callable[[Any], Any]]] = []
        for position, column in enumerate(columns):
            reader = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if reader is not None:
                self.readers.append((position, reader))
        self.make_row: Callable[[Sequence[Any]], Any] | None = None
        if columns:
            names = [column.key or f"column_{position}" for position, column in enumerate(columns)]
            self.make_row = _row_type(names)

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it on the driver; returns the driver's cursor."""
        driver = connection.connection.driver_connection
        assert driver is not None  # the connection is open
        return driver.execute(self.sql, self.arguments(values))

    def arguments(self, values: Mapping[str, Any]) -> Any:
        """The driver's parameters, in order or by name."""
        if self._is_positional:
            return [self._bound(each, values) for each in self._parameters]
        return {each[0]: self._bound(each, values) for each in self._parameters}

    def _bound(self, parameter: "_Parameter", values: Mapping[str, Any]) -> Any:
        name, default, bind = parameter
        # A misspelt name must not become NULL: it would match no row, and say nothing.
        value = values[name] if default is _REQUIRED else values.get(name, default)
        return value if bind is None or value is None else bind(value)

    def read(self, row: Sequence[Any]) -> Any:
        """One row, with our own types in it."""
        values = list(row)
        for position, reader in self.readers:
            values[position] = reader(values[position])
        assert self.make_row is not None
        return self.make_row(values)


def _row_type(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    make: Callable[[Sequence[Any]], Any] = getattr(namedtuple("Row", names, rename=True), "_make")  # noqa: B009
    return make
