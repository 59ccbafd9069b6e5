"""The database changes its server, or cannot be reached, under real processes: no one restarts them, the day is exact.

Two real servers by streaming replication, and a way to one that is cut as a network is. The bank's statement decides.
"""

import re
from collections.abc import Callable

import pytest

from tests.day import Day
from tests.postgresql import Server, connection_to
from tests.replicated import pair_of_servers
from tests.running import wait_until
from tests.wire import Wire

pytestmark = [pytest.mark.process, pytest.mark.postgresql]

Begin = Callable[..., Day]


@pytest.fixture
def begin(build_day: Callable[..., Day]) -> Begin:
    """Start a day of two web processes and two workers on a database, until an event is answered 200. Everyone pays."""

    def start(database_url: str, seconds: float = 16.0) -> Day:
        everyone = ("--paid-share", "1")
        day = build_day(
            seed=5, seconds=seconds, webs=2, workers=2, database_url=database_url, switches=everyone
        )
        day.start()
        day.wait_for_start()
        wait_until(lambda: answered(day), "an event is answered")
        return day

    return start


def answered(day: Day) -> set[str]:
    """The ids of the events that were answered 200."""
    return set(re.findall(r'"event":"event\.stored".*?"event_id":"(\w+)"', day.said("web")))


def stored(server: Server) -> set[str]:
    """The ids of the events in the database."""
    with connection_to(server.url()) as connection:
        return {row[0] for row in connection.execute("SELECT event_id FROM inbox_events")}


def assert_goes_on_to_an_exact_end(day: Day) -> None:
    """The day ends exact, and every process is still the first one."""
    day.assert_ends_exact()
    day.assert_all_run()


def test_the_primary_dies_and_the_standby_takes_over_with_all_that_was_answered(begin: Begin) -> None:
    """Events get 503 between the two. Commits wait for the standby, so no answered event is missing there."""
    with pair_of_servers(is_synchronous=True) as servers:
        day = begin(servers.url, seconds=10.0)
        servers.primary.stop("immediate")
        wait_until(lambda: "event.not_stored" in day.said("web"), "an event is refused")
        before = answered(day)
        servers.standby.promote()
        assert before <= stored(servers.standby)
        assert_goes_on_to_an_exact_end(day)
        assert answered(day) > before


@pytest.mark.long
def test_what_a_standby_never_received_is_found_again_at_the_bank(begin: Begin) -> None:
    """Replication without waiting loses answered events, sent transfers and an issued batch; nothing is doubled."""
    with pair_of_servers(is_synchronous=False) as servers:
        day = begin(servers.url)
        servers.replication.cut()
        facts = (("web", "event.stored", 20), ("web", "transfer.sent", 1), ("worker", "batch.issued", 1))
        before = [day.said(kind).count(fact) for kind, fact, _ in facts]
        wait_until(
            lambda: all(
                day.said(kind).count(fact) >= had + more
                for (kind, fact, more), had in zip(facts, before, strict=True)
            ),
            "events, a transfer and a batch are in the primary alone",
        )
        servers.primary.stop("immediate")
        lost = answered(day)
        servers.standby.promote()
        assert len(lost - stored(servers.standby)) >= 20
        assert_goes_on_to_an_exact_end(day)


@pytest.mark.long
def test_a_silent_network_is_given_up_and_used_again_when_it_is_back(
    begin: Begin, own_server: Server
) -> None:
    """Nothing passes and no connection ends. Every event gets its 503 before the bank's patience ends."""
    wire = Wire(own_server.port)
    try:
        day = begin(own_server.url(port=wire.port))
        wire.cut()
        for name in ("web-1", "web-2"):
            wait_until(lambda name=name: "event.not_stored" in day.said(name), f"{name} refuses an event")  # type: ignore[misc]
        wire.mend()
        assert_goes_on_to_an_exact_end(day)
    finally:
        wire.close()
    posts = day.bank.ask("GET", "deliveries")["deliveries"]
    assert any(post["status"] == 503 for post in posts)
    assert not any(post["code"] == "timeout" for post in posts)
