"""Reading stored events again: what an older program could not read has its effect, and nothing else changes."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from payments.errors import ActionRefused
from payments.event import Event, read_event, read_log
from payments.ledger import inbox
from payments.operator import actions, replay
from payments.operator.actions import Action, Operator
from payments.operator.lists import ATTENTIONS
from payments.storage.schema import inbox_events
from tests.payments.builders import INVOICE, NOW, a_body, a_policy, an_invoice_log, at_bank, english
from tests.payments.conftest import Books

ANA = Operator("ana", "the program is newer")

ODD = an_invoice_log("credited", amount="48712", log_id="odd")


@pytest.fixture
def newer_readers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A program of tomorrow that can read ODD: installs itself when called."""

    def read(body: bytes) -> Event:
        return read_event(body.replace(b'"amount": "48712"', b'"amount": 48712'))

    def install() -> None:
        def read_and_keep(body: bytes) -> Event:
            return read(body)._replace(body=body)

        monkeypatch.setattr(replay, "read_event", read_and_keep)

    return install


def replay_odd(books: Books) -> tuple[Action, inbox.Receipt]:
    """Ana replays the event that could not be read."""
    return replay.replay_event(books.database, "event-of-odd", ANA, books.policy, books.now)


def inbox_row(books: Books, event_id: str) -> Any:
    """An event as it is stored."""
    with books.database.reading() as connection:
        return connection.execute(select(inbox_events).where(inbox_events.c.event_id == event_id)).one()


def test_a_replay_reads_what_an_older_program_could_not(
    books: Books, newer_readers: Callable[[], None]
) -> None:
    """Its credit is recorded and forwarded, its row rewritten, its attention resolved."""
    [receipt] = books.tell(ODD)
    assert receipt.outcome == "unreadable"
    newer_readers()
    action, receipt = replay_odd(books)
    assert receipt.outcome == "credit"
    assert receipt.net_centavos == 48_662
    assert english(action.result) == "event replayed; it was “unreadable” and is now “credit”"
    row = inbox_row(books, "event-of-odd")
    assert (row.outcome, row.reason, row.subject) == ("credit", None, INVOICE)
    assert row.body == a_body(ODD)
    assert books.attention == []
    assert books.claim().amount_centavos == 48_662


def test_a_replay_of_what_is_still_unreadable_changes_nothing(books: Books) -> None:
    """Its attention stays open."""
    books.tell(ODD)
    _, receipt = replay_odd(books)
    assert receipt.outcome == "unreadable"
    assert books.attention == ["unreadable_event"]


def test_a_replay_of_what_had_its_effect_changes_nothing(books: Books) -> None:
    """Every kind of event, after all of them had their say; no attention that a person resolved opens again."""
    books.credit()
    books.credit(log_id="second", amount=5)
    books.reverse(40_000)
    books.send()
    books.news(at_bank("A", "success", amount=39_950))
    books.news(at_bank("A", "failed", amount=39_950), "taken back")
    books.tell(an_invoice_log("created"))
    for attention in ATTENTIONS.read(books.database, choice="open").items:
        actions.close_attention(books.database, attention.id, ANA, books.now)
    before = (books.statement, books.states, books.history())
    raised = len(ATTENTIONS.read(books.database).items)
    outcomes = {row.event_id: row.outcome for row in _all_events(books)}
    action, news = replay.replay_since(books.database, NOW, ANA, books.policy, books.now)
    assert news == []
    assert english(action.result) == "6 events replayed; something new followed from 0"
    assert (books.statement, books.states, books.history()) == before
    assert len(ATTENTIONS.read(books.database).items) == raised
    assert {row.event_id: row.outcome for row in _all_events(books)} == outcomes


def _all_events(books: Books) -> list[Any]:
    with books.database.reading() as connection:
        return list(connection.execute(select(inbox_events)))


def test_a_replay_leaves_a_credit_that_was_not_ours(books: Books) -> None:
    """Settings that changed since do not forward what may have been forwarded by other means meanwhile."""
    books.policy = a_policy(only_issued=True)
    receipt = books.credit()
    assert receipt.outcome == "not_ours"
    books.policy = a_policy()
    _, again = replay.replay_event(books.database, receipt.event_id, ANA, books.policy, books.now)
    assert again.outcome == "known_credit"
    assert books.states == []
    assert inbox_row(books, receipt.event_id).outcome == "not_ours"


def test_a_replay_goes_through_everything_in_groups(books: Books, newer_readers: Callable[[], None]) -> None:
    """Oldest first, whatever group it falls into; also those of one moment."""
    many = replay.EVENTS_PER_TRANSACTION + 5
    books.tell(*(an_invoice_log("created", invoice_id=f"{number}") for number in range(many)))
    books.tell(ODD)
    newer_readers()
    action, news = replay.replay_since(books.database, NOW, ANA, books.policy, books.now)
    assert [receipt.outcome for receipt in news] == ["credit"]
    assert english(action.result) == f"{many + 1} events replayed; something new followed from 1"
    assert action.subject == "since 2026-03-02T15:00:00Z"


def test_a_replay_since_later_leaves_the_earlier_alone(
    books: Books, newer_readers: Callable[[], None]
) -> None:
    """By when they were received."""
    books.tell(ODD)
    newer_readers()
    _, news = replay.replay_since(books.database, NOW + timedelta(seconds=1), ANA, books.policy, books.now)
    assert news == []


def test_an_unknown_event_is_not_replayed(books: Books) -> None:
    """It says so, by its id."""
    with pytest.raises(ActionRefused, match=r"no_event.*event-of-odd"):
        replay_odd(books)


@pytest.mark.parametrize("body", [b"{}", b'{"id": "7", "type": "credited"}'])
def test_a_log_that_reconciliation_found_is_read_as_a_log(books: Books, body: bytes) -> None:
    """With its id or without; a replay knows by which reader it came."""
    event = read_log("invoice", body)
    arrival = inbox.Arrival(event)
    inbox.accept(books.database, [arrival], "reconciliation", books.policy, books.now)
    _, receipt = replay.replay_event(books.database, event.event_id, ANA, books.policy, books.now)
    assert receipt.outcome == "unreadable"
    assert inbox_row(books, event.event_id).reason == event.unreadable


def test_a_later_delivery_that_can_be_read_has_its_effect(books: Books) -> None:
    """The bank repeats the same bytes, and a newer program reads them."""
    books.tell(ODD)
    readable = read_event(a_body(ODD).replace(b'"amount": "48712"', b'"amount": 48712'))
    newer = Event(
        readable.event_id, "invoice", "credited", readable.subject, readable.fact, None, a_body(ODD)
    )
    [receipt] = inbox.accept(books.database, [inbox.Arrival(newer)], "webhook", books.policy, books.now)
    assert receipt.outcome == "credit"
    assert books.states == ["pending"]
    assert books.attention == []
    [again] = inbox.accept(books.database, [inbox.Arrival(newer)], "webhook", books.policy, books.now)
    assert again.outcome == "repeated"


def test_other_bytes_under_the_id_of_an_unreadable_event_stay_for_a_person(books: Books) -> None:
    """The bank does not change an event."""
    books.tell(ODD)
    [receipt] = books.tell(an_invoice_log("credited", log_id="odd"))
    assert receipt.outcome == "repeated"
    assert books.states == []
    assert books.attention == ["unreadable_event"]


def test_the_same_credit_by_reconciliation_resolves_the_attention_of_its_unreadable_event(
    books: Books,
) -> None:
    """The money is recorded; no one needs to look."""
    books.tell(ODD)
    log = an_invoice_log("credited")
    event = read_log("invoice", json.dumps(log).encode())
    inbox.accept(books.database, [inbox.Arrival(event)], "reconciliation", books.policy, books.now)
    assert books.states == ["pending"]
    assert books.attention == []
