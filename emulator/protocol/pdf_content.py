"""What stands on the bank's papers: an invoice to pay, the receipt of a transfer, the receipt of a reversal.

Words only; `documents` draws them. Guess throughout: documented is only which papers there are.
"""

from __future__ import annotations

from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.protocol.documents import Document, paper


def invoice_paper(row: Row) -> Document:
    """An invoice, with its QR code."""
    lines = [
        ("Payer", f"{row['name']}  {row['taxId']}"),
        ("Amount", _reais(row["amount"])),
        ("Due", row["due"]),
        ("Status", row["status"]),
        ("Invoice", row["id"]),
        *((line["key"], line["value"]) for line in row["descriptions"]),
    ]
    return paper("Invoice", lines, row["brcode"])


def transfer_paper(row: Row) -> Document:
    """The receipt of a transfer."""
    account = f"{row['bankCode']}  {row['branchCode']}  {row['accountNumber']}"
    lines = [
        ("Receiver", f"{row['name']}  {row['taxId']}"),
        ("Account", account),
        ("Amount", _reais(row["amount"])),
        ("Description", row["description"]),
        ("Status", row["status"]),
        ("Created", row["created"]),
        ("Transfer", row["id"]),
        *(("Transaction", each) for each in row["transactionIds"]),
    ]
    return paper("Transfer receipt", lines)


def reversal_paper(log: Row, entity: str, code: str) -> Document:
    """The receipt of a reversal; only a log of type reversed has one."""
    # Documented: "whenever it is successfully reversed, a reversed log will be created", whose PDF this is.
    # Guess: the code for other logs.
    if log["type"] != "reversed":
        raise Refusal.of(code, f"Log {log['id']} of type {log['type']} has no PDF; only reversed ones have")
    row = log[entity]
    lines = [
        ("Payer", f"{row['name']}  {row['taxId']}"),
        ("Left after reversal", _reais(row["amount"])),
        ("Reversed", log["created"]),
        (entity.capitalize(), row["id"]),
        ("Log", log["id"]),
        *(("Transaction", each) for each in row["transactionIds"]),
    ]
    return paper("Reversal receipt", lines)


def _reais(centavos: int) -> str:
    text = f"{centavos / 100:,.2f}" if centavos < 10**15 else str(centavos)
    return "R$ " + text.translate(str.maketrans(",.", ".,"))
