"""QR codes that a reader reads, and PDFs that open."""

from __future__ import annotations

import io
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from pypdf import PdfReader

from emulator.books.formats import brcode
from emulator.protocol.documents import pdf, qr_code
from tests.emulator.conftest import INVOICE, TRANSFER

BRCODE = brcode("7c1e90a4b5d24f0e8a3b6d95c2f01e77")


def read(png: bytes) -> str:
    """What a reader sees in a picture."""
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)))
    return str(found.text)


def words(pdf: bytes) -> str:
    """The text of a PDF's one page."""
    (page,) = PdfReader(io.BytesIO(pdf), strict=True).pages
    return page.extract_text()


@pytest.mark.parametrize("box_pixels", [1, 7, 25, 50])
def test_a_reader_reads_the_qr_code_back_to_the_br_code(box_pixels: int) -> None:
    """A barcode reader finds the BR code in the PNG, at every size."""
    assert read(qr_code(BRCODE, box_pixels).content) == BRCODE


def test_size_is_the_pixels_of_each_box() -> None:
    """`size` scales each box, with the four quiet boxes around the code."""
    small, big = (Image.open(io.BytesIO(qr_code(BRCODE, size).content)) for size in (7, 14))
    assert (big.width, big.height) == (2 * small.width, 2 * small.height)
    assert small.width % 7 == 0
    # Four empty boxes on each side, without which some readers see nothing.
    dark = small.convert("L").point(lambda grey: 255 - grey).getbbox()
    assert dark == (28, 28, small.width - 28, small.height - 28)


def test_a_pdf_opens_with_accents_and_its_drawn_code_is_the_br_code() -> None:
    """A PDF reader finds the text, Portuguese letters included, and the BR code."""
    text = words(pdf("Invoice", [("Payer", "João Araújo (ção) \\ Ltda."), ("Odd", "日本")], BRCODE).content)
    assert "João Araújo (ção) \\ Ltda." in text
    assert "this is a test" in text
    assert BRCODE[:60] in text


def paid_and_reversed(signed: Any) -> dict[str, Any]:
    invoice: dict[str, Any] = signed.bank.create_invoices([INVOICE], signed.clock.now())[0]
    signed.bank.invoices.pay(invoice["id"], signed.clock.now())
    signed.advance(10)
    signed.call("PATCH", f"/v2/invoice/{invoice['id']}", {"amount": 100})
    signed.advance(10)
    return invoice


def file(signed: Any, path: str) -> tuple[bytes, str]:
    response = signed.client.get(path, headers=signed.headers())
    assert response.status_code == 200, response.text
    return response.content, response.headers["content-type"]


def test_an_invoice_has_a_qr_code_and_a_pdf(signed: Any) -> None:
    """Both files of an invoice are served with their media types."""
    invoice = signed.bank.create_invoices([INVOICE], signed.clock.now())[0]
    png, kind = file(signed, f"/v2/invoice/{invoice['id']}/qrcode?size=3")
    assert (read(png), kind) == (invoice["brcode"], "image/png")
    pdf, kind = file(signed, f"/v2/invoice/{invoice['id']}/pdf")
    assert kind == "application/pdf"
    assert "R$ 487,12" in words(pdf)


@pytest.mark.parametrize("size", ["0", "51", "-1", "x", "7.5"])
def test_a_qr_code_outside_1_to_50_is_refused(signed: Any, size: str) -> None:
    """`size` must be a whole number from 1 to 50."""
    invoice = signed.bank.create_invoices([INVOICE], signed.clock.now())[0]
    assert signed.code("GET", f"/v2/invoice/{invoice['id']}/qrcode?size={size}") == "invalidSize"


def test_the_link_of_an_invoices_pdf_is_public(signed: Any) -> None:
    """The address in `pdf` answers without a signature, and an unknown one is refused."""
    invoice = signed.bank.create_invoices([INVOICE], signed.clock.now())[0]
    path = invoice["pdf"].removeprefix("https://sandbox.api.starkbank.com")
    response = signed.client.get(path)
    assert response.status_code == 200
    assert "Marina Tavares" in words(response.content)
    assert signed.client.get("/v2/invoice/nobody.pdf").status_code == 400


@pytest.mark.parametrize("path", ["invoice/1/pdf", "invoice/1/qrcode"])
def test_an_unknown_invoice_has_no_files(signed: Any, path: str) -> None:
    """Files of an unknown invoice are refused like the invoice itself."""
    assert signed.code("GET", f"/v2/{path}") == "invalidInvoice"


def test_only_a_reversed_log_has_a_receipt(signed: Any) -> None:
    """A log of any other type has no PDF."""
    invoice = paid_and_reversed(signed)
    logs = {
        log["type"]: log["id"] for log in signed.get(f"/v2/invoice/log?invoiceIds={invoice['id']}")["logs"]
    }
    pdf, _ = file(signed, f"/v2/invoice/log/{logs['reversed']}/pdf")
    assert "R$ 1,00" in words(pdf)
    assert signed.code("GET", f"/v2/invoice/log/{logs['paid']}/pdf") == "invalidInvoiceLog"


def test_a_transfer_has_a_pdf_only_while_processing_and_after_success(signed: Any) -> None:
    """The receipt exists in `processing` and `success`, and in no other status."""
    transfer = signed.bank.create_transfers([TRANSFER], signed.clock.now())[0]
    path = f"/v2/transfer/{transfer['id']}/pdf"
    assert signed.code("GET", path) == "invalidTransfer"
    signed.advance(2.8)
    assert signed.get(f"/v2/transfer/{transfer['id']}")["transfer"]["status"] == "processing"
    file(signed, path)
    signed.advance(60)
    pdf, _ = file(signed, path)
    assert "success" in words(pdf)
    dear = signed.bank.create_transfers([{**TRANSFER, "amount": 10**9}], signed.clock.now())[0]
    signed.advance(60)
    assert signed.code("GET", f"/v2/transfer/{dear['id']}/pdf") == "invalidTransfer"
