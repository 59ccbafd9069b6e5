"""What other programs do to a web process's connections and processes: old proxies, odd clients, and kills."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from tests.day import Day
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import Runner, Running, free_port, plain_environment, wait_until
from webhooks import connections

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

TOKEN = "a-token-of-thirty-two-characters"
PATH = "/webhooks/starkbank"


class Web:
    """A web process with its own database, whose bank is in this process."""

    def __init__(self, folder: Path, bank: EmulatedBank, **settings: str) -> None:
        self.runner = Runner(folder)
        self.bank = bank
        self.database_file = folder / "data" / "repasse.db"
        self.port = free_port()
        self.environment = plain_environment(
            **{
                **bank.environment,
                "DATABASE_URL": f"sqlite:///{self.database_file}",
                "OPERATOR_TOKEN": TOKEN,
                "PORT": str(self.port),
                **settings,
            }
        )
        self.running = self.start()

    def start(self) -> Running:
        """Start it, and wait until it is ready."""
        self.running = self.runner.start("-m", "webhooks", environment=self.environment)
        self.wait_until_ready()
        return self.running

    def wait_until_ready(self) -> None:
        """Wait until an event would be taken."""
        wait_until(lambda: self.status_of("/health/ready") == 200, "it is ready")

    def status_of(self, path: str) -> int | None:
        """The status of a page; None when no one answers."""
        with suppress(requests.RequestException):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            return requests.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=5).status_code
        return None

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def an_event(self, number: int) -> tuple[bytes, bytes]:
        """A body that the bank signed, and its signature."""
        body = invoice_event(f"5{number:015}")
        return body, self.bank.sign(body).encode()

    def children(self) -> list[int]:
        """Its processes that serve, when it has several."""
        found = re.findall(r"Started server process \[(\d+)\]", self.running.said)
        return [int(pid) for pid in found if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def start_web(tmp_path: Path, emulator: EmulatedBank) -> Iterator[Callable[..., Web]]:
    """Start a web process; keyword arguments are settings."""
    with ExitStack() as stack:

        def start(**settings: str) -> Web:
            web = Web(tmp_path, emulator, **settings)
            stack.callback(web.runner.kill_all)
            return web

        yield start


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """The status of the next answer, and what it says."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65_536)
        assert piece, f"closed after {text!r}"
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    if b" 100 Continue" in head and not body:
        return answer_of(connection)
    length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split()[1]), json.loads(body)


# What stands between the request line and the body; @ is the signature.
HEADS = {
    "as the bank sends it": b"Digital-Signature: @\r\n",
    "h2c, as curl --http2 and the JDK ask for it": (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        b"Digital-Signature: @\r\n"
    ),
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nDigital-Signature: @\r\n",
    "a blank after the signature": b"Digital-Signature: @ \r\n",
    "a tab after the signature": b"Digital-Signature: @\t\r\n",
    "blanks on both sides": b"Digital-Signature: \t @ \t \r\n",
    "no blank": b"Digital-Signature:@\r\n",
    "another case": b"DIGITAL-SIGNATURE: @\r\n",
    "asks before it sends": b"Expect: 100-continue \r\nDigital-Signature: @\r\n",
}


def test_every_rightly_signed_request_is_stored_and_answered(start_web: Callable[..., Web]) -> None:
    """Whatever else it asks for; also when its sender closes its half, and on a connection that was long idle."""
    web = start_web()
    with closing(web.connect()) as idle:
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(idle)[0] == 200
        idle_since = time.monotonic()
        for number, (name, head) in enumerate(HEADS.items()):
            for half_closes in (False, True):
                body, signature = web.an_event(2 * number + half_closes)
                with closing(web.connect()) as connection:
                    lines = head.replace(b"@", signature) + b"Content-Length: %d \r\nHost: x\r\n\r\n" % len(
                        body
                    )
                    connection.sendall(f"POST {PATH} HTTP/1.1\r\n".encode() + lines + body)
                    if half_closes:
                        connection.shutdown(socket.SHUT_WR)
                    status, said = answer_of(connection)
                    assert (status, said.get("outcome")) == (200, "credit"), (name, said)
                    if half_closes:
                        assert connection.recv(1) == b"", "nothing follows, and it is closed"
        # uvicorn's own 5 s would close it, and a proxy would send an event into it.
        closed, _, _ = select.select([idle], [], [], max(0.0, 6 - (time.monotonic() - idle_since)))
        assert not closed
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(idle)[0] == 200
    with closing(web.connect()) as gone:
        gone.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        gone.shutdown(socket.SHUT_WR)
        assert gone.recv(1) == b"", "no answer is owed to half a request"
    assert web.running.stop() == 0
    assert "Traceback" not in web.running.said


def test_deliveries_that_never_end_leave_room_for_others(start_web: Callable[..., Web]) -> None:
    """At a low limit on open files: health is answered, and more such deliveries get 503."""
    web = start_web()
    assert web.running.stop() == 0
    command = 'ulimit -S -n 60; ulimit -H -n 100; exec "$0" -m webhooks'
    with (web.runner.folder / "low.log").open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command, sys.executable],
            env=web.environment,
            cwd=web.runner.folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    web.running = Running(process, web.runner.folder / "low.log")
    try:
        web.wait_until_ready()
        with ExitStack() as stack:
            held = []
            for _ in range(60):
                connection = stack.enter_context(closing(web.connect()))
                connection.sendall(
                    f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode()
                )
                held.append(connection)
            at_most = 100 // 4  # a quarter of what it may have open
            wait_until(
                lambda: len(select.select(held, [], [], 0)[0]) >= 60 - at_most, "the others are refused"
            )
            refused = select.select(held, [], [], 0)[0]
            assert len(refused) == 60 - at_most
            assert web.running.said.count("event.too_many_bodies") == 1
            assert answer_of(refused[0])[0] == 503
            assert {web.status_of("/health/live") for _ in range(5)} == {200}
            assert web.status_of("/health/ready") == 200
        body, signature = web.an_event(1)
        taken = requests.post(
            f"http://127.0.0.1:{web.port}{PATH}",
            data=body,
            headers={"Digital-Signature": signature},
            timeout=20,
        )
        assert taken.json()["outcome"] == "credit"
        assert web.running.stop() == 0
    finally:
        web.running.kill()


def test_a_connection_without_a_whole_head_is_closed() -> None:
    """One that sends nothing, one that drips, and one that drips after a first request; one that is idle stays."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    config = uvicorn.Config(app, http=connections.Connection, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEAD_SECONDS", 0.5)
        thread = threading.Thread(target=lambda: server.run([listener]))
        thread.start()
        whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        with ExitStack() as stack:
            silent, dripping, second, idle = (
                stack.enter_context(closing(socket.create_connection(listener.getsockname(), timeout=20)))
                for _ in range(4)
            )
            dripping.sendall(whole[:9])
            for each in (second, idle):
                each.sendall(whole)
                assert answer_of(each)[0] == 200
            second.sendall(whole[:9])
            for each in (silent, dripping, second):
                assert each.recv(1) == b""
            idle.sendall(whole)
            assert answer_of(idle)[0] == 200
        server.should_exit = True
        thread.join(20)


def test_processes_without_their_supervisor_end_and_free_the_port(start_web: Callable[..., Web]) -> None:
    """It was killed without warning; the next start finds the port free, and what the old one left is no hindrance."""
    web = start_web(WEB_WORKERS="2")
    wait_until(lambda: web.running.said.count('"event":"web.started"') == 2, "both serve")
    web.running.kill()
    wait_until(lambda: not web.children(), "they have ended")
    assert [folder.name for folder in web.database_file.parent.glob("metrics-*")] == [f"metrics-{web.port}"]
    web.start()
    assert web.running.stop() == 0
    assert list(web.database_file.parent.glob("metrics-*")) == []


def test_a_supervisor_whose_process_cannot_start_ends_with_a_status(start_web: Callable[..., Web]) -> None:
    """A service manager acts upon that; living on, it would only seem to serve."""
    web = start_web(WEB_WORKERS="2")
    wait_until(lambda: web.running.said.count('"event":"web.started"') == 2, "both serve")
    for suffix in ("", "-wal", "-shm"):
        web.database_file.with_name(f"repasse.db{suffix}").unlink(missing_ok=True)
    web.database_file.write_text("no database " * 1000)
    os.kill(web.children()[0], signal.SIGKILL)
    assert web.running.process.wait(60) == 2
    assert "repasse: " in web.running.said
    assert not web.children()


def test_a_successor_serves_when_the_folder_of_the_metrics_was_cleaned_away(
    build_day: Callable[..., Day], postgresql_url: str, tmp_path: Path
) -> None:
    """On PostgreSQL it is in the temporary folder, for want of a better one; the counts begin there again."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    settings = {"OPERATOR_TOKEN": TOKEN, "WEB_WORKERS": "2", "TMPDIR": str(temporary)}
    day = build_day(workers=0, database_url=postgresql_url, settings=settings)
    day.start()
    day.wait_for_start()
    web = day.running["web-1"]
    wait_until(lambda: web.said.count('"event":"web.started"') == 2, "both serve")
    [folder] = temporary.glob("repasse-metrics-*")
    shutil.rmtree(folder)
    for pid in re.findall(r"Started server process \[(\d+)\]", web.said):
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: web.said.count('"event":"web.started"') == 4, "two others take their place")
    day.wait_for_start()
    page = requests.get(f"{day.url()}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
    assert page.status_code == 200
    assert day.stop() == [0]
    assert list(temporary.glob("repasse-metrics-*")) == []
