"""PgBouncer between the processes and PostgreSQL, in transaction mode: each transaction may get another session."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day
from tests.postgresql import Server
from tests.running import free_port, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.long,
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


def test_a_day_through_a_pooler_is_exact_and_meets_no_bug(
    own_server: Server, pooled_port: int, build_day: Callable[..., Day]
) -> None:
    """No process runs what another has prepared; notifications are lost, and looking twice a second is enough."""
    day = build_day(seed=5, seconds=12.0, webs=2, workers=2, database_url=own_server.url(port=pooled_port))
    day.start()
    day.assert_ends_exact()
    day.assert_all_run()
    assert '"exception"' not in day.said()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
