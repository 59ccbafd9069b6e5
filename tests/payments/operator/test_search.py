"""Search: one id, whatever it names, leads to its page."""

from payments.invoice import Payer
from payments.ledger import batches
from payments.operator.search import search
from payments.operator.timeline import read_credit
from tests.payments.builders import INVOICE, NOW
from tests.payments.conftest import Books


def test_search_finds_whatever_an_id_names(books: Books) -> None:
    """Exactly that id, wherever it was copied from."""
    books.credit()
    books.send()
    books.lose("A", "no funds")
    plan = [(Payer("Ana", "529.982.247-25"), 100)]
    batches.plan_batch(books.database, "repasse-x-slot-1", 0, plan, NOW, late=False, now=NOW)
    for wanted, kinds in {
        INVOICE: {"credit", "event"},
        f"credited-{INVOICE}": {"credit"},
        f"invoice-log-credited-{INVOICE}": {"credit"},
        f"  credit-{INVOICE} ": {"transfer"},
        f"credit-{INVOICE}-r2": {"transfer"},
        "A": {"transfer", "event"},
        f"event-of-credited-{INVOICE}": {"event"},
        "repasse-x-slot-1": {"batch", "invoice"},
        "repasse-x-slot-1-01": {"batch", "invoice"},
        "5'; DROP TABLE credits; --": set[str](),
        "x" * 5000: set[str](),
        "\udc80\x00": set[str](),
        "": set[str](),
    }.items():
        assert {hit.kind for hit in search(books.database, wanted)} == kinds, wanted[:50]


def test_a_hit_leads_to_its_page(books: Books) -> None:
    """A transfer leads to its credit, and is found by the bank's id too."""
    books.credit()
    books.send()
    [hit] = [hit for hit in search(books.database, "A") if hit.kind == "transfer"][:1]
    assert hit.id == INVOICE
    assert (hit.name, hit.amount_centavos, hit.state) == (f"credit-{INVOICE}", 48662, "sent")
    assert read_credit(books.database, hit.id) is not None
