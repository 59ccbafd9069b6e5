"""Invoices as we ask for them: a batch of payers and amounts, planned before anything is sent.

The bank has no idempotency key for invoices, so tags are the only way to recognise our own later.
"""

import re
from dataclasses import dataclass
from datetime import datetime

# Every invoice that this program issues carries this tag; FORWARD_CREDITS=issued looks for it.
ISSUED_TAG = "repasse"


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
