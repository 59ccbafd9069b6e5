"""What machines see of real processes: several web workers as one, the worker's own page, and how each says goodbye."""

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.process.conftest import Town
from tests.running import free_port, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

TOKEN = "a-token-of-thirty-two-characters"


def metrics(url: str) -> dict[str, float]:
    """Every sample of the page by its name and labels."""
    answer = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return {match[1]: float(match[2]) for match in re.finditer(r"^([^#\s].*) (\S+)$", answer.text, re.M)}


def test_two_web_workers_are_watched_as_one_and_the_worker_by_its_own_page(
    build_town: Callable[..., Town], tmp_path: Path
) -> None:
    """Whichever is asked adds up both, also when one was killed; what is in the books is the same on every page."""
    port = free_port()
    folder = tmp_path / "temporary"
    folder.mkdir()
    town = build_town(OPERATOR_TOKEN=TOKEN, METRICS_PORT=str(port), TMPDIR=str(folder))
    web = town.start_web("--workers", "2")
    # Each request on a connection of its own: the two share the port, and chance decides who answers.
    for _ in range(30):
        assert requests.post(f"{town.url}/webhooks/starkbank", data=b"{}", timeout=20).status_code == 401
    refused = 'repasse_events_total{answer="401"}'
    assert {metrics(town.url)[refused] for _ in range(10)} == {30}
    wait_until(lambda: metrics(town.url)['repasse_processes{kind="web"}'] == 2, "both are alive")
    wait_until(lambda: metrics(town.url)["repasse_bank_keys_missing"] == 0, "both have the bank's key")

    pids = [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", web.said)]
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: web.said.count('"event":"web.started"') == 3, "another takes its place")

    def asked() -> float | None:
        with suppress(requests.ConnectionError):
            return metrics(town.url)[refused]
        return None

    assert {asked() for _ in range(10)} - {None} == {30}

    worker = town.start_worker()
    own = f"http://127.0.0.1:{port}"
    issued = 'repasse_bank_calls_total{call="POST invoice",verdict="accepted"}'
    wait_until(lambda: metrics(own).get(issued, 0) >= 1, "the worker's calls are counted")
    assert metrics(own)["repasse_database_up"] == 1
    assert (
        metrics(own)['repasse_processes{kind="worker"}']
        == metrics(town.url)['repasse_processes{kind="worker"}']
        == 1
    )
    assert requests.get(f"{own}/metrics", timeout=20).status_code == 401
    assert (worker.stop(), web.stop()) == (0, 0)
    assert list(folder.glob("repasse-metrics-*")) == []
    assert "Traceback" not in web.said + worker.said


def test_a_web_process_says_that_it_is_draining_and_serves_meanwhile(build_town: Callable[..., Town]) -> None:
    """A balancer has time to look away; then the process ends cleanly, and its row says so."""
    town = build_town(DRAIN_SECONDS="3")
    web = town.start_web()
    ready = f"{town.url}/health/ready"
    wait_until(lambda: requests.get(ready, timeout=20).status_code == 200, "it is ready")
    web.process.send_signal(signal.SIGTERM)
    wait_until(lambda: requests.get(ready, timeout=20).status_code == 503, "it says so")
    body = requests.get(ready, timeout=20).json()
    assert body["reasons"] == {"draining": "this process is stopping"}
    assert requests.post(f"{town.url}/webhooks/starkbank", data=b"{}", timeout=20).status_code == 401
    assert web.stop() == 0
    assert '"event":"web.draining"' in web.said
    assert '"event":"web.stopped"' in web.said


def test_a_metrics_port_in_use_is_refused_in_one_line(build_town: Callable[..., Town]) -> None:
    """Before anything is begun."""
    town = build_town(OPERATOR_TOKEN=TOKEN)
    town.start_web()
    town.environment["METRICS_PORT"] = str(town.port)
    ended = town.runner.run("-m", "worker", environment=town.environment)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"repasse: METRICS_PORT: cannot listen on 127.0.0.1:{town.port}")
    assert len(ended.stderr.splitlines()) == 1
