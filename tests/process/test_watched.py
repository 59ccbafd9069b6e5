"""What machines see of real processes: several web workers as one, the worker's own page, and how each ends."""

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.day import Day
from tests.running import free_port, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

TOKEN = "a-token-of-thirty-two-characters"


def metrics(url: str) -> dict[str, float]:
    """Every sample of the page by its name and labels."""
    answer = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return {match[1]: float(match[2]) for match in re.finditer(r"^([^#\s].*) (\S+)$", answer.text, re.M)}


def test_two_web_workers_are_watched_as_one_and_the_worker_by_its_own_page(
    build_day: Callable[..., Day], tmp_path: Path
) -> None:
    """Each page adds up both, also when one was killed; what is in the database is the same on every page."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    day = build_day(settings={"OPERATOR_TOKEN": TOKEN, "WEB_WORKERS": "2", "TMPDIR": str(folder)})
    day.start("web-1")
    day.wait_for_start("web-1")
    web, url = day.running["web-1"], day.url()
    # Each request on a connection of its own: the two share the port, and chance decides which one answers.
    for _ in range(30):
        assert requests.post(f"{url}/webhooks/starkbank", data=b"{}", timeout=20).status_code == 401
    refused = 'repasse_events_total{answer="401"}'
    assert {metrics(url)[refused] for _ in range(10)} == {30}
    wait_until(lambda: metrics(url)['repasse_processes{kind="web"}'] == 2, "both are alive")
    wait_until(lambda: metrics(url)["repasse_bank_keys_missing"] == 0, "both have the bank's key")

    pids = [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", web.said)]
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: web.said.count('"event":"web.started"') == 3, "another takes its place")

    def answered() -> float | None:
        with suppress(requests.ConnectionError):
            return metrics(url)[refused]
        return None

    assert {answered() for _ in range(10)} - {None} == {30}

    port = free_port()
    day.environment("worker-1")["METRICS_PORT"] = str(port)
    day.start("worker-1")
    day.wait_for_start("worker-1")
    own = f"http://127.0.0.1:{port}"
    issued = 'repasse_bank_calls_total{call="POST invoice",verdict="accepted"}'
    wait_until(lambda: metrics(own).get(issued, 0) >= 1, "the worker's calls are counted")
    assert metrics(own)["repasse_database_up"] == 1
    workers = 'repasse_processes{kind="worker"}'
    assert metrics(own)[workers] == metrics(url)[workers] == 1
    assert requests.get(f"{own}/metrics", timeout=20).status_code == 401
    assert day.stop("worker-1", "web-1") == [0, 0]
    assert list(folder.glob("repasse-metrics-*")) == []
    assert "Traceback" not in day.said()


def test_a_web_process_says_that_it_is_draining_and_serves_meanwhile(build_day: Callable[..., Day]) -> None:
    """A balancer has time to look away; then the process ends cleanly."""
    day = build_day(workers=0, settings={"DRAIN_SECONDS": "3"})
    day.start()
    day.wait_for_start()
    ready = f"{day.url()}/health/ready"
    wait_until(lambda: requests.get(ready, timeout=20).status_code == 200, "it is ready")
    day.running["web-1"].process.send_signal(signal.SIGTERM)
    wait_until(lambda: requests.get(ready, timeout=20).status_code == 503, "it says so")
    assert requests.get(ready, timeout=20).json()["reasons"] == {"draining": "this process is stopping"}
    assert requests.post(f"{day.url()}/webhooks/starkbank", data=b"{}", timeout=20).status_code == 401
    assert day.stop() == [0]
    assert '"event":"web.draining"' in day.said()
    assert '"event":"web.stopped"' in day.said()
