"""Signed events for the benchmarks: each a credit of its own, of the size and shape of the bank's real ones."""

import base64
import json
from collections.abc import Iterator
from random import Random

from coincurve import PrivateKey

# Shaped as the facts sheet's recorded event, 1.5 kB; four values differ from event to event.
_BODY = json.dumps(
    {
        "event": {
            "created": "2026-03-02T15:10:49.941207+00:00",
            "id": "%(event)s",
            "log": {
                "created": "2026-03-02T15:10:49.337731+00:00",
                "errors": [],
                "id": "%(log)s",
                "invoice": {
                    "amount": 48712,
                    "brcode": "00020101021226890014br.gov.bcb.pix2567brcode-h.sandbox.starkinfra.com/v2/7c1e90a4"
                    "b5d24f0e8a3b6d95c2f01e775204000053039865802BR5925Stark Bank S.A. - Institu6009Sao Paulo"
                    "62070503***6304A289",
                    "created": "2026-03-02T15:00:04.118204+00:00",
                    "descriptions": [],
                    "discountAmount": 0,
                    "discounts": [],
                    "displayDescription": "",
                    "due": "2026-03-04T15:00:04.101877+00:00",
                    "expiration": 5097600,
                    "fee": 50,
                    "fine": 2.0,
                    "fineAmount": 0,
                    "id": "%(invoice)s",
                    "interest": 1.0,
                    "interestAmount": 0,
                    "link": "https://example-ws.sandbox.starkbank.com/invoicelink/7c1e90a4b5d24f0e8a3b6d95c2f01e77",
                    "name": "Marina Tavares",
                    "nominalAmount": 48712,
                    "pdf": "https://sandbox.api.starkbank.com/v2/invoice/7c1e90a4b5d24f0e8a3b6d95c2f01e77.pdf",
                    "rules": [],
                    "splits": [],
                    "status": "paid",
                    "tags": ["repasse-5f3a9c1e-slot-3", "repasse-5f3a9c1e-slot-3-07"],
                    "taxId": "529.982.247-25",
                    "transactionIds": ["71840296613380472951190348276615"],
                    "updated": "2026-03-02T15:10:49.337790+00:00",
                },
                "type": "credited",
            },
            "subscription": "invoice",
            "workspaceId": "6120445530091520",
        }
    }
)


def bodies(count: int, seed: int) -> Iterator[bytes]:
    """Bodies of ``count`` events; ids are as random as the bank's, and the same for the same seed."""
    random = Random(seed)
    for _ in range(count):
        names = ("event", "log", "invoice")
        yield (_BODY % {name: str(random.randrange(4 * 10**15, 7 * 10**15)) for name in names}).encode()


def requests(count: int, seed: int, key: PrivateKey, forged: bool = False) -> Iterator[bytes]:
    """The same as whole HTTP requests, signed by ``key``; ``forged``: by the key over another body."""
    for body in bodies(count, seed):
        signature = base64.b64encode(key.sign(body + b" " if forged else body))
        yield b"".join(
            (
                b"POST /webhooks/starkbank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"User-Agent: Stark-Bank-Webhook\r\nDigital-Signature: ",
                signature,
                b"\r\nContent-Length: ",
                str(len(body)).encode(),
                b"\r\n\r\n",
                body,
            )
        )
