"""Lists, search, overview and stories: what they say, and that they cost the same with a hundred thousand credits."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments.storage.prepared import _Plan
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, update

from payments.invoice import Payer
from payments.ledger import batches, transfers
from payments.ledger.attention import AttentionKind
from payments.operator import lists, overview, search
from payments.operator import timeline as stories
from payments.operator.actions import Operator, pause, resolve_attention, retry_transfer
from payments.operator.lists import (
    list_acts,
    list_attentions,
    list_batches,
    list_credits,
    list_events,
    list_transfers,
)
from payments.operator.period import read_period
from payments.operator.processes import Process, record_alive
from payments.storage.database import Database, open_database
from payments.storage.schema import actions, planned_invoices
from payments.transfer import TransferState
from tests.payments.builders import INVOICE, NOW, an_invoice_log, at_bank
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")

# How many credits the big books hold, and what a page, a search or a story may take there. It takes 1 to
# 3 ms; the processor's time and the best of a few runs is what counts, because tests share their machine.
MANY = 100_000
QUICK_SECONDS = 0.010


# --- what they say ---


def test_a_story_tells_everything_in_the_order_in_which_it_happened(books: Books) -> None:
    """From the event to the settlement, with what the bank said, what was a matter, and what a person did."""
    books.credit()
    claim = books.claim()
    books.pass_time(1)
    books.refuse(claim)
    books.pass_time(60)
    retry_transfer(books.database, claim.external_id, ANA, books.policy, books.now)
    books.pass_time(1)
    again = books.look_up(books.claim()).to_send
    assert again is not None
    books.pass_time(1)
    books.accept(again, at_bank("A"))
    books.pass_time(1)
    books.news(at_bank("A", "success"))

    story = stories.read_credit(books.database, INVOICE)
    assert story is not None
    told = [(entry.kind, entry.title) for entry in story.entries]
    assert told == [
        ("event", "Event invoice credited came by a webhook: credit"),
        ("credit", "R$ 487,12 credited, fee R$ 0,50, net R$ 486,62: to be forwarded"),
        ("transfer", "Transfer of R$ 486,62 put in line"),
        ("attempt", "Attempt 1 begins"),
        ("attempt", "Dead: only a person may move it"),
        ("attention", "For a person: transfer dead"),
        ("act", "ana: retry; it was dead, and is pending; the bank is asked before anything is sent"),
        ("attention", "Closed: transfer dead"),
        ("attempt", "Attempt 3 begins"),
        ("attempt", "The bank accepted it"),
        ("event", "Event transfer success came by a webhook: transfer news"),
        ("attempt", "Settled: the bank reports success"),
        ("sighting", "The bank shows a transfer of R$ 486,62: success"),
    ]
    assert [entry.at for entry in story.entries] == sorted(entry.at for entry in story.entries)
    assert story.credit.transfer_state == "settled"
    assert story.owed_centavos == 48_662
    assert [line.state for line in story.transfers] == ["settled"]
    assert [act.reason for act in story.acts] == [ANA.reason]
    assert [event.line.outcome for event in story.events] == ["credit", "transfer_news"]
    assert story.entries[4].detail == "invalidAccount: no such account"


def test_a_story_tells_of_reversals_and_reissues(books: Books) -> None:
    """Each generation, and what was taken back."""
    books.credit()
    books.send()
    books.lose("A", "no funds")
    books.reverse(20_000)
    story = stories.read_credit(books.database, INVOICE)
    assert story is not None
    titles = [entry.title for entry in story.entries]
    assert "Reissue 1 of R$ 199,50 put in line" in titles
    assert "The bank reversed the credit: R$ 200,00 remain of it" in titles
    assert "It failed at the bank" in titles
    assert story.owed_centavos == 19_950
    assert story.credit.external_id == f"credit-{INVOICE}-r2"


def test_no_story_shows_a_whole_tax_id(books: Books) -> None:
    """Neither in the bytes of an event, nor in the bank's words, nor of a payer; the bytes' hash is the true one."""
    books.credit()
    claim = books.claim()
    transfers.refuse(
        books.database, claim, "invalidTaxId: 529.982.247-25 is unknown", books.policy, books.now
    )
    batches.plan_batch(
        books.database, "b", None, [(Payer("Ana", "529.982.247-25"), 100)], NOW, late=False, now=NOW
    )
    story = stories.read_credit(books.database, INVOICE)
    assert story is not None
    body = story.events[0].body
    assert body is not None
    assert json.loads(body)["event"]["log"]["invoice"]["taxId"] == "***.982.247-**"
    batch = stories.read_batch(books.database, 1)
    assert batch is not None
    assert batch.invoices[0].payer_tax_id == "***.982.247-**"
    for said in (
        story,
        batch,
        list_transfers(books.database, None, None),
        list_attentions(books.database, True, None),
    ):
        assert "529.982.247-25" not in repr(said)
        assert "982.247" in repr(said)
    with books.database.reading() as connection:
        true = connection.exec_driver_sql("SELECT body FROM inbox_events").scalar_one()
    assert story.events[0].sha256 == sha256(true).hexdigest()


def test_what_does_not_exist_has_no_story(database: Database) -> None:
    """None, whatever was asked for."""
    assert stories.read_credit(database, "nobody") is None
    assert stories.read_credit(database, "\udc80\x00") is None
    assert stories.read_event(database, "\udc80\x00") is None
    assert list_events(database, "\udc80\x00", None).items == []
    assert list_credits(database, None, amount_centavos=2**70).items == []
    assert stories.read_event(database, "nothing") is None
    assert stories.read_batch(database, 1) is None
    assert stories.read_batch(database, -(2**70)) is None
    assert search.search(database, "nothing") == []


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (INVOICE, ["credit", "event"]),
        (f"credited-{INVOICE}", ["credit"]),
        (f"invoice-log-credited-{INVOICE}", ["credit"]),
        (f"  credit-{INVOICE} ", ["transfer"]),
        (f"credit-{INVOICE}-r2", ["transfer"]),
        ("A", ["transfer", "event"]),
        (f"event-of-credited-{INVOICE}", ["event"]),
        ("repasse-x-slot-1", ["batch"]),
        ("repasse-x-slot-1-01", ["batch"]),
        ("5'; DROP TABLE credits; --", []),
        ("x" * 5000, []),
        ("\udc80\x00", []),
        ("", []),
    ],
)
def test_search_finds_whatever_an_id_names(books: Books, wanted: str, kinds: list[str]) -> None:
    """Exactly that id, whoever it comes from."""
    books.credit()
    books.send()
    books.lose("A", "no funds")
    batches.plan_batch(
        books.database,
        "repasse-x-slot-1",
        0,
        [(Payer("Ana", "529.982.247-25"), 100)],
        NOW,
        late=False,
        now=NOW,
    )
    found = search.search(books.database, wanted)
    assert sorted({hit.kind for hit in found}) == sorted(set(kinds))


def test_a_hit_leads_to_its_page(books: Books) -> None:
    """A transfer's is the story of its credit, found by the bank's id too."""
    books.credit()
    books.send()
    [hit] = [hit for hit in search.search(books.database, "A") if hit.kind == "transfer"][:1]
    assert hit.id == INVOICE
    assert hit.title == f"credit-{INVOICE}, R$ 486,62, sent"
    assert stories.read_credit(books.database, hit.id) is not None


def test_the_transfer_that_stands_for_a_credit_is_the_live_one(books: Books) -> None:
    """Not a later reissue that was stopped because an earlier one succeeded after all."""
    books.credit()
    books.send()
    books.lose()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled", "stopped"]
    [line] = list_credits(books.database, None).items
    assert (line.transfer_state, line.external_id) == ("settled", f"credit-{INVOICE}")


@pytest.mark.parametrize("changes", [{"log_id": "another"}, {"amount": 48_713}])
def test_the_matter_of_a_second_credit_knows_its_invoice(books: Books, changes: dict[str, Any]) -> None:
    """Whether the second log is another one or the first with other content."""
    books.credit(log_id="first")
    books.tell(an_invoice_log(**({"log_id": "first"} | changes)), event_id="second")
    [line] = list_attentions(books.database, open_only=True, after=None).items
    assert (line.kind, line.invoice_id) == ("second_credit", INVOICE)
    story = stories.read_credit(books.database, INVOICE)
    assert story is not None
    assert story.attentions == [line]


def test_a_matter_knows_its_credit(books: Books) -> None:
    """By external_id or by invoice; one that is about no credit of ours knows none."""
    books.credit()
    books.refuse(books.claim())
    books.credit("7", amount=50)
    books.tell({"id": "x", "type": "credited", "invoice": {"id": "9"}})
    lines = list_attentions(books.database, open_only=True, after=None).items
    assert [(line.kind, line.invoice_id) for line in lines] == [
        ("unreadable_event", None),
        ("nothing_to_forward", "7"),
        ("transfer_dead", INVOICE),
    ]
    resolve_attention(books.database, lines[0].id, ANA, books.now)
    assert len(list_attentions(books.database, open_only=True, after=None).items) == 2
    assert len(list_attentions(books.database, open_only=False, after=None).items) == 3
    [act] = list_acts(books.database, None).items
    assert (act.kind, act.subject, act.result) == (
        "resolve",
        "3",
        f"closed unreadable_event of {lines[0].subject}",
    )


def test_a_batch_tells_what_became_of_each_invoice(books: Books) -> None:
    """Planned, at the bank, or as far as its transfer got."""
    plan = [(Payer(f"Payer {each}", "529.982.247-25"), 48_712) for each in range(3)]
    batches.plan_batch(books.database, "b", 0, plan, NOW, late=True, now=NOW)
    with books.database.transaction() as connection:
        for position, bank_id in ((1, INVOICE), (2, "8")):
            connection.execute(
                update(planned_invoices)
                .where(planned_invoices.c.position == position)
                .values(bank_invoice_id=bank_id)
            )
    books.credit()
    batch = stories.read_batch(books.database, 1)
    assert batch is not None
    assert [line.became for line in batch.invoices] == ["pending", "at_bank", "planned"]
    assert (batch.batch.planned_invoices, batch.batch.issued_invoices, batch.batch.credited_invoices) == (
        3,
        2,
        1,
    )
    assert list_batches(books.database, None).items == [batch.batch]


def test_the_overview_shows_the_window_the_flow_and_what_is_grave(books: Books) -> None:
    """Slots as they are, charts in bars, the gravest matter first."""
    batches.open_window(books.database, 3600, 4, "k", NOW - timedelta(hours=1, minutes=59))
    batches.plan_batch(books.database, "a", 0, [(Payer("Ana", "1"), 5)], NOW, late=False, now=NOW)
    books.credit("7", amount=50)
    books.credit()
    books.pass_time(120)
    books.send()
    books.news(at_bank("A", "success"))
    books.news(at_bank("A", "failed"))
    pause(books.database, "issuing", ANA, books.now)
    page = overview.read_overview(books.database, books.now, timedelta(hours=1), bars=4)
    assert [slot.state for slot in page.slots] == ["planned", "late", "next", "coming"]
    assert [matter.kind for matter in page.attentions] == ["returned_after_settlement", "nothing_to_forward"]
    assert [(bar.number, bar.centavos) for bar in page.settled] == [(0, 0), (0, 0), (0, 0), (1, 48_662)]
    assert sum(bar.number for bar in page.credited) == 2
    assert page.events_by_outcome == {"credit": 1, "nothing_to_forward": 1, "transfer_news": 2}
    assert dict(page.settled_within)[300.0] == 1
    assert page.paused == {"issuing": books.now}
    assert page.oldest_unforwarded_at is None
    assert page.statement == books.statement


def test_a_bar_shorter_than_a_minute_is_refused(database: Database) -> None:
    """Tallies are by the minute."""
    with pytest.raises(ValueError, match="a bar is a minute at the least"):
        overview.read_overview(database, NOW, timedelta(minutes=1), bars=2)


def test_every_kind_of_matter_has_its_gravity() -> None:
    """A new kind must not sink to the end unnoticed."""
    assert sorted(overview.GRAVEST_FIRST) == sorted(AttentionKind)


def test_the_system_tells_who_lives(database: Database) -> None:
    """Whoever was seen within a minute and did not stop."""
    record_alive(database, Process("p", "web", "h", 1, "1"), NOW)
    record_alive(database, Process("q", "worker", "h", 2, "1"), NOW - timedelta(minutes=2))
    told = overview.read_system(database, NOW)
    assert {row["id"]: row["alive"] for row in told.processes} == {"p": True, "q": False}
    assert told.reconciliations == []


# --- pages ---


def test_pages_follow_each_other_without_gap_or_repeat(books: Books) -> None:
    """However many came at one moment."""
    for number in range(7):
        books.credit(f"{number}")
        if number % 3 == 0:
            books.pass_time(1)
    for walk in (
        lambda after: list_credits(books.database, after, limit=2),
        lambda after: list_events(books.database, None, after, limit=2),
        lambda after: list_transfers(books.database, "pending", after, limit=2),
        lambda after: list_transfers(books.database, None, after, limit=2),
    ):
        seen = list(_all(walk))
        assert len(seen) == len({repr(line) for line in seen}) == 7


def _all(walk: Callable[[str | None], Any]) -> Iterator[Any]:
    after = None
    while True:
        page = walk(after)
        yield from page.items
        after = page.next
        if after is None:
            return


def test_credits_are_found_by_amount_and_time(books: Books) -> None:
    """Gross or net; from since on, before until."""
    books.credit("1", amount=1000)
    books.pass_time(60)
    books.credit("2", amount=1050)
    books.credit("3", amount=2000)
    by_amount = list_credits(books.database, None, amount_centavos=1000).items
    assert [line.invoice_id for line in by_amount] == ["2", "1"]
    later = list_credits(books.database, None, since=books.now).items
    assert [line.invoice_id for line in later] == ["3", "2"]
    earlier = list_credits(books.database, None, until=books.now).items
    assert [line.invoice_id for line in earlier] == ["1"]


@pytest.mark.parametrize("state", [None, *TransferState])
def test_transfers_are_listed_by_state(books: Books, state: str | None) -> None:
    """Each state has its list, also an empty one."""
    books.credit()
    books.credit("7")
    books.claim_all(limit=1)
    found = list_transfers(books.database, state, None).items
    expected = {None: 2, "pending": 1, "sending": 1}
    assert len(found) == expected.get(state, 0)


def test_an_unknown_state_is_refused(database: Database) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="'lost' is no state of a transfer: put one of pending"):
        list_transfers(database, "lost", None)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "bm9uc2Vuc2U", "W10", "é", "WyJjcmVkaXRzIiwgMSwgMl0", "=" * 9, "[" * 100_000, "\udc80"],
)
def test_a_malformed_cursor_is_refused_in_one_clear_line(database: Database, cursor: str) -> None:
    """It comes back from outside."""
    with pytest.raises(ValueError, match="is not one that this list gave: leave it out"):
        list_credits(database, cursor)


def test_a_cursor_of_another_list_is_refused(books: Books) -> None:
    """It would begin somewhere at random."""
    books.credit()
    books.credit("7")
    cursor = list_credits(books.database, None, limit=1).next
    assert cursor is not None
    with pytest.raises(ValueError, match="is not one that this list gave"):
        list_events(books.database, None, cursor)


@given(st.text())
def test_no_text_is_a_cursor_by_accident(text: str) -> None:
    """Nor does any break the reader."""
    walk = lists._Walk("x", (actions.c.id,), select(actions), [])
    with pytest.raises(ValueError, match="is not one that this list gave"):
        walk._decode(text)


# --- a hundred thousand credits ---


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Path:
    """Books of a hundred thousand credits: most settled, some of every other state, two events each."""
    path = Path(shutil.copy(migrated_file, tmp_path_factory.mktemp("big") / "repasse.db"))
    body = json.dumps({"event": {"log": an_invoice_log()}}).encode()
    began_at = datetime(2026, 1, 1, tzinfo=UTC)

    def moment(number: int) -> str:
        return f"{(began_at + timedelta(seconds=number)).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"

    states = dict(enumerate(("pending", "sending", "sent", "dead", "failed", "stopped")))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO destinations VALUES (1, '20018183', '0001', '1', 'payment', 'S', '20.018.183/0001-80')"
        )
        connection.executemany(
            "INSERT INTO inbox_events (event_id, source, subscription, log_type, subject, outcome, body, received_at) "
            "VALUES (?, 'webhook', ?, 'credited', ?, ?, ?, ?)",
            (
                (f"{kind}{each}", "invoice" if kind == "e" else "transfer", f"{subject}{each}", outcome, body,
                 moment(each))
                for each in range(MANY)
                for kind, subject, outcome in (("e", "i", "credit"), ("t", "b", "transfer_news"))
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO credits VALUES (?, ?, ?, ?, ?, 50, ?, 0, 'forward', ?, ?)",
            (
                (
                    each + 1,
                    f"i{each}",
                    f"l{each}",
                    f"e{each}",
                    1050 + each,
                    1000 + each,
                    moment(each),
                    moment(each),
                )
                for each in range(MANY)
            ),
        )
        connection.executemany(
            "INSERT INTO bank_transfers VALUES (?, ?, ?, 'success', ?, NULL, ?)",
            ((f"b{each}", each + 1, f"credit-i{each}", 1000 + each, moment(each)) for each in range(MANY)),
        )
        connection.executemany(
            "INSERT INTO transfers (id, credit_number, invoice_id, generation, external_id, amount_centavos, "
            "destination_id, state, attempt, calls, call_tag, due_at, lease_expires_at, bank_transfer_id, created_at, "
            "sent_at, settled_at) VALUES (?, ?, ?, 1, ?, ?, 1, ?, 1, 1, 'c', ?, ?, ?, ?, ?, ?)",
            (
                (each + 1, each + 1, f"i{each}", f"credit-i{each}", 1000 + each, state, moment(each),
                 moment(each) if state == "sending" else None, f"b{each}", moment(each), moment(each),
                 moment(each) if state == "settled" else None)
                for each in range(MANY)
                for state in (states.get(each % 50, "settled"),)
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO transfer_history (transfer_id, at, fact, state, attempt) VALUES (?, ?, ?, 'sent', 1)",
            (
                (each + 1, moment(each), fact)
                for each in range(MANY)
                for fact in ("claimed", "sent", "settled")
            ),
        )
        connection.executemany(
            "INSERT INTO attentions (kind, subject, detail, raised_at, resolved_at) "
            "VALUES ('transfer_dead', ?, 'd', ?, ?)",
            (
                (f"credit-i{each}", moment(each), None if each % 1000 == 3 else moment(each + 1))
                for each in range(3, MANY, 50)
            ),
        )
        connection.executemany(
            "INSERT INTO acts (at, who, kind, subject, reason, result) VALUES (?, 'ana', 'retry', ?, 'r', 'r')",
            ((moment(each), f"credit-i{each}") for each in range(3, MANY, 50)),
        )
        connection.executemany(
            "INSERT INTO invoice_batches (id, slot, tag, state, attempt, due_at, next_at, late, planned_at, issued_at) "
            "VALUES (?, NULL, ?, 'issued', 1, ?, ?, 0, ?, ?)",
            ((each + 1, f"batch{each}", *[moment(each)] * 4) for each in range(MANY // 10)),
        )
        connection.executemany(
            "INSERT INTO planned_invoices (batch_id, position, tag, amount_centavos, payer_name, payer_tax_id, "
            "bank_invoice_id) VALUES (?, ?, ?, 1, 'Ana', '529.982.247-25', ?)",
            ((each // 10 + 1, each % 10, f"tag{each}", f"i{each}") for each in range(MANY)),
        )
    return path


@pytest.fixture(scope="module")
def big(big_file: Path) -> Iterator[Database]:
    """The same, opened."""
    database = open_database(f"sqlite:///{big_file}")
    yield database
    database.close()


CURSORS: dict[str, str] = {}


def middle(name: str, walk: Callable[[str | None], Any]) -> str:
    """A cursor some pages on; looked for once, before anything is measured."""
    if name not in CURSORS:
        after = None
        for _ in range(3):
            after = walk(after).next
        assert after is not None
        CURSORS[name] = after
    return CURSORS[name]


READS: dict[str, Callable[[Database], object]] = {
    **{
        f"transfers {state}": lambda books, state=state: list_transfers(  # type: ignore[misc]
            books, state, middle(f"transfers {state}", lambda after: list_transfers(books, state, after, 1))
        )
        for state in (None, *TransferState)
    },
    "credits": lambda books: list_credits(
        books, middle("credits", lambda after: list_credits(books, after, limit=1))
    ),
    "credits by a rare amount": lambda books: list_credits(books, None, amount_centavos=1000),
    "credits of a day": lambda books: list_credits(
        books, None, since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 1, 6, tzinfo=UTC)
    ),
    "events": lambda books: list_events(
        books, None, middle("events", lambda after: list_events(books, None, after, 1))
    ),
    "events of an outcome that nothing has": lambda books: list_events(books, "unreadable", None),
    "batches": lambda books: list_batches(books, None),
    "matters": lambda books: list_attentions(books, open_only=False, after=None),
    "open matters": lambda books: list_attentions(books, open_only=True, after=None),
    "acts": lambda books: list_acts(books, None),
    "search by invoice": lambda books: search.search(books, "i77777"),
    "search by external id": lambda books: search.search(books, "credit-i77777"),
    "search by a reissue's": lambda books: search.search(books, "credit-i77777-r2"),
    "search by bank id": lambda books: search.search(books, "b77777"),
    "search by event": lambda books: search.search(books, "e77777"),
    "search by log": lambda books: search.search(books, "l77777"),
    "search by tag": lambda books: search.search(books, "tag77777"),
    "search in vain": lambda books: search.search(books, "nothing"),
    "a credit": lambda books: stories.read_credit(books, "i50003"),
    "an event": lambda books: stories.read_event(books, "e50003"),
    "a day": lambda books: read_period(
        books, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    ),
    "a batch": lambda books: stories.read_batch(books, 7777),
    "the system": lambda books: overview.read_system(books, NOW),
}


# Tables that hold a few rows however long we run.
SMALL = ("processes", "switches", "issuing_windows")


def test_every_read_is_quick_in_big_books(big: Database) -> None:
    """A page, a search, a story: the same milliseconds whatever the books hold."""
    slow = {name: best for name, read in READS.items() if (best := _best_of(7, big, read)) > QUICK_SECONDS}
    assert not slow


def _best_of(times: int, database: Database, read: Callable[[Database], object]) -> float:
    read(database)
    taken = []
    for _ in range(times):
        began = time.thread_time()
        read(database)
        taken.append(time.thread_time() - began)
    return min(taken)


def test_no_read_walks_through_a_whole_table(big: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own plan of every statement: by an index, or along one in its order until the page is full."""
    statements = note_statements(big, monkeypatch)
    for read in READS.values():
        read(big)
    walks = []
    with closing(sqlite3.connect(str(big.url.database))) as connection:
        for sql, parameters in statements:
            plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
            walked = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in SMALL]
            if walked and ("LIMIT" not in sql or "USE TEMP B-TREE FOR ORDER BY" in plan):
                walks.append((sql, plan))
    assert len(statements) > len(READS)
    assert not walks


def note_statements(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Every statement that is run from now on, with its parameters; prepared ones are run on the driver itself."""
    noted: list[tuple[str, Any]] = []
    execute = _Plan.execute

    def execute_noted(self: _Plan, connection: Any, values: Any) -> Any:
        noted.append((self.sql, self.arguments(values)))
        return execute(self, connection, values)

    def note(_connection: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        noted.append((sql, parameters))

    monkeypatch.setattr(_Plan, "execute", execute_noted)
    sqlalchemy_event.listen(database.engine, "before_cursor_execute", note)
    return noted
