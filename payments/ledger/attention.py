"""What a person should look at: raised once per kind and subject, until resolved.

Used inside other transactions; raising never fails one. What is about a credit is raised through its lineage.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, func, select, update

from payments.storage.database import insert_new
from payments.storage.schema import attentions


class AttentionKind(StrEnum):
    """Why a person is needed; each has its section in docs/runbook.md."""

    UNREADABLE_EVENT = "unreadable_event"  # signed by the bank, but we cannot read its money
    SECOND_CREDIT = "second_credit"  # an invoice was credited again; only the first is forwarded
    NOTHING_TO_FORWARD = "nothing_to_forward"  # the fee ate the credit
    REVERSED_AFTER_SENDING = "reversed_after_sending"  # money to claim back from the destination
    TRANSFER_DEAD = "transfer_dead"  # only a person may move it
    TRANSFER_UNSETTLED = "transfer_unsettled"  # accepted by the bank a day ago, and no word since
    TRANSFER_STUCK = "transfer_stuck"  # the bank gives no conclusive answer, time after time
    PAID_TWICE = "paid_twice"  # two transfers of one credit succeeded at the bank
    RETURNED = "returned_after_settlement"  # the bank took a success back
    BANK_REFUSES_US = "bank_refuses_us"  # key, project or address refused: nothing goes out
    BATCH_REFUSED = "batch_refused"  # the bank refuses a batch of invoices
    CLOCK_STEPPED = "clock_stepped"  # the clock was set by more than a minute while transfers were waiting


def raise_attention(
    connection: Connection,
    kind: AttentionKind,
    subject: str,
    detail: str,  # a note
    now: datetime,
    invoice_id: str | None = None,
) -> bool:
    """Raise it unless it is open already. True when it is new. ``invoice_id``: of the credit that it is about."""
    row = {
        "kind": kind,
        "subject": subject,
        "invoice_id": invoice_id,
        "detail": detail,
        "raised_at": now,
    }
    return bool(insert_new(connection, attentions, [row], "id"))


def resolve_attention(connection: Connection, kind: AttentionKind, subject: str, now: datetime) -> None:
    """Close it if it is open."""
    connection.execute(RESOLVE, {"_kind": kind, "_subject": subject, "resolved_at": now})


def count_open(connection: Connection) -> int:
    """How many are open."""
    return connection.execute(
        select(func.count()).select_from(attentions).where(attentions.c.resolved_at.is_(None))
    ).scalar_one()


RESOLVE = update(attentions).where(
    attentions.c.kind == bindparam("_kind"),
    attentions.c.subject == bindparam("_subject"),
    attentions.c.resolved_at.is_(None),
)
