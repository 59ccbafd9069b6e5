"""What is forwarded, by the operator's settings."""

import pytest

from payments.credit import Credit
from tests.payments.builders import NOW, a_policy


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
    policy = a_policy(only_issued=only_issued)
    assert policy.disposition(Credit("1", "2", gross, fee, NOW, tags)) == disposition
