"""What goes wrong with PostgreSQL: told apart from our bugs, recovered from, and said in one line at a start."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import text

from payments.errors import LedgerConflict, LedgerUnavailable, LedgerUnusable
from payments.ledger.batches import open_window, read_window
from payments.storage import database as database_module
from payments.storage import postgresql as postgresql_module
from payments.storage.database import Database, open_database, repeated_on_conflict
from payments.storage.migrate import migrate
from tests.payments.builders import at_bank
from tests.payments.conftest import Books
from tests.postgresql import Databases, Server, connection_to
from tests.replicated import pair_of_servers
from tests.running import free_port, wait_until
from tests.wire import Wire

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def address_of(database: Database) -> str:
    """With its password, if it has one."""
    return database.url.render_as_string(hide_password=False)


# --- while it runs ---


FAULTS = (
    *("40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03"),
    *("58030", "25006", "08006", "XX001", "42501"),
)


@on_postgresql
def test_faults_of_the_storage_are_told_from_bugs(database: Database) -> None:
    """Undone, disk full, too many connections, locked, shut down, read-only, damaged, without rights: try again.

    A broken constraint, a text that is too long, an unknown column: a bug, which trying again would only repeat.
    """
    for state in (*FAULTS, "23505", "22001", "42703", "P0001"):
        with pytest.raises(Exception, match="it is so") as caught, database.transaction() as connection:
            connection.execute(text(f"DO $$ BEGIN RAISE 'it is so' USING ERRCODE = '{state}'; END $$"))
        assert isinstance(caught.value, LedgerUnavailable) == (state in FAULTS), state
        assert isinstance(caught.value, LedgerConflict) == state.startswith("40"), state


@on_postgresql
def test_a_lock_that_another_session_keeps_is_waited_for_only_so_long(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is then answered 503 and not by silence."""
    books.credit()
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    database = open_database(address_of(books.database))
    impatient = Books(database, books.policy, books.now)
    with connection_to(address_of(database)) as another:
        another.execute("BEGIN")
        another.execute("SELECT 1 FROM credits FOR UPDATE")
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            impatient.reverse()
    assert impatient.reverse().is_new
    database.close()


@on_postgresql
def test_a_connection_that_was_ended_is_replaced(books: Books) -> None:
    """By an administrator, a pooler or a failover; a transaction that was under way is tried again."""
    with connection_to(address_of(books.database)) as administrator:
        end_all = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        books.credit(invoice_id="1")
        administrator.execute(end_all)
        books.credit(invoice_id="2")  # the pool notices before it is used
        with pytest.raises(LedgerUnavailable), books.database.transaction() as connection:  # noqa: PT012
            administrator.execute(end_all)
            connection.execute(text("SELECT 1"))
        books.credit(invoice_id="3")
    assert books.statement.credits == 3


@on_postgresql
def test_a_read_only_database_refuses_and_recovers(books: Books) -> None:
    """A standby after a failover to the wrong side; reading works all the while."""
    name = books.database.url.database
    with connection_to(address_of(books.database)) as administrator:
        administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        books.database.close()  # its next connections are told
        with pytest.raises(LedgerUnavailable, match="read-only"):
            books.credit()
        assert books.statement.credits == 0
        administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        books.database.close()
    assert books.credit().is_new


def test_a_server_that_crashes_is_unavailable_and_keeps_what_was_committed(own_server: Server) -> None:
    """And a pool of dead connections heals by itself."""
    database = open_database(own_server.url())
    migrate(database)
    with database.transaction() as connection:
        connection.execute(text("INSERT INTO issuing_windows VALUES (1, 't', now(), 5, 8)"))
    own_server.stop("immediate")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="does not answer"), database.transaction():
            pass
    own_server.start()
    with database.reading() as connection:
        assert connection.execute(text("SELECT token FROM issuing_windows")).scalar() == "t"
    database.close()


@pytest.fixture
def wire(own_server: Server) -> Iterator[Wire]:
    """A way to a server that can be cut."""
    made = Wire(own_server.port)
    yield made
    made.close()


def test_a_server_that_says_nothing_is_given_up_and_taken_up_again(
    own_server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would have waited forever here."""
    monkeypatch.setattr(postgresql_module, "ANSWER_SECONDS", 0.3)
    database = open_database(own_server.url(port=wire.port))
    with database.reading(), database.reading():
        pass  # two connections in the pool
    with pytest.raises(LedgerUnavailable, match=r"no answer for 0\.3 s"), database.reading() as connection:  # noqa: PT012
        wire.cut()
        connection.execute(text("SELECT 1"))
    wire.mend()
    with database.reading() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    database.close()


def test_a_server_that_accepts_and_says_nothing_is_given_up(own_server: Server, wire: Wire) -> None:
    """Before there is any connection."""
    wire.cut()
    database = open_database(own_server.url(port=wire.port, query={"connect_timeout": "2"}))
    with pytest.raises(LedgerUnavailable, match="timeout expired"), database.reading():
        pass
    database.close()


def test_work_that_a_person_watches_waits_for_its_answer(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration, a copy, a recount of large books."""
    monkeypatch.setattr(postgresql_module, "ANSWER_SECONDS", 0.1)
    slow = text("SELECT pg_sleep(0.3)")
    database = open_database(postgresql_url, is_unhurried=True)
    with database.reading() as connection:
        connection.execute(slow)
    database.close()
    database = open_database(postgresql_url)
    with database.transaction() as connection, postgresql_module.unhurried(connection):
        connection.execute(slow)
    with pytest.raises(LedgerUnavailable, match="no answer"), database.reading() as connection:
        connection.execute(slow)
    database.close()


@pytest.mark.postgresql
def test_of_several_servers_the_one_that_can_be_written_to_is_used() -> None:
    """Wherever it stands in the address; another one after a failover."""
    with pair_of_servers(is_synchronous=True) as servers:
        database = open_database(servers.url)
        migrate(database)
        first, second = servers.primary.port, servers.standby.port
        assert f"?host=127.0.0.1:{second}&host=127.0.0.1:{first}" in database.name
        for server in (servers.primary, servers.standby):
            with database.transaction() as connection:
                assert connection.execute(text("SELECT inet_server_port()")).scalar() == server.port
            if server is servers.primary:
                servers.primary.stop("immediate")
                with pytest.raises(LedgerUnavailable, match=r"read-only|refused"), database.transaction():
                    pass
                servers.standby.promote()
        database.close()


@pytest.mark.postgresql
def test_a_commit_whose_standby_is_away_is_given_up_and_counts_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server lives and waits, without end. We hang up and cancel nothing, so that the commit is not half done."""
    with pair_of_servers(is_synchronous=True) as servers:
        with closing(open_database(servers.url)) as database:
            migrate(database)
        monkeypatch.setattr(postgresql_module, "ANSWER_SECONDS", 0.5)
        database = open_database(servers.url)
        servers.replication.cut()
        with pytest.raises(LedgerUnavailable, match="no answer"), database.transaction() as connection:
            connection.execute(text("INSERT INTO issuing_windows VALUES (1, 't', now(), 5, 8)"))
        with connection_to(servers.primary.url()) as another:
            stored = "SELECT token FROM issuing_windows"
            assert another.execute(stored).fetchall() == []
            servers.replication.mend()
            wait_until(lambda: another.execute(stored).fetchall() == [("t",)], "the commit counts")
        database.close()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://repasse:hunter2@A:5432,B:5432/books",
        "postgresql+psycopg://repasse:hunter2@/books?host=A&host=B&port=5432",
    ],
)
def test_several_servers_named_in_another_way_are_refused(address: str) -> None:
    """In one line, without the password."""
    with pytest.raises(LedgerUnusable) as caught:
        open_database(address)
    assert "DATABASE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_too_many_connections_are_a_fault_of_the_storage(postgresql: Databases) -> None:
    """Of the server's, and of our own pool's."""
    address = postgresql.create()
    name = address.rpartition("/")[2]
    with connection_to(address) as administrator:
        administrator.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"{name}_few")))
        administrator.execute(
            sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(f"{name}_few"))
        )
        few = open_database(address.replace("repasse@", f"{name}_few@"))
        with pytest.raises(LedgerUnavailable, match="too many connections"), few.transaction():
            pass
        administrator.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_few")))
    postgresql.drop(address)


def test_a_conflict_is_repeated_but_not_forever() -> None:
    """The last one is the caller's."""
    tried: list[int] = []

    @repeated_on_conflict
    def conflict(times: int) -> str:
        tried.append(times)
        if len(tried) <= times:
            raise LedgerConflict("deadlock detected")
        return "done"

    assert conflict(2) == "done"
    assert len(tried) == 3
    tried.clear()
    with pytest.raises(LedgerConflict):
        conflict(1000)
    assert len(tried) == database_module.CONFLICTS_MAX


# What others may have set, for the whole database or one process, each of which broke something or would have.
ODD_SESSION = {
    "client_encoding": "LATIN1",
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "America/Sao_Paulo",
    "bytea_output": "escape",
    "extra_float_digits": "-3",
    "standard_conforming_strings": "off",
    "search_path": "elsewhere",
    "statement_timeout": "30s",
    "idle_session_timeout": "30s",
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "enable_seqscan": "on",
    "jit": "on",
}
OUR_SESSION = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "search_path": "public",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "synchronous_commit": "on",
    "transaction_isolation": "read committed",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "1min",
    "enable_seqscan": "off",
    "jit": "off",
}


def set_for_the_database(database: Database, _folder: Path, _: pytest.MonkeyPatch) -> None:
    """As an administrator does; ALTER ROLE has the same effect."""
    with connection_to(address_of(database)) as administrator:
        for setting, value in ODD_SESSION.items():
            odd = sql.Literal(value)
            name = sql.Identifier(database.url.database or "")
            administrator.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), odd)
            )


def set_in_the_environment(_: Database, _folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variables of libpq."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.9")  # where no one listens
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGTZ", "America/Sao_Paulo")
    monkeypatch.setenv("PGOPTIONS", _as_options())


def set_in_a_service_file(_: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file that one variable names."""
    file = folder / "service.conf"
    file.write_text(f"[books]\nclient_encoding=LATIN1\noptions={_as_options()}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGSERVICE", "books")


def _as_options() -> str:
    odd = {name: value for name, value in ODD_SESSION.items() if name != "client_encoding"}
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in odd.items())


@on_postgresql
@pytest.mark.parametrize(
    "set_it",
    [set_for_the_database, set_in_the_environment, set_in_a_service_file],
    ids=lambda each: each.__name__,
)
def test_a_session_is_ours_whatever_others_have_set(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_it: Callable[..., None]
) -> None:
    """Each setting by its name; and a day's worth of text, times and tables."""
    with monkeypatch.context() as changed:
        set_it(books.database, tmp_path, changed)
        with closing(open_database(address_of(books.database))) as database:
            with database.transaction() as connection:
                assert {
                    each: connection.execute(text(f"SHOW {each}")).scalar() for each in OUR_SESSION
                } == OUR_SESSION
            with database.reading() as connection:
                assert connection.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
            assert not migrate(database)  # it finds its own tables
            odd = Books(database, books.policy, books.now)
            odd.credit()
            odd.send("A")
            odd.lose("A", "Saldo insuficiente – disponível: R$ 0,00 €")
            assert odd.states == ["failed", "pending"]
            with database.reading() as connection:
                said = connection.execute(
                    text("SELECT reason FROM transfers WHERE state = 'failed'")
                ).scalar_one()
            assert "Saldo insuficiente – disponível: R$ 0,00 €" in said
            window = open_window(database, 1 / 3 * 10, 8, token="abcd", now=books.now)
            assert window.opened_at == books.now
            assert window == read_window(database)
            with database.reading() as connection:
                stored = connection.execute(text("SELECT interval_seconds FROM issuing_windows")).scalar_one()
            assert stored == 1 / 3 * 10
        monkeypatch.undo()  # the fixtures connect without our code


# --- what the bank may say ---


def test_the_bank_s_words_fit_whatever_they_are(books: Books) -> None:
    """The character 0, and states longer than any we know: kept as far as they fit, and the bytes as they came."""
    books.credit(name="Ana\0 Lúcia")
    books.send("A")
    books.news(at_bank("A", "processing\0" + "x" * 200), "odd\0 words")
    assert books.states == ["sent"]
    books.lose("A", "Conta\0 bloqueada")
    assert books.states == ["failed", "pending"]
    with books.database.reading() as connection:
        bodies = connection.execute(text("SELECT body FROM inbox_events")).scalars()
        assert any(b"Ana\\u0000 L" in bytes(body) for body in bodies)


# --- at a start ---


@pytest.fixture
def empty(postgresql: Databases) -> Iterator[str]:
    """An empty database's address."""
    address = postgresql.create(migrated=False)
    yield address
    postgresql.drop(address)


def assert_refused(address: str) -> str:
    """Migrating ends with one line, which has no password; returns it."""
    database = open_database(address)
    try:
        with pytest.raises((LedgerUnavailable, LedgerUnusable)) as caught:
            migrate(database)
    finally:
        database.close()
    said = str(caught.value)
    assert "\n" not in said
    assert "hunter2" not in said
    return said


def test_a_server_that_is_not_there_is_named() -> None:
    """With what to do."""
    said = assert_refused(f"postgresql+psycopg://repasse:hunter2@127.0.0.1:{free_port()}/books")
    assert re.search(r"DATABASE_URL: .*repasse:\*\*\*@127.0.0.1.*refused.*; start PostgreSQL, or check", said)


def test_a_host_that_is_not_known_is_named() -> None:
    """A slip of the pen."""
    said = assert_refused("postgresql+psycopg://repasse:hunter2@nowhere.invalid/books")
    assert "check the host's name" in said


def test_a_database_that_does_not_exist_is_named(empty: str) -> None:
    """A person has to create it."""
    assert re.search(
        r'database "\w+_not" does not exist.*; create the database', assert_refused(f"{empty}_not")
    )


def test_a_wrong_password_is_refused_without_being_shown(own_server: Server) -> None:
    """In one line."""
    with connection_to(own_server.url()) as administrator:
        administrator.execute("CREATE ROLE careful LOGIN PASSWORD 'correct'")
        [rules] = administrator.execute("SHOW hba_file").fetchone() or ("",)
        file = Path(rules)
        file.write_text("host all careful 127.0.0.1/32 scram-sha-256\n" + file.read_text())
        administrator.execute("SELECT pg_reload_conf()")
    wrong = own_server.url(username="careful", password="hunter2")
    expected = r"password authentication failed.*; check the user and the password"
    wait_until(
        lambda: re.search(expected, assert_refused(wrong)), "the new rule holds, a moment after the reload"
    )
    assert "put the password into the address" in assert_refused(own_server.url(username="careful"))


def test_a_user_without_rights_is_told_what_it_lacks(empty: str, postgresql: Databases) -> None:
    """In the schema before anything is made, and in the tables afterwards."""
    migrated = postgresql.create()
    name = empty.rpartition("/")[2]
    poor = f"{name}_poor"
    with connection_to(empty) as administrator, connection_to(migrated) as other:
        administrator.execute(f"CREATE ROLE {poor} LOGIN")
        said = assert_refused(empty.replace("repasse@", f"{poor}@"))
        assert re.search(r"permission denied for schema public; let the user own the database", said)
        other.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {poor}")
        said = assert_refused(migrated.replace("repasse@", f"{poor}@"))
        assert re.search(rf"the user {poor} may not DELETE in table actions of .*; let the user own", said)
        other.execute(f"DROP OWNED BY {poor}")
        administrator.execute(f"DROP ROLE {poor}")
    postgresql.drop(migrated)


def test_a_server_that_is_too_old_is_refused(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its version, and with the one to use."""
    monkeypatch.setattr(postgresql_module, "VERSION_MIN", 99)
    assert re.search(r"is PostgreSQL \d+.*; use 99 or newer", assert_refused(empty))


def test_a_database_that_cannot_hold_every_name_is_refused(postgresql: Databases, empty: str) -> None:
    """Latin-1 has no place for half of the world's names."""
    latin = f"{empty}_latin1"
    with connection_to(empty) as administrator:
        name = latin.rpartition("/")[2]
        administrator.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        assert "has the encoding LATIN1" in assert_refused(latin)
    postgresql.drop(latin)


def test_a_slow_migration_of_another_process_is_waited_for(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than anyone waits for a row."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    database = open_database(empty)
    changed: list[bool] = []
    with connection_to(empty) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [int(database_module.NamedLock.MIGRATION)])
        starting = threading.Thread(target=lambda: changed.append(migrate(database)))
        starting.start()
        waits = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND clock_timestamp() - query_start > interval '0.1 s'"
        )
        wait_until(lambda: other.execute(waits).fetchone(), "it waits longer than for a row")
        other.execute("SELECT pg_advisory_unlock(%s)", [int(database_module.NamedLock.MIGRATION)])
        starting.join(30)
    assert changed == [True]
    database.close()
