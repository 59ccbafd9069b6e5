"""What an operator's list is narrowed to, and the words by which a payer is looked for. Reads only.

A filter that no index serves is compared with every row: of a hundred thousand in some 20 ms.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, false, or_, select

from payments.invoice import searchable
from payments.storage.schema import credits, invoices
from payments.tax_id import hash_tax_id, read_tax_id

# What a column holds.
CENTAVOS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """Narrows a list; None: not by that. From ``since`` on and before ``until``.

    ``payer`` is a part of a name, or a whole tax id, for which ``tax_id_key`` is needed. ``batch_id`` is of invoices,
    ``who`` the whole name of who acted.
    """

    since: datetime | None = None
    until: datetime | None = None
    amount_centavos: int | None = None
    payer: str | None = None
    tax_id_key: bytes = field(default=b"", repr=False)
    batch_id: int | None = None
    who: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves anything out; a key by itself does not."""
        return replace(self, tax_id_key=b"") != NO_FILTER

    def is_within(self, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
        """The conditions on the time of a row."""
        return [
            *([] if self.since is None else [at >= self.since]),
            *([] if self.until is None else [at < self.until]),
        ]

    def has_amount(self, *amounts: ColumnElement[int]) -> list[ColumnElement[bool]]:
        """The conditions on the amounts of a row, one of which is to be it."""
        if self.amount_centavos is None:
            return []
        if not 0 <= self.amount_centavos <= CENTAVOS_MAX:
            return [false()]
        return [or_(*(amount == self.amount_centavos for amount in amounts))]

    def has_payer(self, invoice_id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """The conditions on whose invoice a row is about."""
        if self.payer is None:
            return []
        of_payer: Select[tuple[str]] = select(invoices.c.bank_invoice_id).where(
            _payer_is(self.payer, self.tax_id_key), invoices.c.bank_invoice_id.is_not(None)
        )
        return [invoice_id.in_(of_payer)]


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class Totals:
    """How many rows a filter leaves, and their centavos: gross where there is a fee."""

    number: int
    centavos: int
    fee_centavos: int = 0

    @property
    def net_centavos(self) -> int:
        """Without the bank's fees."""
        return self.centavos - self.fee_centavos


def is_of_payer(text: str, tax_id_key: bytes) -> ColumnElement[bool]:
    """The condition for invoices of a payer, compared in the index by payer."""
    return invoices.c.id.in_(select(invoices.c.id).where(_payer_is(text, tax_id_key)))


def _payer_is(text: str, tax_id_key: bytes) -> ColumnElement[bool]:
    """The condition for invoices of a payer: by a whole tax id, or by every word of a part of the name."""
    if tax_id := read_tax_id(text):
        hashed = hash_tax_id(tax_id_key, tax_id)
        return invoices.c.payer_tax_id_hash == hashed if hashed else false()
    words = searchable(text).split()
    if not words:
        return false()
    return and_(*(invoices.c.payer_search.contains(word, autoescape=True) for word in words))


def has_gross_or_net(where: Filter) -> list[ColumnElement[bool]]:
    """The conditions on the amount of a credit, from columns that the index by time holds."""
    return where.has_amount(credits.c.gross_centavos, credits.c.gross_centavos - credits.c.fee_centavos)
