"""A transfer: our instruction to send a credit's net to the destination, and the states it passes.

The external_id is derived from the invoice, never random: it is what makes a repeat harmless at the
bank, across crashes, machines and deployments. Pure; knows no SQL, SDK or clock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from payments.note import note

# Documented: OAS, POST /v2/transfer takes at most 100 elements.
TRANSFERS_PER_CALL_MAX = 100


class TransferState(StrEnum):
    """Where a transfer is, in our database."""

    PENDING = "pending"  # to be sent when due; no process holds it
    SENDING = "sending"  # claimed until its lease ends; the bank may or may not have it
    SENT = "sent"  # the bank has accepted it under an id; not paid yet
    SETTLED = "settled"  # the bank reports success: the money is at the destination
    FAILED = "failed"  # the bank reports failure or cancellation: this external_id is spent
    DEAD = "dead"  # only a person may move it
    STOPPED = "stopped"  # withdrawn before the bank had it: its credit was reversed, or an earlier one lives


# A lineage may have many transfers but only one that is live.
LIVE_STATES = frozenset(
    {
        TransferState.PENDING,
        TransferState.SENDING,
        TransferState.SENT,
        TransferState.SETTLED,
        TransferState.DEAD,
    }
)


# From where a transfer may come into each state; any other change is a bug.
ORIGINS: dict[TransferState, frozenset[str]] = {
    TransferState.PENDING: frozenset({TransferState.SENDING, TransferState.DEAD}),  # given back; retried
    TransferState.SENDING: frozenset(
        {TransferState.PENDING, TransferState.SENDING}
    ),  # claimed; its lease ran out
    # accepted; or found alive at the bank after it had been given up for a later one
    TransferState.SENT: frozenset({TransferState.SENDING, TransferState.FAILED, TransferState.STOPPED}),
    TransferState.SETTLED: frozenset(TransferState) - {TransferState.SETTLED},  # the money has moved
    TransferState.FAILED: frozenset({TransferState.SENDING, TransferState.SENT}),
    TransferState.DEAD: frozenset({TransferState.PENDING, TransferState.SENDING, TransferState.SENT}),
    TransferState.STOPPED: frozenset({TransferState.PENDING, TransferState.SENDING, TransferState.DEAD}),
}


class BankStatus(StrEnum):
    """The bank's own words for a transfer. (Documented: facts sheet 5.2.)"""

    CREATED = "created"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


LOST_STATUSES = frozenset({BankStatus.FAILED, BankStatus.CANCELED})


@dataclass(frozen=True, slots=True)
class Destination:
    """The one account that every credit is forwarded to."""

    bank_code: str
    branch_code: str
    account_number: str
    account_type: str
    name: str
    tax_id: str


def lineage_for(invoice_id: str) -> str:
    """The tag that every transfer of one credit carries.

    Never ``invoice-<id>``: the bank's own ledger takes that external_id. (Observed: facts sheet 5.3.)
    """
    return f"credit-{invoice_id}"


def external_id_for(invoice_id: str, generation: int) -> str:
    """Our idempotency key at the bank: ``credit-<invoice id>``, then ``...-r2``, ``-r3`` for reissues.

    No two transfers share one: an invoice id has no dash (event.py), so ``-r2`` can only be a reissue's.
    """
    return lineage_for(invoice_id) if generation == 1 else f"{lineage_for(invoice_id)}-r{generation}"


# More than nine digits are no generation of ours, nor do they fit a column.
_EXTERNAL_ID = re.compile(r"credit-([A-Za-z0-9]+)(?:-r([0-9]{1,9}))?\Z")


def read_external_id(external_id: str) -> tuple[str, int] | None:
    """The invoice id and generation that an external_id of ours stands for; None when it is not one of ours."""
    found = _EXTERNAL_ID.match(external_id)
    return None if found is None else (found[1], int(found[2] or 1))


@dataclass(frozen=True, slots=True)
class TransferOrder:
    """One transfer to send. The bank can be asked by tag only, so everything we look for is a tag."""

    external_id: str
    lineage: str
    amount_centavos: int
    destination: Destination
    call_tag: str

    @property
    def tags(self) -> tuple[str, ...]:
        """Lineage, external_id and call, without repeats, in lower case as the bank keeps them."""
        return tuple(dict.fromkeys((self.lineage, self.external_id, self.call_tag)))


@dataclass(frozen=True, slots=True)
class BankTransfer:
    """A transfer as the bank reports it."""

    id: str
    external_id: str
    status: str
    amount_centavos: int
    bank_code: str
    branch_code: str
    account_number: str
    tax_id: str
    tags: tuple[str, ...]

    @property
    def is_lost(self) -> bool:
        """True when the bank reports that this one moves no money."""
        return self.status in LOST_STATUSES


@dataclass(frozen=True, slots=True)
class BankReport:
    """What one transfer log says: the transfer as of then, the log's type, and the bank's reasons if it failed."""

    log_id: str
    log_type: str
    transfer: BankTransfer
    errors: tuple[str, ...]
    happened_at: datetime

    @property
    def is_lost(self) -> bool:
        """True when the bank reports that this transfer moves no money."""
        return self.transfer.status in LOST_STATUSES or self.log_type in LOST_STATUSES


def difference(found: BankTransfer, amount_centavos: int, destination: Destination) -> str | None:
    """A note of how a found transfer differs from what we ordered; None when it is the same.

    The same id with other content is never a harmless repeat, so a difference is never adopted.
    """
    pairs = (
        ("amount", str(found.amount_centavos), str(amount_centavos)),
        # How the bank writes these back is known for the tax id only, so punctuation and leading zeros do not count.
        ("bank", _bare(found.bank_code), _bare(destination.bank_code)),
        ("branch", _bare(found.branch_code), _bare(destination.branch_code)),
        ("account", _bare(found.account_number), _bare(destination.account_number)),
        ("tax_id", _bare(found.tax_id), _bare(destination.tax_id)),
    )
    differing = [name for name, there, here in pairs if there != here]
    return note("differs", id=found.id, fields=differing) if differing else None


def says_duplicate(errors: Sequence[str]) -> bool:
    """Whether a failure means that another transfer with the same external_id exists.

    Observed: ``Duplicated transfer`` (facts sheet 5.3, three independent projects).
    """
    return any("duplic" in error.lower() for error in errors)


def retry_delay(attempt: int, base_seconds: float, max_seconds: float) -> timedelta:
    """How long to wait before the same transfer is tried again: base, doubled each time, up to max."""
    return timedelta(seconds=min(max_seconds, base_seconds * 2.0 ** min(attempt - 1, 30)))


def reissue_delay(generation: int, base_seconds: float, max_seconds: float) -> timedelta:
    """How long to wait before generation ``generation`` (2, 3, ...) replaces a failed transfer.

    Each wait is eight times the last, up to twelve times the longest retry: with the defaults 40 s,
    5 min, 43 min, 6 h, 12 h, 12 h. Six reissues so outlast a destination that is blocked for a day,
    while an account that is empty for a minute costs a minute.
    """
    return timedelta(seconds=min(12 * max_seconds, base_seconds * 8.0 ** min(generation - 1, 20)))


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).upper().lstrip("0")
