"""All transfers of one credit, judged together: may we send, must we adopt, or must we wait?

This is the rule that stands between a lost answer and a double payment. It is pure: it gets what the
database knows and what the bank has just shown, and decides. It never concludes anything from a missing answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from payments.note import bank_says, note
from payments.transfer import LOST_STATUSES, BankTransfer, says_duplicate


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the database knows of one of the bank's transfers, from events, answers and look-ups.

    ``errors`` is None while the bank has not said why it failed.
    """

    bank_transfer_id: str
    external_id: str
    status: str
    errors: tuple[str, ...] | None

    @property
    def is_lost(self) -> bool:
        """True when the bank has reported that this one moves no money."""
        return self.status in LOST_STATUSES


@dataclass(frozen=True, slots=True)
class Send:
    """The bank has nothing of this external_id and every earlier transfer is lost: sending is safe."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """A transfer of this lineage lives at the bank: it is the one, and nothing may be sent."""

    found: BankTransfer


@dataclass(frozen=True, slots=True)
class Replace:
    """This external_id is spent at the bank, and nothing of the lineage lives: a reissue may follow."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskWhy:
    """Failed transfers whose reason is not known yet; their logs must be read before anything is concluded."""

    bank_transfer_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """The look-up contradicts what we know, so it proves nothing. Do nothing now; look again later."""

    reason: str


Judgement = Send | Adopt | Replace | AskWhy | Wait


def judge(external_id: str, known: Sequence[Sighting], found: Sequence[BankTransfer]) -> Judgement:
    """Decide about the transfer ``external_id`` from its lineage.

    ``known``: every sighting of the lineage in the database. ``found``: every transfer of the lineage that a
    *successful* look-up has just shown. A page that hides a transfer which the bank has reported, or whose
    existence it implies by refusing a duplicate, is not believed.
    """
    reported_lost = {sighting.bank_transfer_id: sighting.status for sighting in known if sighting.is_lost}
    found = [_as_reported(transfer, reported_lost) for transfer in found]
    living = [transfer for transfer in found if not transfer.is_lost]
    if living:
        # success before processing before created: if two live (never seen), the furthest is the truth
        return Adopt(max(living, key=lambda transfer: _PROGRESS.get(transfer.status, 0)))

    shown = {transfer.id for transfer in found}
    hidden = [sighting.bank_transfer_id for sighting in known if sighting.bank_transfer_id not in shown]
    if hidden:
        return Wait(note("hidden", id=hidden[0]))

    reasons = {sighting.bank_transfer_id: sighting.errors for sighting in known}
    unexplained = tuple(transfer.id for transfer in found if reasons.get(transfer.id) is None)
    if unexplained:
        return AskWhy(unexplained)

    # Two that were refused as duplicates are not each other's twin: the one that they repeat was not refused so.
    originals = {transfer.external_id for transfer in found if not says_duplicate(reasons[transfer.id] or ())}
    for transfer in found:
        if says_duplicate(reasons[transfer.id] or ()) and transfer.external_id not in originals:
            return Wait(note("twin_hidden", id=transfer.id, external_id=transfer.external_id))

    mine = [transfer for transfer in found if transfer.external_id == external_id]
    if not mine:
        return Send()
    reasons_given = [error for transfer in mine for error in reasons[transfer.id] or ()]
    return Replace(bank_says(reasons_given, mine[-1].status))


def _as_reported(transfer: BankTransfer, reported_lost: dict[str, str]) -> BankTransfer:
    """The transfer with the status that its events have reported, where the page is older than they are."""
    if transfer.status in _UNDER_WAY and transfer.id in reported_lost:
        return replace(transfer, status=reported_lost[transfer.id])
    return transfer


_UNDER_WAY = ("created", "processing")
_PROGRESS = {"created": 1, "processing": 2, "success": 3}
