"""What a credited log says."""

import dataclasses

import pytest

from payments.credit import Credit
from tests.payments.builders import NOW


def test_a_credit_forwards_its_gross_minus_its_fee() -> None:
    """The fee is the one of the credited log, the only one that is real."""
    assert Credit("1", "2", 48_712, 50, NOW, ()).net_centavos == 48_662
    assert Credit("1", "2", 30, 50, NOW, ()).net_centavos == -20


def test_a_credit_is_a_fact_and_cannot_be_changed() -> None:
    """Facts are past; a changed amount would be another fact."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Credit("1", "2", 30, 0, NOW, ()).gross_centavos = 31  # type: ignore[misc]


@pytest.mark.parametrize(
    ("only_issued", "tags", "gross", "fee", "disposition"),
    [
        (False, (), 100, 0, "forward"),
        (False, (), 1, 0, "forward"),
        (False, (), 50, 50, "nothing_to_forward"),
        (False, (), 30, 50, "nothing_to_forward"),
        (False, (), 0, 0, "nothing_to_forward"),
        (True, (), 100, 0, "not_ours"),
        (True, ("repasse-9-slot-1",), 100, 0, "not_ours"),
        (True, ("e2001", "repasse"), 100, 0, "forward"),
        (True, ("repasse",), 50, 50, "nothing_to_forward"),
        (True, (), 50, 50, "not_ours"),
    ],
)
def test_a_credit_is_disposed_of_by_its_net_and_its_tags(
    only_issued: bool, tags: tuple[str, ...], gross: int, fee: int, disposition: str
) -> None:
    """FORWARD_CREDITS=issued asks for our very tag; a net of zero or less is never sent."""
    credit = Credit("1", "2", gross, fee, NOW, tags)
    assert credit.disposition(only_issued=only_issued) == disposition
