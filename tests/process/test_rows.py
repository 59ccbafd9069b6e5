"""The faults under which public systems for this job pay twice, lose credits or stop; each in real processes.

In each row faults happen, faults stop, and the system runs on by itself. The bank's own statement must then show every
credit paid once at its net, nothing else paid, and 8 batches of 8 to 12 invoices with none twice.
"""

import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from payments.ledger.batches import read_window
from payments.storage.database import open_database
from tests.day import Day
from tests.running import wait_until
from tests.simulation.kills import play_round

pytestmark = pytest.mark.process

BuildDay = Callable[..., Day]


def test_answers_to_transfer_creation_are_lost_once_and_many_times_in_a_row(build_day: BuildDay) -> None:
    """Row 1: connection dropped, hang, 500, 502, 503 after acceptance, a cut and a wrong body."""
    day = build_day()
    for name in ("drop_answer", "error_500", "error_502", "error_503", "cut_body", "wrong_body"):
        day.bank.fault(name, "POST transfer", rate=0.2, accepted=True)
    day.bank.fault("hang", "POST transfer", times=2, seconds=3)
    day.start()
    day.assert_ends_exact()


@pytest.mark.long
def test_look_ups_fail_too_while_answers_are_lost(build_day: BuildDay) -> None:
    """Row 2: 500, hang and an empty page by mistake, during the first attempts to recover."""
    day = build_day(seed=2)
    day.bank.fault("drop_answer", "POST transfer", rate=0.6)
    day.bank.fault("empty_page", "GET transfer", rate=0.5)
    day.bank.fault("error_500", "GET transfer", rate=0.3)
    day.bank.fault("hang", "GET transfer", times=2, seconds=3)
    day.start()
    day.assert_ends_exact()


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"retry_after": 1}])
def test_the_transfer_api_is_throttled_and_down_for_hours(
    build_day: BuildDay, options: dict[str, int]
) -> None:
    """Row 3: 429 with and without Retry-After, then 503, for some hours of bank time."""
    day = build_day(seed=3)
    day.bank.fault("throttle_429", "POST transfer", **options)
    day.start()
    wait_until(lambda: len(day.bank.requests("POST", "transfer")) >= 3, "a transfer was tried several times")
    assert day.bank.transfers("success") == 0
    day.bank.clear_faults()
    day.bank.fault("error_503", "POST transfer", accepted=False, rate=0.5)
    day.assert_ends_exact()


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_processes_are_killed_at_random_moments(seed: int) -> None:
    """Row 4 and 13: web and worker, together or alone, one of each or two, ten kills in a day full of faults."""
    counts, wrong = play_round(seed, 10, kill_seconds=90)  # a loaded machine takes longer to start them
    assert wrong is None, wrong
    assert counts["kills"] == 10


@pytest.mark.long
def test_the_web_app_is_down_for_longer_than_the_banks_last_retry(build_day: BuildDay) -> None:
    """Row 5: the bank has given up delivering; reconciliation finds what was credited."""
    day = build_day(seed=5)
    day.start("worker-1")
    wait_until(lambda: day.bank.statement()["credited"]["count"] >= 10, "credits are not delivered")
    # the first try and three more, for at least one of five events
    wait_until(lambda: _failed_deliveries(day) >= 4 * 5, "the bank has given up on some events")
    day.start("web-1")
    day.assert_ends_exact()


def _failed_deliveries(day: Day) -> int:
    return int(day.bank.ask("GET", "activity")["deliveries"]["failed_attempts"])


@pytest.mark.long
def test_events_are_repeated_reordered_and_forged(build_day: BuildDay) -> None:
    """Row 6: five times together, in any order, hours late, through two webhooks, signed by a stranger."""
    day = build_day(seed=6, webhooks_each=2)
    day.bank.fault("duplicate_delivery", count=4)
    day.bank.fault("reorder", rate=0.5, seconds=7200)
    day.bank.fault("forge_signature", rate=0.5)
    day.start()
    day.assert_ends_exact()


@pytest.mark.long
def test_transfers_fail_after_they_were_accepted(build_day: BuildDay) -> None:
    """Row 7: the destination is blocked for hours, later the account is too empty; both pass."""
    day = build_day(seed=7)
    day.bank.fault("blocked_destination", reason="Account blocked")
    day.start()
    wait_until(lambda: day.bank.transfers("failed") >= 5, "transfers fail")
    day.bank.clear_faults()
    day.bank.fault("blocked_destination", reason="Insufficient balance", times=5)
    day.assert_ends_exact()
    assert day.bank.transfers("failed") >= 5


@pytest.mark.long
def test_equal_amounts_to_one_destination_on_one_day(build_day: BuildDay) -> None:
    """Row 8: the bank would block the same amount to the same account without an external_id."""
    amount = {"INVOICE_AMOUNT_MIN_CENTAVOS": "5000", "INVOICE_AMOUNT_MAX_CENTAVOS": "5000"}
    day = build_day(seed=8, settings=amount)
    day.start()
    day.assert_ends_exact()


@pytest.mark.long
def test_invoice_creation_is_lost_late_and_refused_while_the_worker_dies(build_day: BuildDay) -> None:
    """Row 9: lost and late answers, a refusal, four restarts in a row, down over three slots."""
    day = build_day(seed=9, seconds=12.0)
    day.bank.fault("drop_answer", "POST invoice", rate=0.5)
    day.bank.fault("hang", "POST invoice", times=1, seconds=2)
    day.bank.fault("error_500", "POST invoice", rate=0.2, accepted=False)
    day.start()
    for _ in range(4):
        wait_until(
            lambda: "batch.planned" in day.said("worker-1") or day.issued() == 8,
            "a batch is about to be created",
        )
        day.kill("worker-1")
        day.start("worker-1")
    day.wait_for_batches(1)
    day.kill("worker-1")
    missed = min(8, _begun_slots(day) + 3)
    wait_until(lambda: _begun_slots(day) >= missed, "three slots begin without a worker")
    day.start("worker-1")
    day.assert_ends_exact()


def _begun_slots(day: Day) -> int:
    with closing(open_database(f"sqlite:///{day.database_file}")) as database:
        window = read_window(database)
    assert window is not None
    return sum(window.begins_at(slot) <= datetime.now(UTC) for slot in range(window.slots))


@pytest.mark.long
def test_the_banks_key_is_missing_at_first_and_replaced_later_among_forged_events(
    build_day: BuildDay,
) -> None:
    """Row 10: no key at the start, a new key at noon, a forgery with every event; few calls for the key."""
    day = build_day(seed=10)
    day.bank.fault("key_endpoint_down", "GET public-key", times=2)
    day.bank.fault("forge_signature")
    began = time.monotonic()
    day.start()
    day.wait_for_payouts(5)
    day.bank.ask("POST", "key/rotate")
    day.assert_ends_exact()
    asked = len(day.bank.requests("GET", "public-key"))
    # the first key may be asked for every 5 s, then once a minute
    assert asked <= 3 + (time.monotonic() - began) / 60, asked


def test_the_database_is_locked_and_the_disk_full_for_a_while(build_day: BuildDay) -> None:
    """Row 12: another program holds the write lock for longer than anyone waits; later nothing can be written."""
    day = build_day(seed=12, seconds=14.0)
    day.start()
    day.wait_for_payouts(5)
    with closing(sqlite3.connect(day.database_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for name in ("event.not_stored", "forwarder.ledger_unavailable"):
            wait_until(lambda name=name: name in day.said("web"), f"the web app logs {name}")  # type: ignore[misc]
        before = day.bank.transfers("success")
        other.execute("ROLLBACK")
    day.wait_for_payouts(before + 1)
    web = day.running["web-1"].process.pid
    room = resource.prlimit(web, resource.RLIMIT_FSIZE)
    resource.prlimit(web, resource.RLIMIT_FSIZE, (4096, room[1]))
    refused = _failed_deliveries(day)  # not by its log: that is a file too
    try:
        wait_until(lambda: _failed_deliveries(day) > refused, "an event is answered 503")
    finally:
        resource.prlimit(web, resource.RLIMIT_FSIZE, room)
    day.assert_ends_exact()
