"""The faults under which public systems for this job pay twice, lose credits or stop; each in real processes.

In each row faults happen, faults stop, and the system runs on by itself. The bank's own books must then show every
credit paid once at its net, nothing else paid, and 8 batches of 8 to 12 invoices with none twice.
"""

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day
from tests.running import wait_until
from tests.simulation.kills import play_round

pytestmark = pytest.mark.process

StartDay = Callable[..., Day]


@pytest.fixture
def start_day(tmp_path: Path) -> Iterator[StartDay]:
    """Open a day (arguments as of Day); it is closed at the end."""
    days: list[Day] = []

    def open_day(**arguments: Any) -> Day:
        day = Day(tmp_path, **arguments)
        days.append(day)
        return day

    yield open_day
    for day in days:
        day.close()


def _end_exact(day: Day) -> None:
    day.wait_for_end()
    day.control.clear_faults()
    wrong = day.settle()
    assert wrong is None, wrong


def test_answers_to_transfer_creation_are_lost_once_and_many_times_in_a_row(start_day: StartDay) -> None:
    """Row 1: connection dropped, hang, 500, 502, 503 after acceptance, a cut and a wrong body."""
    day = start_day()
    for name in ("drop_answer", "error_500", "error_502", "error_503", "cut_body", "wrong_body"):
        day.control.fault(name, "POST transfer", rate=0.2, accepted=True)
    day.control.fault("hang", "POST transfer", times=2, seconds=3)
    day.start()
    _end_exact(day)


def test_look_ups_fail_too_while_answers_are_lost(start_day: StartDay) -> None:
    """Row 2: 500, hang and an empty page by mistake, during the first attempts to recover."""
    day = start_day(seed=2)
    day.control.fault("drop_answer", "POST transfer", rate=0.6)
    day.control.fault("empty_page", "GET transfer", rate=0.5)
    day.control.fault("error_500", "GET transfer", rate=0.3)
    day.control.fault("hang", "GET transfer", times=2, seconds=3)
    day.start()
    _end_exact(day)


@pytest.mark.parametrize("retry_after", [None, 1])
def test_the_transfer_api_is_throttled_and_down_for_hours(
    start_day: StartDay, retry_after: int | None
) -> None:
    """Row 3: 429 with and without Retry-After, then 503, for some hours of bank time."""
    day = start_day(seed=3)
    options = {} if retry_after is None else {"retry_after": retry_after}
    day.control.fault("throttle_429", "POST transfer", **options)
    day.start()
    wait_until(lambda: day.control.statement()["unpaid"], "credits wait")
    time.sleep(1.5)
    assert day.control.transfers("success") == 0
    day.control.clear_faults()
    day.control.fault("error_503", "POST transfer", accepted=False, rate=0.5)
    _end_exact(day)


@pytest.mark.parametrize("seed", [0, 1])
def test_processes_are_killed_at_random_moments(seed: int) -> None:
    """Row 4 and 13: web and worker, together or alone, one of each or two, ten kills in a day full of faults."""
    counts, wrong = play_round(seed, 10)
    assert wrong is None, wrong
    assert counts["kills"] == 10


def test_the_web_app_is_down_for_longer_than_the_banks_last_retry(start_day: StartDay) -> None:
    """Row 5: the bank has given up delivering; reconciliation finds what was credited."""
    day = start_day(seed=5)
    day.start("worker-1")
    wait_until(lambda: day.control.statement()["credited"]["count"] >= 10, "credits go unheard")
    wait_until(lambda: _retries_are_over(day), "the bank has given up on some events")
    day.start("web-1")
    _end_exact(day)


def _retries_are_over(day: Day) -> bool:
    # the first try and three more, for at least one event
    return _failed_attempts(day) >= 4 * 5


def _failed_attempts(day: Day) -> int:
    return int(day.control.ask("GET", "activity")["deliveries"]["failed_attempts"])


def test_events_are_repeated_reordered_and_forged(start_day: StartDay) -> None:
    """Row 6: five times at once, in any order, hours late, through two webhooks, signed by a stranger."""
    day = start_day(seed=6, webhooks_each=2)
    day.control.fault("duplicate_delivery", count=4)
    day.control.fault("reorder", rate=0.5, seconds=7200)
    day.control.fault("forge_signature", rate=0.5)
    day.start()
    _end_exact(day)


def test_transfers_fail_after_they_were_accepted(start_day: StartDay) -> None:
    """Row 7: the destination is blocked for hours, later the account is too empty; both pass."""
    day = start_day(seed=7)
    day.control.fault("blocked_destination", reason="Account blocked")
    day.start()
    wait_until(lambda: day.control.transfers("failed") >= 5, "transfers fail")
    day.control.clear_faults()
    day.control.fault("blocked_destination", reason="Insufficient balance", times=5)
    _end_exact(day)
    assert day.control.transfers("failed") >= 5


def test_equal_amounts_to_one_destination_on_one_day(start_day: StartDay) -> None:
    """Row 8: the bank would block the same amount to the same account without an external_id."""
    amount = {"INVOICE_AMOUNT_MIN_CENTAVOS": "5000", "INVOICE_AMOUNT_MAX_CENTAVOS": "5000"}
    day = start_day(seed=8, settings=amount)
    day.start()
    _end_exact(day)


def test_invoice_creation_is_lost_late_and_refused_while_the_worker_dies(start_day: StartDay) -> None:
    """Row 9: lost and late answers, a refusal, four restarts in a row, down over three slots."""
    day = start_day(seed=9, seconds=12.0)
    day.control.fault("drop_answer", "POST invoice", rate=0.5)
    day.control.fault("hang", "POST invoice", times=1, seconds=2)
    day.control.fault("error_500", "POST invoice", rate=0.2, accepted=False)
    day.start()
    for _ in range(4):
        time.sleep(0.7)  # long enough to be in the middle of its first batch, now and then
        day.kill("worker-1")
        day.start("worker-1")
    time.sleep(1.0)
    day.kill("worker-1")
    time.sleep(3 * 12.0 / 8)
    day.start("worker-1")
    _end_exact(day)


def test_the_banks_key_is_missing_at_first_and_replaced_later_among_forged_events(
    start_day: StartDay,
) -> None:
    """Row 10: no key at the start, a new key at noon, a forgery with every event; few calls for the key."""
    day = start_day(seed=10)
    day.control.fault("key_endpoint_down", "GET public-key", times=2)
    day.control.fault("forge_signature")
    began = time.monotonic()
    day.start()
    wait_until(lambda: day.control.transfers("success") >= 5, "credits are forwarded")
    day.control.ask("POST", "key/rotate")
    _end_exact(day)
    asked = len(day.control.requests("GET", "public-key"))
    # the first key may be asked for every 5 s, then once a minute
    assert asked <= 3 + (time.monotonic() - began) / 60, asked


def test_the_database_is_locked_and_the_disk_full_for_a_while(start_day: StartDay) -> None:
    """Row 12: another program holds the write lock for longer than anyone waits; later nothing can be written."""
    day = start_day(seed=12, seconds=20.0)
    day.start()
    wait_until(lambda: day.control.transfers("success") >= 5, "credits are forwarded")
    with sqlite3.connect(day.database_file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        before = day.control.transfers("success")
        time.sleep(7.0)  # BUSY_SECONDS is 5: everybody has given up at least once
        other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: day.control.transfers("success") > before, "it goes on")
    web = day.running["web-1"].process.pid
    room = resource.prlimit(web, resource.RLIMIT_FSIZE)
    resource.prlimit(web, resource.RLIMIT_FSIZE, (4096, room[1]))
    refused = _failed_attempts(day)  # not by its log: that is a file too
    try:
        wait_until(lambda: _failed_attempts(day) > refused, "an event is answered 503")
    finally:
        resource.prlimit(web, resource.RLIMIT_FSIZE, room)
    _end_exact(day)
