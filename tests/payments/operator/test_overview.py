"""The overview and the system page: charts, slots, the most urgent attentions, and what is running."""

from datetime import timedelta

from payments.invoice import Payer
from payments.language import language_of
from payments.ledger import batches
from payments.ledger.attention import AttentionKind
from payments.operator import lists, overview
from payments.operator.actions import Operator, pause
from payments.operator.health import read_health
from payments.operator.processes import Process, record_alive
from payments.storage.database import Database
from tests.payments.builders import NOW, at_bank
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")


def test_the_overview_shows_the_slots_the_charts_and_the_most_urgent(books: Books) -> None:
    """Slots as they are, charts in bars, the most urgent attention first."""
    batches.open_window(books.database, 3600, 4, "k", NOW - timedelta(hours=1, minutes=59))
    batches.plan_batch(books.database, "a", 0, [(Payer("Ana", "1"), 5)], NOW, late=False, now=NOW)
    books.credit("7", amount=50)
    books.credit()
    books.pass_time(120)
    books.send()
    books.news(at_bank("A", "success"))
    books.news(at_bank("A", "failed"))
    pause(books.database, "issuing", ANA, books.now)
    page = overview.read_overview(
        books.database, books.now, books.now - timedelta(hours=1), timedelta(hours=1), bars=4
    )
    assert [slot.state for slot in page.health.slots] == ["overdue", "overdue", "coming", "coming"]
    assert [attention.kind for attention in page.attentions] == [
        "returned_after_settlement",
        "nothing_to_forward",
    ]
    assert [(bar.number, bar.centavos) for bar in page.settled] == [(0, 0), (0, 0), (0, 0), (1, 48_662)]
    assert sum(bar.number for bar in page.credited) == 2
    assert page.events_by_outcome == {"credit": 1, "nothing_to_forward": 1, "bank_report": 2}
    assert dict(page.settled_within)[300.0] == 1
    assert page.health == read_health(books.database, books.now)
    assert page.health.statement == books.statement


def test_every_kind_of_attention_has_its_rank() -> None:
    """A new kind must not end up last unnoticed."""
    assert sorted(lists.MOST_URGENT_FIRST) == sorted(AttentionKind)


def test_the_system_page_shows_which_processes_are_alive(database: Database) -> None:
    """Those that were seen within a minute and did not stop."""
    record_alive(database, Process("p", "web", "h", 1, "1"), NOW)
    record_alive(database, Process("q", "worker", "h", 2, "1"), NOW - timedelta(minutes=2))
    system = overview.read_system(database, NOW, language_of("en"))
    assert {row["id"]: row["alive"] for row in system.processes} == {"p": True, "q": False}
    assert system.reconciliations == []


def test_a_chart_leaves_out_what_came_before_it_and_counts_each_moment_once(books: Books) -> None:
    """A bar has its first moment and not its last; what another machine's clock dates ahead is in the last bar."""
    for number, seconds in enumerate((-1, 0, 899, 900, 3600, 3660)):
        books.now = NOW + timedelta(seconds=seconds)
        books.credit(f"{number}")
    hour = timedelta(hours=1)
    read = overview.read_overview(books.database, NOW + hour, NOW, hour, bars=4)
    assert [bar.number for bar in read.credited] == [2, 1, 0, 2]
    assert sum(bar.net_centavos for bar in read.credited) == 5 * 48_662


def test_what_came_before_is_counted_to_the_same_moment_of_the_day_before(books: Books) -> None:
    """Half a window that goes on is not compared with a whole one."""
    for number, hours in enumerate((-24.5, -24, -23.5, -23, 0.5)):
        books.now = NOW + timedelta(hours=hours)
        books.credit(f"{number}")
    read = overview.read_overview(books.database, NOW + timedelta(hours=1), NOW, timedelta(hours=24), bars=4)
    assert (read.credited_before.number, read.credited_before.net_centavos) == (2, 2 * 48_662)
    assert sum(bar.number for bar in read.credited) == 1
