"""The rule between a lost answer and a double payment, as a table of what is known and what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.lineage import Adopt, AskWhy, Judgement, Replace, Send, Sighting, Wait, judge
from payments.note import note
from payments.transfer import BankTransfer
from tests.payments.builders import at_bank

R1 = 1
R2 = 2
DUPLICATED = ("Duplicated transfer",)
EMPTY = ("Insufficient balance",)


def seen(bank_id: str, status: str, errors: tuple[str, ...] | None = None, generation: int = R1) -> Sighting:
    """What our books know of one of the bank's transfers."""
    there = at_bank(bank_id, generation=generation)
    return Sighting(bank_id, there.external_id, status, errors)


def shown(bank_id: str, status: str, generation: int = R1) -> BankTransfer:
    """What the bank's page shows."""
    return at_bank(bank_id, status, generation=generation)


def external_id(generation: int) -> str:
    """The id of the transfer that is judged."""
    return at_bank("", generation=generation).external_id


# What is judged · what our books know · what the page shows · what follows.
TABLE: dict[str, tuple[int, list[Sighting], list[BankTransfer], Judgement]] = {
    "nothing known, nothing shown: send": (R1, [], [], Send()),
    "created lives": (R1, [], [shown("A", "created")], Adopt(shown("A", "created"))),
    "processing lives": (R1, [], [shown("A", "processing")], Adopt(shown("A", "processing"))),
    "success lives": (R1, [], [shown("A", "success")], Adopt(shown("A", "success"))),
    "an unknown word of the bank counts as living": (
        R1,
        [],
        [shown("A", "resending")],
        Adopt(shown("A", "resending")),
    ),
    "a living one wins over a lost one": (
        R1,
        [seen("B", "failed", DUPLICATED)],
        [shown("B", "failed"), shown("A", "created")],
        Adopt(shown("A", "created")),
    ),
    "a living one wins although another is hidden": (
        R1,
        [seen("B", "created")],
        [shown("A", "created")],
        Adopt(shown("A", "created")),
    ),
    "an earlier generation that lives is adopted": (
        R2,
        [seen("B", "failed", DUPLICATED)],
        [shown("B", "failed"), shown("A", "processing")],
        Adopt(shown("A", "processing")),
    ),
    "of two that live the furthest is the truth": (
        R1,
        [],
        [shown("A", "created"), shown("B", "success"), shown("C", "processing")],
        Adopt(shown("B", "success")),
    ),
    "known but hidden: the page is not believed": (
        R1,
        [seen("A", "created")],
        [],
        Wait(note("hidden", id="A")),
    ),
    "lost but hidden: the page is not believed either": (
        R2,
        [seen("A", "failed", EMPTY)],
        [],
        Wait(note("hidden", id="A")),
    ),
    "one of two is hidden": (
        R2,
        [seen("A", "created"), seen("B", "failed", DUPLICATED)],
        [shown("B", "failed")],
        Wait(note("hidden", id="A")),
    ),
    "failed, and the reason is not known": (R1, [], [shown("A", "failed")], AskWhy(("A",))),
    "failed, seen without a reason": (R1, [seen("A", "failed")], [shown("A", "failed")], AskWhy(("A",))),
    "only the unexplained are asked about": (
        R2,
        [seen("A", "failed", EMPTY), seen("B", "failed", generation=R2)],
        [shown("A", "failed"), shown("B", "failed", R2)],
        AskWhy(("B",)),
    ),
    "canceled, and the reason is not known": (R1, [], [shown("A", "canceled")], AskWhy(("A",))),
    "a duplicate without its twin: the page is not believed": (
        R1,
        [seen("B", "failed", DUPLICATED)],
        [shown("B", "failed")],
        Wait(note("twin_hidden", id="B", external_id="{R1}")),
    ),
    "two duplicates are not each other's twin: the one they repeat is hidden": (
        R2,
        [seen("B", "failed", DUPLICATED), seen("C", "failed", DUPLICATED)],
        [shown("B", "failed"), shown("C", "failed")],
        Wait(note("twin_hidden", id="B", external_id="{R1}")),
    ),
    "a lost transfer of another generation is no twin": (
        R2,
        [seen("A", "failed", DUPLICATED), seen("B", "failed", EMPTY, R2)],
        [shown("A", "failed"), shown("B", "failed", R2)],
        Wait(note("twin_hidden", id="A", external_id="{R1}")),
    ),
    "a duplicate and its twin are both lost: the id is spent": (
        R1,
        [seen("A", "failed", EMPTY), seen("B", "failed", DUPLICATED)],
        [shown("B", "failed"), shown("A", "failed")],
        Replace(note("bank_says", words=["Duplicated transfer", "Insufficient balance"])),
    ),
    "two duplicates of one that is lost": (
        R2,
        [seen("A", "canceled", ()), seen("B", "failed", DUPLICATED), seen("C", "failed", DUPLICATED)],
        [shown("B", "failed"), shown("C", "failed"), shown("A", "canceled")],
        Send(),
    ),
    "failed for an empty account: the id is spent": (
        R1,
        [seen("A", "failed", EMPTY)],
        [shown("A", "failed")],
        Replace(note("bank_says", words=["Insufficient balance"])),
    ),
    "canceled without a word: the id is spent": (
        R1,
        [seen("A", "canceled", ())],
        [shown("A", "canceled")],
        Replace(note("bank_reports", status="canceled")),
    ),
    "the first is lost, the reissue is not there: send": (
        R2,
        [seen("A", "failed", EMPTY)],
        [shown("A", "failed")],
        Send(),
    ),
    "the reissue is lost too": (
        R2,
        [seen("A", "failed", EMPTY), seen("B", "failed", ("Blocked",), R2)],
        [shown("A", "failed"), shown("B", "failed", R2)],
        Replace(note("bank_says", words=["Blocked"])),
    ),
    "a page older than the news of a failure adopts nothing": (
        R2,
        [seen("A", "failed", EMPTY)],
        [shown("A", "created")],
        Send(),
    ),
    "a page older than the news, for the id itself": (
        R1,
        [seen("A", "failed", ())],
        [shown("A", "processing")],
        Replace(note("bank_reports", status="failed")),
    ),
    "success on the page outweighs an old failure in the books": (
        R2,
        [seen("A", "failed", EMPTY)],
        [shown("A", "success")],
        Adopt(shown("A", "success")),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_lineage_is_judged_by_what_is_known_and_what_is_shown(case: str) -> None:
    """Each row is one thing that can have happened between us and the bank."""
    generation, known, found, expected = TABLE[case]
    if isinstance(expected, Wait):
        expected = Wait(expected.reason.replace("{R1}", external_id(R1)))
    assert judge(external_id(generation), known, found) == expected


_statuses = st.sampled_from(["created", "processing", "success", "failed", "canceled", "odd"])
_errors = st.sampled_from([None, (), EMPTY, DUPLICATED])
_sightings = st.lists(
    st.builds(seen, st.sampled_from("ABCD"), _statuses, _errors, st.sampled_from([R1, R2])),
    unique_by=lambda sighting: sighting.bank_transfer_id,
    max_size=4,
)
_pages = st.lists(
    st.builds(shown, st.sampled_from("ABCD"), _statuses, st.sampled_from([R1, R2])),
    unique_by=lambda transfer: transfer.id,
    max_size=4,
)


@given(_sightings, _pages, st.sampled_from([R1, R2]))
def test_money_is_sent_only_when_all_that_exists_is_known_to_be_lost(
    known: list[Sighting], found: list[BankTransfer], generation: int
) -> None:
    """Whatever is known and shown: to send, or to put another in its place, takes proof about each one."""
    judgement = judge(external_id(generation), known, found)
    if not isinstance(judgement, Send | Replace):
        return
    lost = {sighting.bank_transfer_id for sighting in known if sighting.is_lost}
    assert all(transfer.is_lost or transfer.id in lost for transfer in found)
    assert not any(transfer.status == "success" for transfer in found)
    assert {sighting.bank_transfer_id for sighting in known} <= {transfer.id for transfer in found}
    reasons = {sighting.bank_transfer_id: sighting.errors for sighting in known}
    assert all(reasons[transfer.id] is not None for transfer in found)
    refused = {transfer.external_id for transfer in found if reasons[transfer.id] == DUPLICATED}
    originals = {transfer.external_id for transfer in found if reasons[transfer.id] != DUPLICATED}
    assert refused <= originals
    mine = [transfer for transfer in found if transfer.external_id == external_id(generation)]
    assert isinstance(judgement, Replace) == bool(mine)
