"""The words of the bank's PDFs: an invoice to pay, the receipt of a transfer, the receipt of a reversal.

`documents` draws them. Guess throughout: only which PDFs exist is documented.
"""

from __future__ import annotations

from emulator.books.formats import reais
from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.protocol.documents import Document, pdf


def invoice_pdf(row: Row) -> Document:
    """An invoice, with its QR code."""
    lines = [
        ("Payer", f"{row['name']}  {row['taxId']}"),
        ("Amount", reais(row["amount"])),
        ("Due", row["due"]),
        ("Status", row["status"]),
        ("Invoice", row["id"]),
        *((line["key"], line["value"]) for line in row["descriptions"]),
    ]
    return pdf("Invoice", lines, row["brcode"])


def transfer_pdf(row: Row) -> Document:
    """The receipt of a transfer."""
    account = f"{row['bankCode']}  {row['branchCode']}  {row['accountNumber']}"
    lines = [
        ("Receiver", f"{row['name']}  {row['taxId']}"),
        ("Account", account),
        ("Amount", reais(row["amount"])),
        ("Description", row["description"]),
        ("Status", row["status"]),
        ("Created", row["created"]),
        ("Transfer", row["id"]),
        *(("Transaction", each) for each in row["transactionIds"]),
    ]
    return pdf("Transfer receipt", lines)


def reversal_pdf(log: Row, entity: str) -> Document:
    """The receipt of a reversal; only a log of type reversed has one."""
    # Documented: "whenever it is successfully reversed, a reversed log will be created", whose PDF this is.
    # Guess: the code for other logs.
    if log["type"] != "reversed":
        code = f"invalid{entity.capitalize()}Log"
        raise Refusal.of(code, f"Log {log['id']} of type {log['type']} has no PDF; only reversed ones have")
    row = log[entity]
    lines = [
        ("Payer", f"{row['name']}  {row['taxId']}"),
        ("Left after reversal", reais(row["amount"])),
        ("Reversed", log["created"]),
        (entity.capitalize(), row["id"]),
        ("Log", log["id"]),
        *(("Transaction", each) for each in row["transactionIds"]),
    ]
    return pdf("Reversal receipt", lines)
