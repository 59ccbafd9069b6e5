"""The whole day in real processes that are stopped, killed and doubled on the way; it ends exact all the same."""

import signal
from collections.abc import Callable

import pytest

from tests.day import Day
from tests.process import logs
from tests.running import wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

FEE = ("--fee", "37")


def test_a_day_with_both_processes_stopped_in_the_middle_ends_exact(build_day: Callable[..., Day]) -> None:
    """SIGTERM to the web app and the worker mid-window, each ends with 0; started again, nothing is lost or doubled.

    What they logged meanwhile, at the most detailed level, holds nothing secret, and shows each credit from its
    event to the end of its transfer.
    """
    settings = {"LOG_LEVEL": "debug", **logs.SECRETS}
    day = build_day(seed=11, seconds=16.0, switches=FEE, settings=settings)
    day.start()
    day.wait_for_start()
    day.wait_for_batches(3)
    assert day.stop("web-1") == [0]
    # The bank goes on: no one listens for what is credited now.
    before = day.bank.statement()["credited"]["count"]
    wait_until(lambda: day.bank.statement()["credited"]["count"] > before, "a credit is missed")
    assert day.stop("worker-1") == [0]
    assert "Traceback" not in day.said()
    day.start()
    day.assert_ends_exact()
    ours = day.statement()
    assert ours is not None
    assert ours.attention == 0
    assert ours.fee_centavos == 37 * ours.credits > 0
    assert [day.running[name].stop(signal.SIGINT) for name in day.names] == [0, 0]
    log = logs.logs_of(day.runner.folder)
    assert '"level":"debug"' in log
    logs.assert_nothing_secret(log, day.bank.private_key_pem, day.database_file)
    logs.assert_every_credit_can_be_followed(logs.assert_every_line_is_json(log), day.database_file)


@pytest.mark.long
def test_a_day_with_two_web_processes_and_two_workers_ends_exact(build_day: Callable[..., Day]) -> None:
    """Two processes behind one port, and two workers on one window: each slot and each credit once."""
    day = build_day(seed=11, seconds=16.0, workers=2, switches=FEE, settings={"WEB_WORKERS": "2"})
    day.start()
    day.wait_for_batches(3)
    day.kill("worker-1")
    day.assert_ends_exact()
    assert day.said("web").count("web.started") == 2
    assert day.stop("web-1", "worker-2") == [0, 0]
    assert "Traceback" not in day.said()


@pytest.mark.long
def test_a_day_without_a_web_process_ends_exact_once_it_comes(build_day: Callable[..., Day]) -> None:
    """Every event of the day is missed; reconciliation finds all of it, and the web app forwards when it starts."""
    day = build_day(seed=11, seconds=16.0, switches=FEE)
    day.start("worker-1")
    day.wait_for_batches(8)
    wait_until(lambda: (ours := day.statement()) and ours.credits, "reconciliation finds credits")
    assert day.bank.statement()["transfer_count"] == 0
    day.start("web-1")
    day.assert_ends_exact()
    assert day.stop() == [0, 0]
