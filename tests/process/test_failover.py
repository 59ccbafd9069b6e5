"""The database changes its server, or cannot be reached, under real processes: nobody is restarted, the day is exact.

Two real servers by streaming replication, and a way to one that is cut as a network is. The bank's own books decide.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day
from tests.postgresql import Server, connection_to
from tests.replicated import pair_of_servers
from tests.running import wait_until
from tests.wire import Wire

pytestmark = pytest.mark.process

SECONDS = 12.0

# Everybody pays, so that events come all the while.
SWITCHES = ("--paid-share", "1")


@pytest.fixture
def build_day(tmp_path: Path) -> Iterator[Callable[..., Day]]:
    """Builds a day of two web processes and two workers; whatever still runs at the end is killed."""
    built: list[Day] = []

    def build(database_url: str) -> Day:
        day = Day(
            tmp_path,
            seed=5,
            seconds=SECONDS,
            webs=2,
            workers=2,
            database_url=database_url,
            switches=SWITCHES,
        )
        built.append(day)
        day.start()
        for name, running in day.running.items():
            running.wait_for(f"{name.split('-')[0]}.started")
        wait_until(lambda: answered(day), "an event is answered")
        return day

    yield build
    for day in built:
        day.close()


def test_the_primary_dies_and_the_standby_takes_over_with_all_that_was_answered(
    build_day: Callable[..., Day],
) -> None:
    """Events get 503 between the two. Commits wait for the standby, so no answered event is missing there."""
    with pair_of_servers(is_synchronous=True) as servers:
        day = build_day(servers.url)
        servers.primary.stop("immediate")
        wait_until(lambda: "event.not_stored" in said(day, "web"), "an event is refused")
        before = answered(day)
        servers.standby.promote()
        with connection_to(servers.standby.url()) as connection:
            kept = {row[0] for row in connection.execute("SELECT event_id FROM inbox_events")}
        assert before <= kept
        finish(day)
        assert answered(day) > before


def test_what_a_standby_never_heard_of_is_found_again_at_the_bank(build_day: Callable[..., Day]) -> None:
    """Replication without waiting loses answered events, sent transfers and an issued batch; nothing is doubled."""
    with pair_of_servers(is_synchronous=False) as servers:
        day = build_day(servers.url)
        servers.replication.cut()
        before = (
            answered(day),
            said(day, "web").count("transfer.sent"),
            said(day, "worker").count("batch.issued"),
        )
        wait_until(
            lambda: (
                len(answered(day)) > len(before[0]) + 20
                and said(day, "web").count("transfer.sent") > before[1]
                and said(day, "worker").count("batch.issued") > before[2]
            ),
            "events, a transfer and a batch are in the primary alone",
        )
        servers.primary.stop("immediate")
        gone = answered(day)
        servers.standby.promote()
        with connection_to(servers.standby.url()) as connection:
            gone -= {row[0] for row in connection.execute("SELECT event_id FROM inbox_events")}
        assert len(gone) > 20
        finish(day)


def test_a_network_that_goes_silent_is_given_up_and_taken_up_again(
    build_day: Callable[..., Day], own_server: Server
) -> None:
    """Nothing passes and nobody is told. Every event gets its 503 before the bank's patience ends."""
    wire = Wire(own_server.port)
    try:
        day = build_day(own_server.url(port=wire.port))
        wire.cut()
        for number in (1, 2):
            name = f"web-{number}"
            wait_until(lambda name=name: "event.not_stored" in said(day, name), f"{name} refuses an event")  # type: ignore[misc]
        wire.mend()
        finish(day)
    finally:
        wire.close()
    posts = day.control.ask("GET", "deliveries")["deliveries"]
    assert any(post["status"] == 503 for post in posts)
    assert not any(post["code"] == "timeout" for post in posts)


def finish(day: Day) -> None:
    """Wait for the end of the day, which is exact, and which nobody has left."""
    day.wait_for_end()
    assert day.settle() is None
    assert all(running.process.poll() is None for running in day.running.values())


def said(day: Day, name: str) -> str:
    """What the processes of this name, or whose names begin so, have said."""
    return "\n".join(running.said for each, running in day.running.items() if each.startswith(name))


def answered(day: Day) -> set[str]:
    """The ids of the events that were answered 200."""
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in re.findall(r"^{.*}$", said(day, "web"), re.MULTILINE)
    ]
    return {line["event_id"] for line in lines if line["event"] == "event.stored"}
