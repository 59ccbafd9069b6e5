"""Transfers: their names at the bank, what counts as the same, and how long we wait."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.note import note
from payments.transfer import (
    LIVE_STATES,
    TransferOrder,
    TransferState,
    difference,
    external_id_for,
    lineage_for,
    read_external_id,
    reissue_delay,
    retry_delay,
    says_duplicate,
)
from tests.payments.builders import DESTINATION, a_policy, at_bank


def test_the_external_id_is_derived_from_the_invoice_and_the_generation() -> None:
    """A crash, another machine or another deployment must arrive at the same one."""
    assert [external_id_for("77", generation) for generation in (1, 2, 3)] == [
        "credit-77",
        "credit-77-r2",
        "credit-77-r3",
    ]


# The bank's are numbers; some that a reissue could be taken for, and some that only look a little like one.
_INVOICES = st.from_regex(r"[A-Za-z0-9]{1,64}", fullmatch=True)


@given(st.lists(st.tuples(_INVOICES, st.integers(1, 99)), unique=True, max_size=30))
def test_no_two_transfers_share_an_external_id(keys: list[tuple[str, int]]) -> None:
    """Invoices are numbered by the bank, generations by us."""
    assert len({external_id_for(*key) for key in keys}) == len(keys)


@given(_INVOICES, st.integers(1, 99))
def test_an_external_id_is_read_back(invoice_id: str, generation: int) -> None:
    """It names one invoice and one generation."""
    assert read_external_id(external_id_for(invoice_id, generation)) == (invoice_id, generation)


@pytest.mark.parametrize(
    "external_id",
    ["", "credit-", "credit-5-r", "credit-5-r12345678901234567890", "credit-5-r2-r3", "invoice-5"],
)
def test_an_external_id_that_is_not_ours_names_nothing(external_id: str) -> None:
    """Another program's transfers use ids of their own."""
    assert read_external_id(external_id) is None


def test_a_reissue_is_found_by_its_lineage_its_id_and_its_call() -> None:
    """The bank can be asked by tag only; a repeated tag is said once."""
    first = TransferOrder("credit-7", "credit-7", 100, DESTINATION, "call-1")
    second = TransferOrder("credit-7-r2", "credit-7", 100, DESTINATION, "call-2")
    assert first.tags == ("credit-7", "call-1")
    assert second.tags == ("credit-7", "credit-7-r2", "call-2")


def test_one_transfer_of_a_lineage_is_live_at_a_time_and_only_lost_ones_are_not() -> None:
    """A dead one is live: it still owes the money, and nothing may replace it but a person."""
    assert set(TransferState) - LIVE_STATES == {TransferState.FAILED, TransferState.STOPPED}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"amount_centavos": 48_661}, "amount"),
        ({"bank_code": "60701190"}, "bank"),
        ({"branch_code": "0002"}, "branch"),
        ({"account_number": "1"}, "account"),
        ({"tax_id": "529.982.247-25"}, "tax_id"),
    ],
)
def test_a_found_transfer_with_other_content_is_not_the_one_we_ordered(
    changes: dict[str, Any], word: str
) -> None:
    """The same id with other content is never a harmless repeat."""
    said = difference(at_bank("A", **changes), 48_662, DESTINATION)
    assert said == note("differs", id="A", fields=[word])


def test_every_difference_is_named() -> None:
    """A person sees immediately that it is another payment altogether."""
    said = difference(at_bank("A", amount=1, tax_id="0", branch_code=""), 2, DESTINATION)
    assert said == note("differs", id="A", fields=["amount", "branch", "tax_id"])


@pytest.mark.parametrize("tax_id", ["20.018.183/0001-80", "20018183000180"])
def test_a_tax_id_is_the_same_with_and_without_its_signs(tax_id: str) -> None:
    """The bank formats tax ids whichever way they were sent."""
    assert difference(at_bank("A", tax_id=tax_id), 48_662, DESTINATION) is None


@pytest.mark.parametrize(
    ("errors", "duplicate"),
    [
        (("Duplicated transfer",), True),
        (("duplicate externalId",), True),
        (("x", "DUPLICATED"), True),
        (("Transferência duplicada",), True),
        (("Insufficient balance",), False),
        ((), False),
    ],
)
def test_the_bank_s_word_for_a_repeated_id_is_recognised(errors: tuple[str, ...], duplicate: bool) -> None:
    """It means that another transfer of this id exists, and may live."""
    assert says_duplicate(errors) is duplicate


def test_retries_double_up_to_the_longest_wait() -> None:
    """5 s, 10 s, 20 s ... and never beyond RETRY_MAX_SECONDS."""
    waits = [retry_delay(attempt, 5, 3600).total_seconds() for attempt in (1, 2, 3, 10, 11, 10_000)]
    assert waits == [5, 10, 20, 2560, 3600, 3600]


def test_the_six_reissues_of_the_default_outlast_a_day() -> None:
    """A destination that is blocked for a day costs no person's time; the first reissue comes in a minute."""
    policy = a_policy()
    waits = [
        reissue_delay(generation, policy.retry_base_seconds, policy.retry_max_seconds)
        for generation in range(2, policy.reissue_max + 2)
    ]
    assert waits[0] == timedelta(seconds=40)
    assert waits == sorted(waits)
    assert sum(waits, timedelta()) > timedelta(days=1)
    assert reissue_delay(10_000, 5, 3600) == timedelta(hours=12)


def test_the_lineage_is_the_first_external_id() -> None:
    """So a look-up by lineage finds the first transfer even where tags were added late."""
    assert lineage_for("7") == external_id_for("7", 1)
