"""The bank of the benchmarks: credits invoices at a steady rate, takes transfers, and reports on each of them.

``python -m tests.benchmarks.bank PORT KEY PUBLIC_KEY_FILE``. ``POST /run`` with a ``Plan`` begins a run, ``GET /run``
says how far it is. It is one process that takes as little of the processor as will do, since it shares two cores with
what it measures. Its books are exact: who was paid, how often, and how much.
"""

import asyncio
import gc
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Protocol, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import msgspec
import uvloop

from tests.benchmarks.events import FEE_CENTAVOS, Events, Order, Transfer

# When the bank reports on a transfer, counted from its answer. The sandbox took 7 seconds; this is quick, so that
# little of "credit to settled" is the bank's own time.
LOGS = (("created", 0.0), ("sending", 0.1), ("success", 0.2))

# How long after the last credit everything may take to be settled, before the rest counts as lost. With faults, a
# transfer may wait for a lease of a minute more than once, and for its replacement.
PATIENCE_SECONDS = 60.0
PATIENCE_WITH_FAULTS_SECONDS = 900.0

TICK_SECONDS = 0.001
REDELIVERY_SECONDS = 1.0  # the bank itself would wait five minutes

# Those of the emulator's pack "hostile" that a web process alone must bear; without a worker no event may be lost for
# good. Of a call: share, status (0: the connection ends without an answer), and whether it was carried out.
CALL_FAULTS = ((0.02, 500, False), (0.02, 503, True), (0.03, 0, True), (0.02, 0, False), (0.03, 429, False))
FORGED_SHARE, DUPLICATE_SHARE, LATE_SHARE, LATE_SECONDS = 0.05, 0.1, 0.1, 10.0
FAILED_SHARE = 0.03  # of first transfers; their replacements succeed


class Plan(msgspec.Struct):
    """What to do: ``rate`` credits a second for so many ``seconds``, to the web process on ``port``.

    A transfer call takes ``call_seconds``; None: it is never answered, and the last answer to a credit ends the run.
    """

    port: int
    rate: float
    seconds: float
    seed: int
    call_seconds: float | None = 0.05
    faults: bool = False


class Times(msgspec.Struct):
    """Milliseconds of half, 95 and 99 of a hundred; and how many a second, from the first to the last."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    a_second: float = 0.0


class Seen(msgspec.Struct):
    """What became of a run. ``answered`` and what follows it is known when it is over, without the first second."""

    is_over: bool
    offered: int
    planned: int
    seconds: float
    statuses: dict[str, int]
    settled_count: int
    recent_p95: float  # of the last answers to credits, in milliseconds
    behind_seconds: float  # of credits offered and not settled (or not answered), when the last was offered
    repeated: int  # transfers with an external_id that the bank had already
    believed: int  # forged events that were answered 200
    answered: Times
    accepted: Times
    settled: Times
    reports_p95: float
    net_centavos: int
    lost: int
    doubled: int
    wrong: int


class Credit:
    """One invoice's credit, and when what happened to it."""

    __slots__ = ("accepted_at", "answered_at", "due_at", "net", "paid", "payments", "settled_at")

    def __init__(self, net: int, due_at: float) -> None:
        self.net = net
        self.due_at = due_at
        self.answered_at = self.accepted_at = self.settled_at = 0.0
        self.payments = self.paid = 0


class Reply(Protocol):
    """Answers a request; with status 0 the connection ends instead."""

    def __call__(self, body: bytes, status: int = 200) -> None: ...


class Bank:
    """The books of one run, and what makes it run."""

    def __init__(self, public_key: str, key: bytes) -> None:
        self._public_key = public_key
        self._key = key
        self._clear(Plan(0, 1.0, 0.0, 0))

    def _clear(self, plan: Plan) -> None:
        self._plan = plan
        self._planned = int(plan.rate * plan.seconds)
        self._random = Random(plan.seed).random
        self._events = Events(self._key, plan.seed)
        self._credits: dict[int, Credit] = {}
        self._transfers: dict[str, Transfer] = {}
        self._by_tag: dict[str, list[Transfer]] = {}
        self._statuses: Counter[int] = Counter()
        self._report_seconds = array("d")
        self._recent = deque[float](maxlen=5_000)
        self._answered = self._settled = self._repeated = self._believed = self._behind = 0
        self._began = self._last_offered = perf_counter()
        self._is_over = False

    # --- credits at the offered rate ---------------------------------------------------------------------------------

    async def run(self, plan: Plan) -> None:
        """Begin to offer credits."""
        self._clear(plan)
        lines = max(16, min(256, int(plan.rate / 4)))
        self._credit_pool, self._report_pool = Pool(plan.port), Pool(plan.port)
        await self._credit_pool.open(lines)
        await self._report_pool.open(lines if plan.call_seconds is not None else 0)
        gc.collect()
        gc.freeze()
        gc.disable()  # there are no cycles, and a pause would be taken for the web process's
        self._began = perf_counter()
        self._offer()

    def _offer(self) -> None:
        now, plan, pool = perf_counter(), self._plan, self._credit_pool
        upto = min(self._planned, int((now - self._began) * plan.rate) + 1)
        for number in range(len(self._credits), upto):
            invoice_id, gross = self._events.new_id(), 1_000 + number % 49_000
            credit = Credit(gross - FEE_CENTAVOS, self._began + number / plan.rate)
            self._credits[invoice_id] = credit
            make = partial(self._events.credited, invoice_id, gross)
            self._deliver(Post(pool, make, partial(self._note_credit, credit)), credit)
        # More than three seconds' worth that found no connection: this rate is not held; more would teach nothing.
        if upto < self._planned and len(pool.waiting) <= 3 * plan.rate:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._offer)
        else:
            self._last_offered = now
            self._behind = upto - self._done
            self._wait()

    @property
    def _done(self) -> int:
        return self._answered if self._plan.call_seconds is None else min(self._settled, self._answered)

    def _wait(self) -> None:
        patience = PATIENCE_WITH_FAULTS_SECONDS if self._plan.faults else PATIENCE_SECONDS
        if self._done == len(self._credits) or perf_counter() - self._last_offered > patience:
            self._credit_pool.close()
            self._report_pool.close()
            self._is_over = True
            gc.enable()
        else:
            asyncio.get_running_loop().call_later(0.05, self._wait)

    def _deliver(self, post: "Post", credit: Credit | None = None) -> None:
        """Post it; on a bad day also forged before, twice more, or late."""
        chance = self._random() if self._plan.faults else 1.0
        if chance < FORGED_SHARE:
            forged = Post(post.pool, lambda: self._events.forged(post.request()), self._note_forged)
            forged.send()
        elif chance < FORGED_SHARE + DUPLICATE_SHARE:
            post.send()
            post.send()
        elif chance < FORGED_SHARE + DUPLICATE_SHARE + LATE_SHARE:
            late = self._random() * LATE_SECONDS
            if credit is not None:
                credit.due_at += late
            asyncio.get_running_loop().call_later(late, post.send)
            return
        post.send()

    def _note_credit(self, credit: Credit, post: "Post", status: int, since: float, now: float) -> None:
        self._statuses[status] += 1
        if status != 200:
            asyncio.get_running_loop().call_later(REDELIVERY_SECONDS, post.send)
        elif not credit.answered_at:
            credit.answered_at = now
            self._recent.append(now - credit.due_at)
            self._answered += 1

    def _note_forged(self, post: "Post", status: int, since: float, now: float) -> None:
        self._believed += status == 200

    # --- transfers ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, url: str, body: bytes, reply: Reply) -> None:
        """Answer one request, after the time that it takes."""
        parts = urlsplit(url)
        path, query = parts.path.strip("/"), parse_qs(parts.query)
        if (method, path) == ("POST", "run"):
            asyncio.get_running_loop().create_task(self.run(_decode_plan(body)))
            reply(b"{}")
        elif path == "run":
            reply(msgspec.json.encode(self._seen()))
        elif path.endswith("public-key"):
            reply(msgspec.json.encode({"publicKeys": [{"content": self._public_key}], "cursor": None}))
        elif (method, path) == ("POST", "v2/transfer"):
            if self._plan.call_seconds is not None:
                asyncio.get_running_loop().call_later(self._plan.call_seconds, self._take_call, body, reply)
        elif path == "v2/transfer":
            found = (each for tag in query["tags"][0].split(",") for each in self._by_tag.get(tag, ()))
            reply(_page(b"transfers", (each.snapshot() for each in dict.fromkeys(found))))
        elif path == "v2/transfer/log" and "transferIds" in query:
            wanted = set(query["transferIds"][0].split(","))
            found = (each for each in self._transfers.values() if each.id in wanted)
            reply(_page(b"logs", (self._events.log(each) for each in found)))
        else:
            reply(_page(path.rpartition("/")[2].encode() + b"s", ()))

    def _take_call(self, body: bytes, reply: Reply) -> None:
        chance = self._random() if self._plan.faults else 1.0
        for share, status, is_done in CALL_FAULTS:
            if chance < share:
                if is_done:
                    self._create(body)
                return reply(b'{"errors": [{"code": "internalServerError", "message": "a fault"}]}', status)
            chance -= share
        reply(self._create(body))

    def _create(self, body: bytes) -> bytes:
        now = perf_counter()
        made = [Transfer(order, self._events.new_id()) for order in _decode_orders(body).transfers]
        for transfer in made:
            credit = self._credits[transfer.invoice_id]
            credit.accepted_at = credit.accepted_at or now
            if transfer.external_id in self._transfers:
                # As observed at the bank: accepted with a new id, and failed later.
                self._repeated += 1
                transfer.failure = "Duplicated transfer"
                continue
            if self._plan.faults and not transfer.is_replacement and self._random() < FAILED_SHARE:
                transfer.failure = "Account is blocked"
            self._transfers[transfer.external_id] = transfer
            for tag in transfer.tags:
                self._by_tag.setdefault(tag, []).append(transfer)
        for log_type, seconds in LOGS:
            asyncio.get_running_loop().call_later(seconds, self._report, made, log_type)
        return b'{"message": "Transfer(s) successfully created", "transfers": [%b]}' % b", ".join(
            transfer.snapshot() for transfer in made
        )

    def _report(self, transfers: list[Transfer], log_type: str) -> None:
        for transfer in transfers:
            transfer.log_type = "failed" if transfer.failure and log_type == "success" else log_type
            credit = self._credits[transfer.invoice_id]
            if transfer.log_type == "success":
                credit.payments += 1
                credit.paid += transfer.amount
            make = partial(self._events.transfer, transfer, transfer.log_type)
            note = partial(self._note_report, credit, transfer.log_type)
            self._deliver(Post(self._report_pool, make, note))

    def _note_report(
        self, credit: Credit, log_type: str, post: "Post", status: int, since: float, now: float
    ) -> None:
        self._report_seconds.append(now - since)
        if status != 200:
            self._statuses[status] += 1
            asyncio.get_running_loop().call_later(REDELIVERY_SECONDS, post.send)
        elif log_type == "success" and not credit.settled_at:
            credit.settled_at = now
            self._settled += 1

    # --- what was seen -----------------------------------------------------------------------------------------------

    def _seen(self) -> Seen:
        credits = list(self._credits.values()) if self._is_over else []
        forwards = self._plan.call_seconds is not None
        return Seen(
            is_over=self._is_over,
            offered=len(self._credits),
            planned=self._planned,
            seconds=self._last_offered - self._began,
            statuses={str(status): count for status, count in self._statuses.items()},
            settled_count=self._settled,
            recent_p95=_percentile(sorted(self._recent), 0.95),
            behind_seconds=self._behind / self._plan.rate,
            repeated=self._repeated,
            believed=self._believed,
            answered=self._times(credits, "answered_at"),
            accepted=self._times(credits, "accepted_at"),
            settled=self._times(credits, "settled_at"),
            reports_p95=_percentile(sorted(self._report_seconds) if self._is_over else (), 0.95),
            net_centavos=sum(credit.net for credit in credits),
            lost=sum(not credit.payments for credit in credits) if forwards else 0,
            doubled=sum(credit.payments > 1 for credit in credits),
            wrong=sum(credit.payments == 1 and credit.paid != credit.net for credit in credits),
        )

    def _times(self, credits: list[Credit], moment: str) -> Times:
        ends = [(credit.due_at, getattr(credit, moment)) for credit in credits if getattr(credit, moment)]
        waits = sorted(end - due for due, end in ends if due - self._began >= 1.0)
        if not waits:
            return Times()
        p50, p95, p99 = (_percentile(waits, share) for share in (0.5, 0.95, 0.99))
        lasted = max(end for _, end in ends) - min(end for _, end in ends)
        return Times(p50, p95, p99, (len(ends) - 1) / max(lasted, 0.001))


def _percentile(in_order: "list[float] | tuple[()]", share: float) -> float:
    return in_order[int(len(in_order) * share)] * 1000 if in_order else 0.0


def _page(name: bytes, items: Iterable[bytes]) -> bytes:
    return b'{"cursor": null, "%b": [%b]}' % (name, b", ".join(items))


class _Orders(msgspec.Struct):
    transfers: list[Order]


_decode_plan = msgspec.json.Decoder(Plan).decode
_decode_orders = msgspec.json.Decoder(_Orders).decode


class Post:
    """Something to be delivered, the same bytes each time; ``note`` hears post, status, sent when, answered when."""

    __slots__ = ("_made", "_make", "note", "pool")

    def __init__(
        self, pool: "Pool", make: Callable[[], bytes], note: "Callable[[Post, int, float, float], None]"
    ) -> None:
        self.pool = pool
        self.note = note
        self._make = make
        self._made = b""

    def request(self) -> bytes:
        """The whole HTTP request."""
        self._made = self._made or self._make()
        return self._made

    def send(self) -> None:
        """Send it now, or when a connection is idle."""
        if self.pool.idle:
            self.pool.idle.popleft().send(self)
        else:
            self.pool.waiting.append(self)


class Pool:
    """Kept connections to one port, used by turns."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: set[_Line] = set()
        self._is_closed = False
        self.idle: deque[_Line] = deque()
        self.waiting: deque[Post] = deque()

    async def open(self, lines: int) -> None:
        """Connect, one after the other, so that each of the web processes accepts its share."""
        for _ in range(lines):
            loop = asyncio.get_running_loop()
            _, line = await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
            self._lines.add(line)
            self.give_back(line)

    def give_back(self, line: "_Line") -> None:
        """It has its answer."""
        if self.waiting:
            line.send(self.waiting.popleft())
        else:
            self.idle.append(line)

    def lose(self, line: "_Line", post: Post | None) -> None:
        """The other side closed it; what it was sending is sent again."""
        self._lines.discard(line)
        if self._is_closed:
            return
        if post is None:
            self.idle.remove(line)
        else:
            self.waiting.appendleft(post)
        asyncio.get_running_loop().create_task(self.open(1))

    def close(self) -> None:
        """Close all of them."""
        self._is_closed = True
        for line in self._lines:
            line.transport.close()


class _Line(asyncio.Protocol):
    """Knows just enough HTTP for answers with a Content-Length."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._post: Post | None = None
        self._since = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lose(self, self._post)

    def send(self, post: Post) -> None:
        self._post = post
        self._since = perf_counter()
        self.transport.write(post.request())

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n")
        head = received[: end + 2].lower()
        at = head.find(b"content-length: ") + 16
        if end < 0 or len(received) < end + 4 + int(head[at : head.find(b"\r\n", at)]):
            return
        post, self._post, self._received = self._post, None, b""
        assert post is not None  # it answers what was sent
        post.note(post, int(head[9:12]), self._since, perf_counter())
        self._pool.give_back(self)


class _Server(asyncio.Protocol):
    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._bank.answer(self._parser.get_method().decode(), self._url.decode(), self._body, self._reply)

    def _reply(self, body: bytes, status: int = 200) -> None:
        if not status:
            return self._transport.close()
        head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


async def _serve(port: int, bank: Bank) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Server(bank), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Bank(Path(sys.argv[3]).read_text(), bytes.fromhex(sys.argv[2]))))
