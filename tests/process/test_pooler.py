"""PgBouncer between the processes and PostgreSQL, in transaction mode: each transaction may get another session."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import text

from payments.storage.database import open_database
from tests.day import Day
from tests.payments.storage.test_postgresql import ODD_SESSION, OUR_SESSION
from tests.postgresql import Server, connection_to
from tests.running import free_port, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed here"),
]

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=repasse
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
"""


@pytest.fixture
def pooled_port(own_server: Server) -> Iterator[int]:
    """The port of a PgBouncer before a server."""
    port = free_port()
    as_nobody: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="repasse-pgbouncer-") as folder:
        if os.geteuid() == 0:  # which PgBouncer refuses
            nobody = pwd.getpwnam("nobody")
            as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            Path(folder).chmod(0o755)
        configuration = Path(folder, "pgbouncer.ini")
        configuration.write_text(CONFIGURATION.format(server=own_server.port, port=port))
        pooler = subprocess.Popen(["pgbouncer", "--quiet", configuration], cwd="/", **as_nobody)
        try:
            wait_until(lambda: _listens(port), "PgBouncer listens")
            yield port
        finally:
            pooler.kill()
            pooler.wait()


@pytest.mark.long
def test_a_day_through_a_pooler_is_exact_and_meets_no_bug(
    own_server: Server, pooled_port: int, build_day: Callable[..., Day]
) -> None:
    """No process runs what another has prepared; notifications are lost, and looking twice a second is enough."""
    day = build_day(seed=5, seconds=12.0, webs=2, workers=2, database_url=own_server.url(port=pooled_port))
    day.start()
    day.assert_ends_exact()
    day.assert_all_run()
    assert '"exception"' not in day.said()


def test_each_transaction_has_our_settings_whatever_the_database_has(
    own_server: Server, pooled_port: int
) -> None:
    """In whichever session of the server it is; what a transaction set is gone with it, because others share it."""
    with connection_to(own_server.url()) as administrator:
        for setting, value in ODD_SESSION.items():
            odd = sql.SQL("ALTER DATABASE postgres SET {} = {}").format(
                sql.Identifier(setting), sql.Literal(value)
            )
            administrator.execute(odd)
    with closing(open_database(own_server.url(port=pooled_port))) as database, ExitStack() as together:
        for _ in range(3):
            connection = together.enter_context(database.transaction())
            ours = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in OUR_SESSION}
            assert ours == OUR_SESSION
        together.close()
        with connection_to(own_server.url(port=pooled_port)) as another:
            assert another.execute("SHOW search_path").fetchone() == ("elsewhere",)
    with connection_to(own_server.url()) as administrator:
        administrator.execute("ALTER DATABASE postgres RESET ALL")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
