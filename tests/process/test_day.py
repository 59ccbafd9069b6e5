"""The whole day in real processes that are stopped, killed and doubled on the way; it ends exact all the same."""

import signal
from collections.abc import Callable

import pytest
import requests

from tests.process import logs
from tests.process.conftest import Town, assert_day_is_exact
from tests.running import wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]


def test_a_day_with_both_processes_stopped_in_the_middle_ends_exact(build_town: Callable[..., Town]) -> None:
    """SIGTERM to the web app and the worker mid-window, each ends with 0; started again, nothing is lost or doubled.

    What they wrote meanwhile, at the most talkative level, holds nothing secret, and tells of each credit from its
    event to the end of its transfer.
    """
    town = build_town(LOG_LEVEL="debug", **logs.SECRETS)
    web = town.start_web()
    town.register()
    worker = town.start_worker()
    town.wait_for_slots(3)
    assert web.stop() == 0
    # The bank goes on: what is credited now finds nobody at the door.
    before = town.bank.statement()["credited"]["count"]
    wait_until(lambda: town.bank.statement()["credited"]["count"] > before, "a credit is missed")
    assert worker.stop() == 0
    assert "Traceback" not in web.said + worker.said
    web = town.start_web()
    worker = town.start_worker()
    ours, theirs = town.finish()
    assert_day_is_exact(ours, theirs)
    assert worker.stop(signal.SIGINT) == 0
    assert web.stop(signal.SIGINT) == 0
    books = town.runner.folder / "repasse.db"
    log = logs.logs_of(town.runner.folder)
    assert '"level":"debug"' in log
    logs.assert_nothing_secret(log, town.bank.private_key_pem, books)
    logs.assert_every_credit_can_be_followed(logs.assert_every_line_is_json(log), books)


def test_a_day_with_two_web_processes_and_two_workers_ends_exact(build_town: Callable[..., Town]) -> None:
    """One port, two processes behind it, and two workers on the same window: each slot and each credit once."""
    town = build_town()
    web = town.start_web("--workers", "2")
    town.register()
    first, second = town.start_worker(), town.start_worker()
    town.wait_for_slots(3)
    first.kill()
    ours, theirs = town.finish()
    assert_day_is_exact(ours, theirs)
    assert web.said.count("web.started") == 2
    assert web.stop() == 0
    assert second.stop() == 0
    assert "Traceback" not in web.said + second.said


def test_a_day_without_a_web_process_ends_exact_once_it_comes(build_town: Callable[..., Town]) -> None:
    """Every event of the day is missed; reconciliation finds all of it, and the web app forwards when it starts."""
    town = build_town()
    town.register()
    worker = town.start_worker()
    town.wait_for_slots(8)
    wait_until(lambda: town.books().credits > 0, "reconciliation finds credits")
    assert town.books().transfers["settled"] == 0
    web = town.start_web()
    ours, theirs = town.finish()
    assert_day_is_exact(ours, theirs)
    assert (worker.stop(), web.stop()) == (0, 0)


def test_the_worker_ends_cleanly_at_the_very_moment_it_says_that_it_has_started(
    build_town: Callable[..., Town],
) -> None:
    """A signal is never lost, and the call that is under way is finished and recorded first."""
    town = build_town()
    for _ in range(2):
        worker = town.start_worker()
        assert worker.stop() == 0
        assert "Traceback" not in worker.said
    assert town.books().invoices == town.bank.statement()["invoice_count"]


def test_an_invoice_call_under_way_is_recorded_before_the_worker_ends(
    build_town: Callable[..., Town],
) -> None:
    """The bank takes its time with the first batch; SIGTERM waits for the answer's end."""
    town = build_town()
    town.bank.fault("hang", "POST invoice", times=1, seconds=1)
    worker = town.start_worker()
    wait_until(lambda: town.bank.requests("POST", "invoice"), "the batch is being created")
    assert worker.stop() == 0
    assert '"event":"batch.outcome_unclear"' in worker.said
    assert '"event":"worker.stopped"' in worker.said


def test_the_web_process_answers_what_it_took_in_before_it_ends(build_town: Callable[..., Town]) -> None:
    """SIGTERM under a request: no connection is cut, and the process ends with 0."""
    town = build_town(OPERATOR_TOKEN="a-token-of-thirty-two-characters")
    web = town.start_web()
    assert requests.get(f"{town.url}/health/live", timeout=20).status_code == 200
    wait_until(lambda: requests.get(f"{town.url}/health/ready", timeout=20).status_code == 200, "it is ready")
    assert requests.post(f"{town.url}/webhooks/starkbank", data=b"{}", timeout=20).status_code == 401
    assert requests.get(f"{town.url}/metrics", timeout=20).status_code == 401
    huge = requests.post(
        f"{town.url}/webhooks/starkbank", data=(b"x" * 65_536 for _ in range(17)), timeout=20
    )
    assert huge.status_code == 413
    assert web.stop() == 0
    assert '"event":"web.stopped"' in web.said
