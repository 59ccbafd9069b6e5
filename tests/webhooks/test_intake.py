"""Group commit: who shares one, which answer each gets, and that no one waits without bound."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import pytest

from payments.errors import LedgerUnavailable
from payments.event import read_event
from payments.ledger.inbox import Arrival, Outcome, Receipt
from tests.events import invoice_event
from webhooks import intake
from webhooks.intake import EVENTS_PER_COMMIT_MAX, Intake

POISON = "5999999999999999"


class Books:
    """Stands where the ledger stands: notes each commit, and holds the first until it is let go."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.failure: Exception | None = None

    def accept(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Commit, or fail: for the poison always, for all others as told."""
        self.begun.set()
        assert self.go_on.wait(20)
        if self.failure is not None:
            raise self.failure
        ids = [arrival.event.event_id for arrival in arrivals]
        if f"6{POISON[1:]}" in ids:
            raise ZeroDivisionError("a bug that one event meets")
        self.commits.append(ids)
        return [Receipt(event_id, Outcome.CREDIT, None) for event_id in ids]


@pytest.fixture
def books() -> Books:
    """Books that hold the first commit."""
    return Books()


def arrival(number: int) -> Arrival:
    """One event; its id ends in ``number``."""
    return Arrival(read_event(invoice_event(f"5{number:015d}")))


def run(books: Books, act: Callable[[Intake[Arrival]], Awaitable[None]]) -> None:
    """Run ``act`` with an intake over ``books``, and close it."""

    async def main() -> None:
        made = Intake(books.accept)
        try:
            await act(made)
        finally:
            books.go_on.set()
            await made.close()

    asyncio.run(main())


async def begun(books: Books) -> None:
    """Wait until a commit is under way."""
    assert await asyncio.to_thread(books.begun.wait, 20)


def test_an_answer_does_not_wait_longer_than_the_bank_would(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 503 in time, in the commit that hangs and behind it; what is stored later is stored once."""
    monkeypatch.setattr(intake, "COMMIT_SECONDS", 0.05)

    async def act(made: Intake[Arrival]) -> None:
        first = asyncio.create_task(made.put(arrival(1)))
        await begun(books)
        second = asyncio.create_task(made.put(arrival(2)))
        for each in (first, second):
            with pytest.raises(LedgerUnavailable, match="not committed within"):
                await each
        assert books.commits == []

    run(books, act)
    assert books.commits == [["6000000000000001"], ["6000000000000002"]]


def test_those_who_wait_during_a_commit_share_the_next_one(books: Books) -> None:
    """A hundred events, two commits; each caller gets the receipt of its own event."""

    async def act(made: Intake[Arrival]) -> None:
        first = asyncio.create_task(made.put(arrival(0)))
        await begun(books)
        others = [asyncio.create_task(made.put(arrival(number))) for number in range(1, 100)]
        await asyncio.sleep(0)  # all have come in
        books.go_on.set()
        receipts = await asyncio.gather(first, *others)
        assert [receipt.event_id for receipt in receipts] == [f"6{number:015d}" for number in range(100)]

    run(books, act)
    assert [len(commit) for commit in books.commits] == [1, 99]


def test_nobody_is_answered_before_its_own_commit(books: Books) -> None:
    """As long as the books have not said so, put does not return."""

    async def act(made: Intake[Arrival]) -> None:
        waiting = asyncio.create_task(made.put(arrival(1)))
        await begun(books)
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        assert books.commits == []
        books.go_on.set()
        await waiting
        assert len(books.commits) == 1

    run(books, act)


def test_a_commit_has_a_largest_size(books: Books) -> None:
    """The write lock is held for a bounded time: what is more waits for the next commit."""

    async def act(made: Intake[Arrival]) -> None:
        tasks = [
            asyncio.create_task(made.put(arrival(number))) for number in range(EVENTS_PER_COMMIT_MAX + 20)
        ]
        books.go_on.set()
        await asyncio.gather(*tasks)

    run(books, act)
    assert max(map(len, books.commits)) <= EVENTS_PER_COMMIT_MAX
    assert sum(map(len, books.commits)) == EVENTS_PER_COMMIT_MAX + 20


def test_an_arrival_that_meets_a_bug_harms_no_other(books: Books) -> None:
    """Its group is stored one by one; only its own caller sees the bug."""
    poison = Arrival(read_event(invoice_event(POISON)))

    async def act(made: Intake[Arrival]) -> None:
        books.go_on.set()
        tasks = [made.put(arrival(1)), made.put(poison), made.put(arrival(2)), made.put(arrival(3))]
        first, failed, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, ZeroDivisionError)
        assert all(isinstance(receipt, Receipt) for receipt in (first, *others))
        # and it goes on afterwards
        assert (await made.put(arrival(4))).event_id == f"6{4:015d}"

    run(books, act)
    stored = sorted(event_id for commit in books.commits for event_id in commit)
    assert stored == [f"6{number:015d}" for number in (1, 2, 3, 4)]


def test_storage_that_fails_is_told_to_all_and_nothing_is_tried_one_by_one(books: Books) -> None:
    """A locked database would otherwise be waited for once for each event; the next events may succeed."""

    async def act(made: Intake[Arrival]) -> None:
        first = asyncio.create_task(made.put(arrival(0)))
        await begun(books)
        others = [asyncio.create_task(made.put(arrival(number))) for number in range(1, 10)]
        await asyncio.sleep(0)
        books.failure = LedgerUnavailable("locked")
        books.go_on.set()
        told = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(each) for each in told] == [LedgerUnavailable] * 10
        books.failure = None
        assert (await made.put(arrival(11))).event_id == f"6{11:015d}"

    run(books, act)
    assert len(books.commits) == 1


def test_more_than_so_many_are_refused_at_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded while the database is slow; those who wait already are stored all the same."""
    monkeypatch.setattr(intake, "WAITING_MAX", 50)  # 5,000 take longer to make than to refuse

    async def act(made: Intake[Arrival]) -> None:
        first = asyncio.create_task(made.put(arrival(0)))
        await begun(books)
        waiting = [asyncio.create_task(made.put(arrival(number))) for number in range(1, 51)]
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailable, match="50 events are waiting"):
            await made.put(arrival(51))
        books.go_on.set()
        assert len(await asyncio.gather(first, *waiting)) == 51

    run(books, act)


def test_a_caller_who_goes_away_leaves_the_others_their_answers(books: Books) -> None:
    """Its event is stored like any other: the bank may have hung up while we committed."""

    async def act(made: Intake[Arrival]) -> None:
        first = asyncio.create_task(made.put(arrival(0)))
        await begun(books)
        tasks = [asyncio.create_task(made.put(arrival(number))) for number in range(1, 4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        books.go_on.set()
        first_receipt, *told = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert isinstance(first_receipt, Receipt)
        assert [type(each) for each in told] == [Receipt, asyncio.CancelledError, Receipt]

    run(books, act)
    assert [len(commit) for commit in books.commits] == [1, 3]


def test_closing_stores_what_is_waiting(books: Books) -> None:
    """A process that ends answers first what it has taken in."""

    async def main() -> None:
        made = Intake(books.accept)
        tasks = [asyncio.create_task(made.put(arrival(number))) for number in range(5)]
        await asyncio.sleep(0)
        await begun(books)
        books.go_on.set()
        await made.close()
        assert all(task.done() for task in tasks) or len(await asyncio.gather(*tasks)) == 5

    asyncio.run(main())
    assert [event_id for commit in books.commits for event_id in commit] == list(
        islice((f"6{number:015d}" for number in range(9)), 5)
    )
