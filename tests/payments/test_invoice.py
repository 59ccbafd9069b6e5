"""Planned invoices, and the tags by which they are found again."""

import pytest

from payments.invoice import ISSUED_TAG, Payer, is_ours, order_invoices

ANA = Payer("Ana Conceição", "529.982.247-25")
LTDA = Payer("Padaria São João Ltda.", "20.018.183/0001-80")


def test_an_order_carries_our_tag_its_batch_s_and_its_own() -> None:
    """Three questions can then be asked of the bank: all of ours, this batch, this one."""
    orders = order_invoices("repasse-k3-slot-1", [(ANA, 1_000), (LTDA, 2_500)])
    assert [order.tags for order in orders] == [
        (ISSUED_TAG, "repasse-k3-slot-1", "repasse-k3-slot-1-01"),
        (ISSUED_TAG, "repasse-k3-slot-1", "repasse-k3-slot-1-02"),
    ]
    assert [(order.payer, order.amount_centavos) for order in orders] == [(ANA, 1_000), (LTDA, 2_500)]


def test_no_two_orders_of_the_largest_call_share_their_own_tag() -> None:
    """A hundred is what one call takes; the position must not run out of digits."""
    orders = order_invoices("b", [(ANA, 1)] * 100)
    assert len({order.tag for order in orders}) == 100


@pytest.mark.parametrize("tag", ["Slot-1", "slot 1", "slot_1", "slot-ç", "", "slot-1\n", "a,b"])
def test_a_tag_that_the_bank_would_change_is_refused(tag: str) -> None:
    """The bank lower-cases tags and joins filters by commas: we would never find our invoices again."""
    with pytest.raises(ValueError, match="lower-case"):
        order_invoices(tag, [(ANA, 1)])


@pytest.mark.parametrize(
    ("tags", "ours"), [(("repasse",), True), (["x", "repasse"], True), (("repasse-1",), False), ((), False)]
)
def test_only_the_whole_tag_makes_an_invoice_ours(tags: tuple[str, ...] | list[str], ours: bool) -> None:
    """A stranger's tag that merely begins like ours does not count."""
    assert is_ours(tags) is ours
