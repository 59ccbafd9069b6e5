"""A primary and its hot standby for tests: two servers of tests/postgresql.py, by streaming replication."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgresql import Server, connection_to
from tests.running import wait_until
from tests.wire import Wire


class Pair:
    """Two servers: ``primary`` can be written to, ``standby`` repeats what it hears over the wire ``replication``."""

    def __init__(self, is_synchronous: bool) -> None:
        """``is_synchronous``: a commit of the primary is answered once the standby has it too."""
        self.primary = _server()
        self.replication = Wire(self.primary.port)
        try:
            self.standby = _server(follows=self.replication.port)
        except BaseException:
            self.replication.close()
            self.primary.close()
            raise
        if is_synchronous:
            self._wait_for_the_standby()

    @property
    def url(self) -> str:
        """The address that names both, the standby first."""
        hosts = [f"127.0.0.1:{server.port}" for server in (self.standby, self.primary)]
        return "postgresql+psycopg://repasse@/postgres?" + "&".join(f"host={host}" for host in hosts)

    def close(self) -> None:
        """End both for good."""
        self.standby.close()
        self.replication.close()
        self.primary.close()

    def _wait_for_the_standby(self) -> None:
        # Not in the file that the standby was copied with: nobody follows it yet when it is promoted.
        with connection_to(self.primary.url()) as administrator:
            administrator.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            administrator.execute("SELECT pg_reload_conf()")
            state = "SELECT sync_state FROM pg_stat_replication"
            wait_until(
                lambda: ("sync",) in administrator.execute(state).fetchall(), "the standby is waited for"
            )


def _server(follows: int | None = None) -> Server:
    return Server(follows=follows, wal_level="replica", max_wal_senders="4", hot_standby="on")


@contextmanager
def pair_of_servers(is_synchronous: bool) -> Iterator[Pair]:
    """A pair for the length of a block."""
    pair = Pair(is_synchronous)
    try:
        yield pair
    finally:
        pair.close()
