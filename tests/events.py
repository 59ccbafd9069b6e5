"""Bodies of events as the bank writes them: one line of JSON with sorted keys."""

import json
from typing import Any

CREATED = "2026-03-02T15:00:00.000000+00:00"


def invoice_event(
    invoice_id: str = "5000000000000001",
    log_type: str = "credited",
    amount: Any = 20_000,
    fee: Any = 0,
    event_id: str | None = None,
) -> bytes:
    """An event about an invoice; ids are derived from the invoice's unless given."""
    log = {
        "id": f"7{invoice_id[1:]}",
        "type": log_type,
        "created": CREATED,
        "errors": [],
        "invoice": {"id": invoice_id, "amount": amount, "fee": fee, "status": "paid", "tags": []},
    }
    return event(event_id or f"6{invoice_id[1:]}", "invoice", log)


def event(event_id: str, subscription: str, log: dict[str, Any]) -> bytes:
    """An event of any subscription."""
    body = {"event": {"id": event_id, "created": CREATED, "subscription": subscription, "log": log}}
    return json.dumps(body, sort_keys=True).encode()
