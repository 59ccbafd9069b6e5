"""Invoices as we ask for them: a batch of payers and amounts, planned before anything is sent.

The bank has no idempotency key for invoices, so tags are the only way to recognise our own later.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Every invoice that this program issues carries this tag; FORWARD_CREDITS=issued looks for it.
ISSUED_TAG = "repasse"


class InvoiceState(StrEnum):
    """Where an invoice is, as far as the bank has reported. Documented: facts sheet 4.3 and 4.4."""

    PLANNED = "planned"  # ours, and not at the bank as far as we know
    OPEN = "open"  # issued, and not paid
    OVERDUE = "overdue"  # its due date passed; it may still be paid
    EXPIRED = "expired"  # it can no longer be paid
    CANCELED = "canceled"
    PAID = "paid"  # by its payer; the money is not in the account yet
    CREDITED = "credited"  # the money is in the account


# The states that the bank's own words lead to; it calls an open invoice "created".
STATE_OF_STATUS = {
    "created": InvoiceState.OPEN,
    "overdue": InvoiceState.OVERDUE,
    "expired": InvoiceState.EXPIRED,
    "canceled": InvoiceState.CANCELED,
    "paid": InvoiceState.PAID,
}


@dataclass(frozen=True, slots=True)
class Payer:
    """A fictitious person or company on an invoice. ``tax_id`` is a formatted CPF or CNPJ with valid digits."""

    name: str
    tax_id: str


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """One invoice to create. ``tags``: ours, the batch's, its own, all in lower case as the bank keeps them."""

    amount_centavos: int
    payer: Payer
    tags: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The tag that only this invoice carries."""
        return self.tags[-1]


@dataclass(frozen=True, slots=True)
class BankInvoice:
    """An invoice as the bank reports it."""

    id: str
    status: str
    amount_centavos: int
    tags: tuple[str, ...]
    created_at: datetime | None = None
    due_at: datetime | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceReport:
    """What the bank says of an invoice, ours or another system's, as of ``reported_at``. None where it does not say.

    ``payer_tax_id`` is whole; ``due_at`` is the end of the day where the bank gives a day; ``payer_end_to_end_id`` is
    that of the Pix by which it was paid.
    """

    invoice_id: str
    state: InvoiceState
    amount_centavos: int
    reported_at: datetime
    payer_name: str | None = None
    payer_tax_id: str | None = None
    tags: tuple[str, ...] = ()
    issued_at: datetime | None = None
    due_at: datetime | None = None
    paid_at: datetime | None = None
    link: str | None = None
    payer_end_to_end_id: str | None = None


_TAG_SHAPE = re.compile(r"[a-z0-9-]+")


def order_invoices(batch_tag: str, plan: list[tuple[Payer, int]]) -> list[InvoiceOrder]:
    """Turn planned payers and amounts into orders, each with the tags by which it is found again.

    Raises ValueError when ``batch_tag`` has capitals or signs that the bank would change.
    """
    if not _TAG_SHAPE.fullmatch(batch_tag):
        raise ValueError(f"batch tag {batch_tag!r} must be lower-case letters, digits and dashes")
    return [
        InvoiceOrder(amount, payer, (ISSUED_TAG, batch_tag, f"{batch_tag}-{position:02d}"))
        for position, (payer, amount) in enumerate(plan, start=1)
    ]


def is_ours(tags: tuple[str, ...] | list[str]) -> bool:
    """Whether an invoice was issued by this program (in any of its deployments)."""
    return ISSUED_TAG in tags


def searchable(name: str) -> str:
    """A name without accents, capitals and needless spaces, as it is stored for search and as a search is compared."""
    parts = unicodedata.normalize("NFKD", name)
    return " ".join("".join(sign for sign in parts if not unicodedata.combining(sign)).casefold().split())


# Observed: a paid invoice carries it as a tag, in lower case: "e", the payer's bank (8 digits), the time, 11 signs.
_END_TO_END_ID = re.compile(r"e[0-9]{8}[0-9]{12}[0-9a-z]{11}", re.IGNORECASE)


def end_to_end_id(text: str) -> str | None:
    """The end-to-end id of a Pix, in capitals, if the text is one."""
    return text.upper() if _END_TO_END_ID.fullmatch(text) else None
