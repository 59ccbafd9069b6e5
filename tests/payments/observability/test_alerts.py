"""The notification hook against a real receiver that fails, hangs, refuses and then takes it."""

import json
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from payments.ledger.attention import AttentionKind, raise_attention
from payments.observability.alerts import HttpHook, Notifier, Undelivered, sign
from payments.observability.logging import configure_logging
from payments.storage.database import Database, open_database
from tests.conftest import NOW
from tests.running import free_port

ROOT = Path(__file__).parents[3]
SECRET = "a-secret-that-both-sides-know"
PATH = "/services/T0/B0/path-that-is-a-secret"


@dataclass
class Post:
    """One request that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """Answers as told, one after the other, then 200: a status, "hang", "cut" (no answer) or "drip"."""

    answers: list[int | str] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web server of somebody else's, on a real socket."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = told.answers.pop(0) if told.answers else 200
            told.posts.append(Post(self.path, dict(self.headers), body))
            if answer == "hang":
                told.go_on.wait(20)
            elif answer == "drip":
                self._drip()
            elif isinstance(answer, int):
                self.send_response(answer)
                self.send_header("Location", f"{told.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            self.close_connection = True

        do_GET = do_POST

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(100):
                if told.go_on.wait(0.05):
                    break
                self.wfile.write(b"x-slow: 1\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    told.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """The time of the books."""
    return Clock()


@pytest.fixture
def notifier(database: Database, receiver: Receiver, clock: Clock) -> Iterator[Notifier]:
    """Posts to the receiver, with little patience."""
    hook = HttpHook(receiver.url + PATH, seconds=0.5)
    yield Notifier(database, hook, SECRET, "sandbox", clock)
    hook.close()


def raised(database: Database, *subjects: str, detail: str = "the bank says no") -> None:
    """Raise a matter for each subject."""
    with database.transaction() as connection:
        for subject in subjects:
            raise_attention(connection, AttentionKind.TRANSFER_DEAD, subject, detail, NOW)


def test_a_matter_is_posted_once_whole_and_signed(
    notifier: Notifier, database: Database, receiver: Receiver
) -> None:
    """The receiver can tell that it is ours, that it is fresh, and what to do."""
    raised(database, "credit-7")
    assert notifier.tell_all() == 1
    assert notifier.tell_all() == 0
    [post] = receiver.posts
    assert post.path == PATH
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Idempotency-Key"] == post.message["id"] == "attention-1-20260302T150000"
    assert post.message == {
        "id": "attention-1-20260302T150000",
        "type": "attention.raised",
        "text": "repasse (sandbox): transfer_dead credit-7: the bank says no",
        "origin": "sandbox",
        "attention": {
            "id": 1,
            "kind": "transfer_dead",
            "subject": "credit-7",
            "detail": "the bank says no",
            "raised_at": "2026-03-02T15:00:00+00:00",
        },
        "runbook": "docs/runbook.md#transfer_dead",
        "attempt": 1,
    }
    assert is_ours(post.body, post.headers["Repasse-Signature"], SECRET, int(NOW.timestamp()))
    assert not is_ours(post.body + b" ", post.headers["Repasse-Signature"], SECRET, int(NOW.timestamp()))
    assert not is_ours(post.body, post.headers["Repasse-Signature"], SECRET + "x", int(NOW.timestamp()))
    assert not is_ours(post.body, post.headers["Repasse-Signature"], SECRET, int(NOW.timestamp()) + 301)


def is_ours(body: bytes, header: str, secret: str, now: int) -> bool:
    """What the page of documentation tells receivers to do, run as it stands there."""
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "def is_ours" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    names["time"] = SimpleNamespace(time=lambda: now)
    return bool(names["is_ours"](body, header, secret))


def test_what_is_not_taken_is_tried_again_with_growing_waits_until_it_is(
    notifier: Notifier, database: Database, receiver: Receiver, clock: Clock
) -> None:
    """A fault of any kind: no answer, none in time, an endless one, an error, a redirect, a refusal."""
    receiver.answers = ["cut", "hang", "drip", 500, 302, 404]
    raised(database, "credit-7")
    with structlog.testing.capture_logs() as said:
        for wait in (5, 10, 20, 40, 80, 160):
            assert notifier.tell_all() == 0
            clock.pass_time(wait - 0.1)
            posts = len(receiver.posts)
            assert notifier.tell_all() == 0, "too early"
            assert len(receiver.posts) == posts
            clock.pass_time(0.1)
        assert notifier.tell_all() == 1
    assert {post.path for post in receiver.posts} == {PATH}, "no redirect is followed"
    assert len({post.message["id"] for post in receiver.posts}) == 1
    assert [post.message["attempt"] for post in receiver.posts] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["event"] for line in said] == ["notification.undelivered"] * 6 + ["notification.delivered"]
    reasons = [line["reason"].removeprefix(f"{receiver.url} ") for line in said[:6]]
    assert [reason.partition(" (")[0] for reason in reasons] == [
        *["did not answer"] * 3,
        "answered 500",
        "answered 302",
        "answered 404",
    ]
    assert "path-that-is-a-secret" not in str(said)


def test_a_receiver_that_is_down_is_tried_again(database: Database, clock: Clock) -> None:
    """Nobody listens on that port; neither the user nor the password of the URL is told."""
    hook = HttpHook(f"http://operator:hunter2@127.0.0.1:{free_port()}{PATH}", seconds=0.5)
    raised(database, "credit-7")
    with structlog.testing.capture_logs() as said:
        assert Notifier(database, hook, SECRET, "sandbox", clock).tell_all() == 0
    hook.close()
    assert said[0]["again_in_seconds"] == 5
    assert not any(secret in str(said) for secret in ("hunter2", "operator", "path-that-is-a-secret", SECRET))


def test_a_user_and_password_in_the_url_are_sent_as_http_basic(receiver: Receiver) -> None:
    """And not as a part of the address."""
    hook = HttpHook(receiver.url.replace("://", "://ana:s%40lt@") + "/hook?team=1", seconds=5)
    hook.post(b"{}", {})
    hook.close()
    [post] = receiver.posts
    assert (post.path, post.headers["Authorization"]) == ("/hook?team=1", "Basic YW5hOnNAbHQ=")
    assert "ana" not in post.headers["Host"]


def test_one_matter_that_is_not_taken_does_not_hold_up_the_others(
    notifier: Notifier, database: Database, receiver: Receiver, clock: Clock
) -> None:
    """It waits for its time, and they are told at the next look."""
    receiver.answers = [400]
    raised(database, "credit-1", "credit-2", "credit-3")
    assert notifier.tell_all() == 0
    assert notifier.tell_all() == 2
    clock.pass_time(5)
    assert notifier.tell_all() == 1
    assert [post.message["attention"]["subject"][-1] for post in receiver.posts] == ["1", "2", "3", "1"]


def test_tax_ids_in_what_the_bank_said_are_masked(
    notifier: Notifier, database: Database, receiver: Receiver
) -> None:
    """The message leaves the house."""
    raised(database, "credit-7", detail="the payer 012.345.678-90 is unknown")
    notifier.tell_all()
    assert receiver.posts[0].message["attention"]["detail"] == "the payer ***.345.678-** is unknown"
    assert b"012.345" not in receiver.posts[0].body


def test_several_processes_post_each_matter_once(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    """They look at the same moment; the claims decide."""
    raised(database, *(f"credit-{number}" for number in range(20)))

    def work() -> None:
        own, hook = (
            open_database(database.url.render_as_string(hide_password=False)),
            HttpHook(receiver.url + PATH),
        )
        Notifier(own, hook, SECRET, "sandbox", clock).tell_all()
        hook.close()
        own.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(post.message["attention"]["id"] for post in receiver.posts) == list(range(1, 21))


class DiesAfterPosting:
    """A hook whose process is killed between the post and the record."""

    def __init__(self, hook: HttpHook) -> None:
        self._hook = hook

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        """Post, and die."""
        self._hook.post(body, headers)
        raise KeyboardInterrupt


def test_a_process_that_dies_between_post_and_record_makes_another_post_it_again(
    notifier: Notifier, database: Database, receiver: Receiver, clock: Clock
) -> None:
    """At least once: after the lease, under the same id, by which the receiver knows it."""
    raised(database, "credit-7")
    assert isinstance(notifier.hook, HttpHook)
    dying = Notifier(database, DiesAfterPosting(notifier.hook), SECRET, "sandbox", clock)
    with pytest.raises(KeyboardInterrupt):
        dying.tell_all()
    assert notifier.tell_all() == 0, "its lease is not over"
    clock.pass_time(30)
    assert notifier.tell_all() == 1
    first, second = receiver.posts
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_no_log_line_has_the_urls_path_even_when_debugging(
    notifier: Notifier, database: Database, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most receivers whoever knows the path may post; urllib3 would write it at the level debug."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("debug", "json", "web")
    receiver.answers = [200, 500]
    raised(database, "credit-1", "credit-2")
    try:
        assert notifier.tell_all() == 1
        logging.getLogger("anybody").debug("debugging")
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in ("apscheduler", "uvicorn.access", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    out = capsys.readouterr().out
    assert "debugging" in out
    assert "path-that-is-a-secret" not in out


@pytest.mark.parametrize("url", ["https://127.0.0.1:{port}/hook", "http://name.invalid:{port}/hook"])
def test_an_address_that_leads_nowhere_is_undelivered(receiver: Receiver, url: str) -> None:
    """No TLS on the other side, or no such name: a reason, and no error of ours."""
    hook = HttpHook(url.format(port=receiver.url.rpartition(":")[2]), seconds=2)
    with pytest.raises(Undelivered, match="did not answer"):
        hook.post(b"{}", {})
    hook.close()


def test_the_signature_is_the_one_that_the_page_promises() -> None:
    """A known value: whoever changes it breaks every receiver."""
    digest = "1a70594b54c80875c847178dd9a9a0648bac6acb1629c8065cec0a019794e67f"
    assert sign(b'{"id":"attention-1"}', 1_700_000_000, "0123456789abcdef") == f"t=1700000000,v1={digest}"
