"""What the bank says, built small: events in the shape it delivers, transfers as it lists them.

Every builder has believable defaults; a test sets only what matters to it.
"""

import json
from datetime import UTC, datetime
from typing import Any

from payments.event import Event, read_event
from payments.language import language_of
from payments.ledger.inbox import Arrival
from payments.note import Note
from payments.operator.wording import note_text
from payments.policy import ForwardingPolicy
from payments.transfer import BankTransfer, Destination, external_id_for, lineage_for

# A Monday noon in São Paulo; nothing depends on the day.
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

# The account that the trial text names.
DESTINATION = Destination(
    "20018183", "0001", "6341320293482496", "payment", "Stark Bank S.A.", "20.018.183/0001-80"
)
INVOICE = "5713348842127360"
NET = 48_662  # of the invoice below

# Reasons for which the bank fails a transfer.
DUPLICATED = "Duplicated transfer"
EMPTY = "Insufficient balance"


def a_policy(**changes: Any) -> ForwardingPolicy:
    """The default settings: everything is forwarded, leases of a minute, six reissues."""
    settings: dict[str, Any] = {
        "destination": DESTINATION,
        "only_issued": False,
        "lease_seconds": 60.0,
        "retry_base_seconds": 5.0,
        "retry_max_seconds": 3600.0,
        "reissue_max": 6,
        "tax_id_key": b"a key of this test's",
    }
    return ForwardingPolicy(**(settings | changes))


def an_invoice_log(
    log_type: str = "credited",
    invoice_id: str = INVOICE,
    amount: Any = 48_712,
    fee: Any = 50,
    log_id: str | None = None,
    created: str = "2026-03-02T15:10:49.337731+00:00",
    tags: tuple[str, ...] = ("batch-3", "e20018183202603021510kq3vz81mapt"),
    name: str = "Marina Tavares",
) -> dict[str, Any]:
    """An invoice log, as in an event or in the bank's list of logs."""
    return {
        "created": created,
        "errors": [],
        "id": log_id or f"{log_type}-{invoice_id}",
        "invoice": {
            "amount": amount,
            "created": "2026-03-02T15:00:04.118204+00:00",
            "discounts": [],
            "fee": fee,
            "fine": 2.0,
            "id": invoice_id,
            "name": name,
            "nominalAmount": 48_712,
            "status": "paid",
            "tags": list(tags),
            "taxId": "529.982.247-25",
            "transactionIds": ["71840296613380472951190348276615"],
        },
        "type": log_type,
    }


def a_transfer_log(
    there: BankTransfer,
    log_type: str | None = None,
    errors: tuple[Any, ...] = (),
    log_id: str | None = None,
) -> dict[str, Any]:
    """A transfer log; its type is the transfer's status unless said otherwise."""
    log_type = log_type or ("sending" if there.status == "processing" else there.status)
    return {
        "created": "2026-03-02T15:10:53.660048+00:00",
        "errors": list(errors),
        "id": log_id or f"{log_type}-{there.id}",
        "transfer": {
            "accountNumber": there.account_number,
            "accountType": "payment",
            "amount": there.amount_centavos,
            "bankCode": there.bank_code,
            "branchCode": there.branch_code,
            "created": "2026-03-02T15:10:52.214860+00:00",
            "externalId": there.external_id,
            "fee": 0,
            "id": there.id,
            "metadata": {},
            "name": "Stark Bank S.A.",
            "rules": [{"key": "resendingLimit", "value": 10}],
            "status": there.status,
            "tags": list(there.tags),
            "taxId": there.tax_id,
            "transactionIds": [],
        },
        "type": log_type,
    }


def a_body(log: dict[str, Any], event_id: str | None = None, subscription: str | None = None) -> bytes:
    """One line with sorted keys, as the bank delivers it. The event's id follows from the log's."""
    return json.dumps(
        {
            "event": {
                "created": "2026-03-02T15:10:49.941207+00:00",
                "id": event_id or f"event-of-{log['id']}",
                "log": log,
                "subscription": subscription or ("transfer" if "transfer" in log else "invoice"),
                "workspaceId": "6120445530091520",
            }
        },
        sort_keys=True,
    ).encode()


def an_event(log: dict[str, Any], event_id: str | None = None) -> Event:
    """The event that carries a log, read as the webhook reads it."""
    return read_event(a_body(log, event_id))


def an_arrival(log: dict[str, Any], event_id: str | None = None) -> Arrival:
    """The same, on its way into the inbox."""
    return Arrival(an_event(log, event_id), "MEUCIQDabc")


def at_bank(
    bank_id: str,
    status: str = "created",
    amount: int = 48_662,
    invoice_id: str = INVOICE,
    generation: int = 1,
    **changes: Any,
) -> BankTransfer:
    """A transfer as the bank shows it: by default the one that we ordered, of that generation."""
    external_id = external_id_for(invoice_id, generation)
    shown: dict[str, Any] = {
        "id": bank_id,
        "external_id": external_id,
        "status": status,
        "amount_centavos": amount,
        "bank_code": DESTINATION.bank_code,
        "branch_code": DESTINATION.branch_code,
        "account_number": DESTINATION.account_number,
        "tax_id": DESTINATION.tax_id,
        "tags": tuple(dict.fromkeys((lineage_for(invoice_id), external_id))),
    }
    return BankTransfer(**(shown | changes))


def english(note: Note | str | None) -> str:
    """A note in English, as an operator reads it."""
    return note_text(note, language_of("en"))
