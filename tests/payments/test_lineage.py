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
# What the bank said of a loss, in the table below; "-" stands for no word at all.
WORDS = {"DUPLICATED": DUPLICATED, "EMPTY": EMPTY, "BLOCKED": ("Blocked",), "-": ()}


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


# What is judged · what our books know · what the page shows · what follows. A bank's transfer is a letter; it is of the
# first generation unless it says r2, and the reason of a loss is not known unless one is named.
TABLE: dict[str, tuple[int, str, str, str]] = {
    "nothing known, nothing shown: send": (R1, "", "", "send"),
    "created lives": (R1, "", "A created", "adopt A"),
    "processing lives": (R1, "", "A processing", "adopt A"),
    "success lives": (R1, "", "A success", "adopt A"),
    "an unknown word of the bank counts as living": (R1, "", "A resending", "adopt A"),
    "a living one wins over a lost one": (R1, "B failed DUPLICATED", "B failed, A created", "adopt A"),
    "a living one wins although another is hidden": (R1, "B created", "A created", "adopt A"),
    "an earlier generation that lives is adopted": (
        *(R2, "B failed DUPLICATED", "B failed, A processing", "adopt A"),
    ),
    "of two that live the furthest is the truth": (R1, "", "A created, B success, C processing", "adopt B"),
    "known but hidden: the page is not believed": (R1, "A created", "", "wait hidden A"),
    "lost but hidden: the page is not believed either": (R2, "A failed EMPTY", "", "wait hidden A"),
    "one of two is hidden": (R2, "A created, B failed DUPLICATED", "B failed", "wait hidden A"),
    "failed, and the reason is not known": (R1, "", "A failed", "ask A"),
    "failed, seen without a reason": (R1, "A failed", "A failed", "ask A"),
    "only the unexplained are asked about": (
        *(R2, "A failed EMPTY, B failed r2", "A failed, B failed r2", "ask B"),
    ),
    "canceled, and the reason is not known": (R1, "", "A canceled", "ask A"),
    "a duplicate without its twin: the page is not believed": (
        *(R1, "B failed DUPLICATED", "B failed", "wait twin_hidden B"),
    ),
    "two duplicates are not each other's twin: the one they repeat is hidden": (
        *(R2, "B failed DUPLICATED, C failed DUPLICATED", "B failed, C failed", "wait twin_hidden B"),
    ),
    "a lost transfer of another generation is no twin": (
        *(R2, "A failed DUPLICATED, B failed EMPTY r2", "A failed, B failed r2", "wait twin_hidden A"),
    ),
    "a duplicate and its twin are both lost: the id is spent": (
        *(R1, "A failed EMPTY, B failed DUPLICATED", "B failed, A failed", "replace DUPLICATED EMPTY"),
    ),
    "two duplicates of one that is lost": (
        *(
            R2,
            "A canceled -, B failed DUPLICATED, C failed DUPLICATED",
            "B failed, C failed, A canceled",
            "send",
        ),
    ),
    "failed for an empty account: the id is spent": (R1, "A failed EMPTY", "A failed", "replace EMPTY"),
    "canceled without a word: the id is spent": (R1, "A canceled -", "A canceled", "replace canceled"),
    "the first is lost, the reissue is not there: send": (R2, "A failed EMPTY", "A failed", "send"),
    "the reissue is lost too": (
        *(R2, "A failed EMPTY, B failed BLOCKED r2", "A failed, B failed r2", "replace BLOCKED"),
    ),
    "a page older than the news of a failure adopts nothing": (R2, "A failed EMPTY", "A created", "send"),
    "a page older than the news, for the id itself": (R1, "A failed -", "A processing", "replace failed"),
    "success on the page outweighs an old failure in the books": (
        R2,
        "A failed EMPTY",
        "A success",
        "adopt A",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_lineage_is_judged_by_what_is_known_and_what_is_shown(case: str) -> None:
    """Each row is one thing that can have happened between us and the bank."""
    generation, known, found, expected = TABLE[case]
    page = [shown(bank_id, status, R2 if rest else R1) for bank_id, status, *rest in entries(found)]
    sightings = [
        seen(
            bank_id, status, WORDS.get(" ".join(rest).removesuffix("r2").strip()), R2 if "r2" in rest else R1
        )
        for bank_id, status, *rest in entries(known)
    ]
    assert judge(external_id(generation), sightings, page) == judgement(expected, page)


def entries(text: str) -> list[list[str]]:
    """The words of each of the transfers that a cell of the table names."""
    return [entry.split() for entry in text.split(", ") if entry]


def judgement(text: str, page: list[BankTransfer]) -> Judgement:
    """What a line of the table says that follows."""
    match text.split():
        case ["send"]:
            return Send()
        case ["adopt", bank_id]:
            return Adopt(next(transfer for transfer in page if transfer.id == bank_id))
        case ["ask", bank_id]:
            return AskWhy((bank_id,))
        case ["wait", "hidden", bank_id]:
            return Wait(note("hidden", id=bank_id))
        case ["wait", code, bank_id]:
            return Wait(note(code, id=bank_id, external_id=external_id(R1)))
        case ["replace", *words] if words[0] in WORDS:
            return Replace(note("bank_says", words=[text for word in words for text in WORDS[word]]))
        case ["replace", status]:
            return Replace(note("bank_reports", status=status))
    raise AssertionError(text)


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
