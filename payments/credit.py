"""A credit: the fact that an invoice's money arrived in our account. Pure; knows no SQL, SDK or clock.

An invoice's *status* never becomes "credited"; only a log of that type says so, and only that log
carries the real fee. (Documented and observed: facts sheet, the ten facts, 1 and 2.)
"""

from dataclasses import dataclass
from datetime import datetime

from payments.invoice import is_ours


@dataclass(frozen=True, slots=True)
class Credit:
    """What one ``credited`` invoice log says. Amounts in centavos; ``credited_at`` is the log's own time, UTC."""

    invoice_id: str
    log_id: str
    gross_centavos: int
    fee_centavos: int
    credited_at: datetime
    tags: tuple[str, ...]

    @property
    def net_centavos(self) -> int:
        """What is to be forwarded. Zero or less means nothing: whether a fee can exceed a tiny invoice is unknown."""
        return self.gross_centavos - self.fee_centavos

    def disposition(self, *, only_issued: bool) -> str:
        """What is to become of it: ``forward``, ``nothing_to_forward`` or ``not_ours``.

        ``only_issued``: forward only credits of invoices that carry our tag.
        """
        if only_issued and not is_ours(self.tags):
            return "not_ours"
        return "forward" if self.net_centavos > 0 else "nothing_to_forward"


@dataclass(frozen=True, slots=True)
class Reversal:
    """The bank gave money of a credited invoice back to its payer.

    ``remaining_centavos`` is the invoice's amount afterwards: 0 when all of it was reversed.
    """

    invoice_id: str
    log_id: str
    remaining_centavos: int
    reversed_at: datetime


def owed_centavos(net: int, fee: int, remaining: int | None) -> int:
    """What is to be forwarded of a credit when ``remaining`` of its invoice is left by reversals (None: none).

    Never more than the net, never below zero: the fee stays ours to bear.
    """
    return net if remaining is None else max(0, min(net, remaining - fee))
