"""Files that the bank answers with: the QR code of a BR code in PNG, and the PDFs of invoices and receipts.

A PDF is written by hand, one page of text lines and at most one QR code, so that no library is needed for it; the QR
code comes from segno, imported only when one is asked for. Which PDFs exist is documented; what is on them is a guess.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from emulator.books.formats import reais
from emulator.books.refusal import Refusal
from emulator.books.table import Row

# Documented: one to fifty pixels for each box of the code, seven by default.
BOX_PIXELS = 7
MOST_BOX_PIXELS = 50
# Documented by ISO 18004: readers expect four empty boxes around the code.
_QUIET_BOXES = 4
# A4, in points.
_WIDTH, _HEIGHT = 595, 842


@dataclass(frozen=True)
class Document:
    """An answer that is a file and not JSON."""

    content: bytes
    media_type: str


def qr_code(text: str, box_pixels: int = BOX_PIXELS) -> Document:
    """The text as a QR code in PNG."""
    import segno

    # Guess: the level of error correction; M is what Pix issuers commonly print.
    output = io.BytesIO()
    code = segno.make(text, micro=False, error="m", boost_error=False)
    code.save(output, kind="png", scale=box_pixels, border=_QUIET_BOXES)
    return Document(output.getvalue(), "image/png")


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


def pdf(title: str, lines: list[tuple[str, str]], qr_text: str | None = None) -> Document:
    """A one-page PDF: a title, lines of name and value, and a QR code if there is a text for it."""
    # Documented: it is a PDF and, for an invoice, has the QR code.
    drawn = [_text(50, 780, 18, title), _text(50, 756, 9, "Emulator: this is a test, not a bank's document")]
    height = 720
    for name, value in lines:
        drawn += [_text(50, height, 10, name), _text(190, height, 10, value[:70])]
        height -= 18
    if qr_text is not None:
        drawn.append(_drawn_code(qr_text, 50, 90))
        drawn += [
            _text(50, 78 - 10 * row, 7, qr_text[start : start + 110])
            for row, start in enumerate(range(0, len(qr_text), 110))
        ]
    return Document(_file("\n".join(drawn).encode("ascii")), "application/pdf")


def _text(x: int, y: int, size: int, text: str) -> str:
    # Windows' code page has every letter of Portuguese; what it lacks becomes a question mark. As octal, so
    # that no byte of the text can mean something to a PDF reader.
    octal = "".join(f"\\{byte:03o}" for byte in text.encode("cp1252", "replace"))
    return f"BT /F1 {size} Tf {x} {y} Td ({octal}) Tj ET"


def _drawn_code(text: str, x: int, y: int) -> str:
    import segno

    matrix = segno.make(text, micro=False, error="m", boost_error=False).matrix
    box = 180 / len(matrix)
    dark = [
        f"{x + column * box:.3f} {y + (len(matrix) - 1 - row) * box:.3f} {box:.3f} {box:.3f} re"
        for row, boxes in enumerate(matrix)
        for column, is_dark in enumerate(boxes)
        if is_dark
    ]
    return "0 g\n" + "\n".join(dark) + "\nf"


def _file(drawing: bytes) -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_WIDTH} {_HEIGHT}] "
        "/Resources << /Font << /F1 4 0 R >> >> /Contents 5 0 R >>".encode("ascii"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
    ]
    output = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(output))
        output += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        output += b"%010d 00000 n \n" % place
    output += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(output)
