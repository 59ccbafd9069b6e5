"""What only PostgreSQL needs: its sessions, its errors by SQLSTATE, and its one limit on text.

Imported when DATABASE_URL asks for it, because psycopg takes a tenth of a second to import.
docs/decisions/0012-postgresql.md says how locks, clocks and repeats are decided.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

from payments.errors import LedgerConflict, LedgerUnavailable, LedgerUnusable

# How long to wait for an answer before the server is given up. Longer than the longest wait for a lock (5 s), which
# ends with an answer, and shorter than the bank's patience with a webhook (unknown, supposed to be 10 s or more).
ANSWER_SECONDS = 7.0

# How long to wait for each host of the address to accept a connection. A machine that is off does not refuse.
CONNECT_SECONDS = 3

# A process that is stopped in the middle of a transaction must not keep a lineage locked forever.
IDLE_SECONDS = 60

# libpq's own settings (PostgreSQL's documentation, 32.1.2). The kernel's time limits are for waits that are longer than
# ANSWER_SECONDS by design: unhurried work.
_CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "repasse",
}

# What each session has, also where a server, database, role, service file, PG* variable or address says otherwise.
# With set_config and not as start-up options, which a pooler such as PgBouncer refuses.
_SESSION = {
    # how text, times and numbers are written: psycopg reads no other DateStyle, and names need UTF-8
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",  # a float comes back as it was stored
    "standard_conforming_strings": "on",
    # One schema: with a search_path of its own, one machine would find no tables, and make a second set of books.
    "search_path": "public",
    # Our own limits are below and in SessionConnection; another's must not cut off a migration or a copy.
    "statement_timeout": "0",
    "transaction_timeout": "0",  # of PostgreSQL 17
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    # A plan is made while a table is young, when reading all of it costs nothing, and kept while it grows, until
    # PostgreSQL analyzes it, which may be minutes. With 20,000 credits by then, each group of events took 60 ms longer.
    # What is not read as a whole has an index. JIT would take the scans that remain for expensive, and compile them.
    "enable_seqscan": "off",
    "jit": "off",
}

# Where commits are not durable by default, ours are: an answered event must outlive a power cut.
_PIN = """
SELECT set_config(
    'synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), %(local)s
), (SELECT count(set_config(name, wanted, %(local)s)) FROM pg_settings JOIN unnest(
    %(names)s::text[], %(values)s::text[]) AS ours (named, wanted) ON lower(named) = lower(name))
"""


# The oldest that the PostgreSQL project still supports (November 2026), and the newest features that we use are older.
VERSION_MIN = 15


def refuse_unfit(connection: Connection, name: str, tables: Sequence[str]) -> None:
    """Raise LedgerUnusable when this server is too old, or does not let us read and write our tables.

    ``tables``: those that are there already.
    """
    version, user = connection.execute(text("SELECT current_setting('server_version'), current_user")).one()
    if int(re.split(r"\D", version)[0]) < VERSION_MIN:
        raise LedgerUnusable(f"{name} is PostgreSQL {version}; use {VERSION_MIN} or newer")
    lacking = connection.execute(_LACKING_RIGHTS, {"tables": list(tables)}).all()
    if lacking:
        right, table = lacking[0]
        raise LedgerUnusable(
            f"the user {user} may not {right} in table {table} of {name}; let the user own the tables, or grant it "
            "SELECT, INSERT, UPDATE and DELETE on all of them"
        )


_LACKING_RIGHTS = text(
    "SELECT wanted, name FROM unnest(CAST(:tables AS text[])) AS name, "
    "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted "
    "WHERE NOT has_table_privilege(quote_ident(name), wanted) ORDER BY name, wanted"
)


class SessionConnection(psycopg.Connection[Any]):
    """A connection that gives up a server which does not answer, for any reason.

    The kernel's time limits end a wait when packets are not acknowledged. Behind a proxy or a pooler they always are,
    and so they are by a server whose process or disk hangs, or whose commit waits for a standby that is gone; the
    server's own statement_timeout does not run then.
    """

    # None: as long as it takes, for work that a person watches.
    answer_seconds: float | None = ANSWER_SECONDS

    # True when each transaction may be in another session of the server.
    is_pooled = False

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer; ``timeout`` is for callers who know what to do when there is none."""
        if timeout is not None or self.answer_seconds is None:
            return super().wait(gen, interval, timeout)
        gives_up_at = time.monotonic() + self.answer_seconds
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.OperationalError:
            if time.monotonic() < gives_up_at:
                raise
            # Closed, and nothing is canceled: a commit that is canceled while it waits for its standby counts as done.
            # SQLAlchemy drops the whole pool when it finds a closed connection.
            self.close()
            raise psycopg.OperationalError(f"no answer for {self.answer_seconds:g} s") from None


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Wait for this connection's answers as long as they take, in this block."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, SessionConnection)
    seconds, driver.answer_seconds = driver.answer_seconds, None
    try:
        yield
    finally:
        driver.answer_seconds = seconds


def make_engine(url: URL, busy_seconds: float, *, is_unhurried: bool) -> Engine:
    """Connections that wait ``busy_seconds`` for a lock, or for a free connection of the pool.

    ``is_unhurried``: wait for any answer as long as it takes, and read whole tables.
    """
    engine = create_engine(
        url,
        connect_args={
            name: value for name, value in _connect_arguments(url).items() if name not in url.query
        },
        # Not the server's default, which may be another. Each statement after a lock sees what the lock was waited for.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,  # a connection that died is replaced before it is used
        pool_size=8,
        pool_timeout=busy_seconds,
    )
    settings = {**_SESSION, "lock_timeout": f"{busy_seconds:g}s"}
    if is_unhurried:
        settings["enable_seqscan"] = "on"

    def connect_session(
        _dialect: object, _record: object, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> SessionConnection:
        connection = _open_session(arguments, named, settings)
        connection.answer_seconds = None if is_unhurried else ANSWER_SECONDS
        return connection

    def pin_transaction(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        if isinstance(driver, SessionConnection) and driver.is_pooled:
            connection.exec_driver_sql(_PIN, _pinned(settings, for_transaction=True))

    event.listen(engine, "do_connect", connect_session)
    event.listen(engine, "begin", pin_transaction)
    return engine


def _open_session(
    arguments: Sequence[Any], named: Mapping[str, Any], settings: Mapping[str, str]
) -> SessionConnection:
    """Every connection of ours begins here, with these settings. Raises LedgerUnusable, and psycopg's errors."""
    # The encoding also at the start, because libpq would otherwise take it from PGCLIENTENCODING.
    # And the host that the address names, not the one that PGHOSTADDR has in its place.
    host = {"hostaddr": ""} if named.get("host") else {}
    connection = SessionConnection.connect(*arguments, **{**host, **named, "client_encoding": "UTF8"})
    try:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise LedgerUnusable(
                f"DATABASE_URL: the database {connection.info.dbname} has the encoding {encoding}, which cannot hold "
                "every name; create one with ENCODING 'UTF8' TEMPLATE template0"
            )
        connection.adapters.register_dumper(str, _TextDumper)
        session = connection.execute("SELECT pg_backend_pid()").fetchone()
        if session is not None and session[0] == connection.info.backend_pid:
            connection.execute(_PIN, _pinned(settings, for_transaction=False))
        else:
            # A pooler is in between, which may give each transaction another session: each is given our settings.
            connection.is_pooled = True
            # A name there may stand for what another process has prepared: our values would go into its statement.
            connection.prepare_threshold = None
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _pinned(settings: Mapping[str, str], *, for_transaction: bool) -> dict[str, Any]:
    return {"names": list(settings), "values": list(settings.values()), "local": for_transaction}


def _connect_arguments(url: URL) -> dict[str, Any]:
    """What we ask for where the address says nothing else."""
    hosts = url.query.get("host", url.host or "")
    if isinstance(hosts, str) and "," not in hosts:
        return _CONNECT_ARGUMENTS
    # One of several servers is the primary. Any other would take us, and refuse all that we write.
    return {**_CONNECT_ARGUMENTS, "target_session_attrs": "read-write"}


class _TextDumper(StrDumper):
    """PostgreSQL's text cannot hold the character 0; the bank's words may. The inbox keeps the bank's very bytes."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


# --- what goes wrong, by SQLSTATE or its beginning (PostgreSQL's documentation, appendix A) ---

_CONFLICTS = ("40001", "40P01")  # not serializable, deadlock

_FAULTS = (
    "08",  # the connection broke
    "40",  # undone
    "53",  # no more disk, memory or connections
    "57",  # canceled, shut down, not up yet
    "58",  # the system below
    "XX",  # damaged
    "25006",  # read-only: a standby, or an administrator's wish
    "25P",  # this process was stopped in the middle of a transaction, and its session ended
    "55P03",  # waited too long for a lock
    "55000",  # not in a state for it
)

# What only a person can fix. A connection that was refused has no SQLSTATE, only words.
_REMEDIES = {
    "28": "check the user and the password",
    "3D000": "create the database, or name another",
    "3F000": "create the schema, or name another database",
    "42501": "let the user own the database, or grant what it lacks",
    "42P01": "run python -m payments.storage.migrate, or any of our processes",
}
_REMEDIES_BY_WORDS = {
    "password authentication failed": "check the user and the password",
    "no password supplied": "put the password into the address",
    "no pg_hba.conf entry": "let this machine in, in the server's pg_hba.conf",
    'role "': "create the user, or name another",
    'database "': "create the database, or name another",
    "failed to resolve host": "check the host's name",
    "Connection refused": "start PostgreSQL, or check host and port",
}


def fault_from(cause: BaseException | None) -> LedgerUnavailable | None:
    """The storage's fault, to be tried again; None when it is a bug of ours."""
    if not isinstance(cause, psycopg.Error):
        return None
    state = cause.sqlstate
    reason = f"the database does not answer: {_line(cause)}"
    if state is None:
        # A server that dies gives none, nor does a connection that was never made.
        if not isinstance(cause, psycopg.OperationalError):
            return None
        said = str(cause)
        return LedgerUnavailable(
            reason, next((remedy for words, remedy in _REMEDIES_BY_WORDS.items() if words in said), None)
        )
    if state in _CONFLICTS:
        return LedgerConflict(reason)
    remedy = next((remedy for key, remedy in _REMEDIES.items() if state.startswith(key)), None)
    return LedgerUnavailable(reason, remedy) if remedy or state.startswith(_FAULTS) else None


def _line(error: psycopg.Error) -> str:
    # A connection's failure has a line for each address that was tried; the last says what came of it.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
