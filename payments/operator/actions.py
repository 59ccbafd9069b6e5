"""What an operator may do, each recorded with who, when and why. One public function, one transaction.

An act and its effect are one transaction, so a crash leaves both or neither. An act that is not legal in the present
state is refused with the state and the reason (ActRefused) and leaves nothing behind. Two operators at once cannot
both do it: whoever comes second finds the state changed, and is refused. Replaying events is in replay.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from payments.errors import ActRefused
from payments.ledger import batches
from payments.ledger.lineages import GENERATIONS_MAX, Lineage, Transfer, load_lineages, save
from payments.ledger.pauses import Pausable, is_paused, paused
from payments.ledger.unit import Unit, open_unit
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, insert_new
from payments.storage.schema import actions, attentions, pauses
from payments.transfer import BankStatus, TransferState, read_external_id

__all__ = [
    "Act",
    "Operator",
    "Pausable",
    "abandon_transfer",
    "pause",
    "paused",
    "record_act",
    "resolve_attention",
    "resume",
    "retry_transfer",
    "write_act",
]

# The column's width; and enough for a login name or an e-mail address.
WHO_LENGTH_MAX = 64

# Long enough that "ok" is no reason; short enough to be read in a list.
REASON_LENGTH_MIN, REASON_LENGTH_MAX = 3, 500

# What record_act takes: acts whose work runs elsewhere.
_RUN_ELSEWHERE = frozenset({"reconcile", "forward", "issue"})


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts and why. ``who`` has 1 to 64 characters, ``reason`` 3 to 500 (else ActRefused)."""

    who: str
    reason: str

    def __post_init__(self) -> None:
        who, reason = plain_text(self.who), plain_text(self.reason)
        if not 1 <= len(who) <= WHO_LENGTH_MAX:
            raise ActRefused(f"the name of who acts has {len(who)} characters: give 1 to {WHO_LENGTH_MAX}")
        if not REASON_LENGTH_MIN <= len(reason) <= REASON_LENGTH_MAX:
            raise ActRefused(
                f"the reason has {len(reason)} characters: give {REASON_LENGTH_MIN} to {REASON_LENGTH_MAX}"
            )
        object.__setattr__(self, "who", who)
        object.__setattr__(self, "reason", reason)


@dataclass(frozen=True, slots=True)
class Act:
    """One act as it stands in the books. ``subject`` is an external_id, event id, attention id or switch."""

    id: int
    at: datetime
    who: str
    kind: str  # retry, abandon, replay, resolve, pause, resume, reconcile, forward, issue
    subject: str
    reason: str
    result: str


def retry_transfer(
    database: Database, external_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Act:
    """Make a dead transfer pending, due now; make a pending one that waits due now.

    A dead one is looked up by its whole lineage before anything is sent; if it turns out spent at the bank, it gets
    one replacement beyond REISSUE_MAX, at once. Refused in every other state, when it was abandoned, and when the
    credit is paid or reversed.
    """
    with open_unit(database, policy, now) as unit:
        lineage, transfer = _find(unit, external_id)
        detail = f"{by.who}: {by.reason}"
        is_held_up = is_paused(unit.connection, "forwarding")
        if transfer.state == TransferState.PENDING:
            if transfer.due_at <= now:
                waits_for = (
                    "forwarding is paused; resume it"
                    if is_held_up
                    else "it is sent as soon as a web process runs"
                )
                raise ActRefused(f"{transfer.external_id} is pending and due already: {waits_for}")
            lineage.expedite(transfer, detail)
            result = "it waited, and is due now"
        elif transfer.state == TransferState.DEAD:
            _refuse_hopeless(lineage, transfer)
            lineage.retry(transfer, detail)
            result = "it was dead, and is pending; the bank is asked before anything is sent"
        else:
            raise ActRefused(
                f"{transfer.external_id} is {transfer.state}: {_WHY_NO_RETRY[TransferState(transfer.state)]}"
            )
        if is_held_up:
            result += "; forwarding is paused, so it waits until that is resumed"
        save(unit, [lineage])
        return write_act(unit.connection, "retry", transfer.external_id, result, by, now)


def abandon_transfer(
    database: Database, external_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Act:
    """Give a dead transfer up for good: it stays dead, its matter is closed, nothing will send it.

    For credits that were paid by hand or given back. Refused in every other state, and when abandoned already.
    Should the bank report success for it later, it settles, and a person is told that it may be paid twice.
    """
    with open_unit(database, policy, now) as unit:
        lineage, transfer = _find(unit, external_id)
        if transfer.state != TransferState.DEAD:
            raise ActRefused(
                f"{transfer.external_id} is {transfer.state}: only a dead transfer can be abandoned"
            )
        _refuse_abandoned(transfer)
        lineage.abandon(transfer, f"abandoned by {by.who}: {by.reason}")
        save(unit, [lineage])
        result = "it stays dead; nothing will send it any more"
        return write_act(unit.connection, "abandon", transfer.external_id, result, by, now)


def resolve_attention(database: Database, attention_id: int, by: Operator, now: datetime) -> Act:
    """Close a matter that a person has dealt with. Refused when it is closed already or unknown."""
    with database.transaction() as connection:
        if not 0 < attention_id <= _ID_MAX:
            raise ActRefused(f"there is no matter {attention_id}")
        closed = connection.execute(
            update(attentions)
            .where(attentions.c.id == attention_id, attentions.c.resolved_at.is_(None))
            .values(resolved_at=now)
            .returning(attentions.c.kind, attentions.c.subject)
        ).one_or_none()
        if closed is None:
            found = connection.execute(
                select(attentions).where(attentions.c.id == attention_id)
            ).one_or_none()
            if found is None:
                raise ActRefused(f"there is no matter {attention_id}")
            raise ActRefused(f"matter {attention_id} was closed at {_moment(found.resolved_at)} already")
        return write_act(
            connection, "resolve", str(attention_id), f"closed {closed.kind} of {closed.subject}", by, now
        )


def pause(database: Database, switch: Pausable, by: Operator, now: datetime) -> Act:
    """Stop claiming transfers, or planning and claiming batches, in every process, until resumed.

    What is claimed already is finished. Events are taken in and reconciliation runs all the while.
    """
    with database.transaction() as connection:
        insert_new(connection, pauses, [{"name": switch, "paused_at": None}], "name")
        paused_now = connection.execute(
            update(pauses).where(pauses.c.name == switch, pauses.c.paused_at.is_(None)).values(paused_at=now)
        ).rowcount
        if not paused_now:
            since = connection.execute(select(pauses.c.paused_at).where(pauses.c.name == switch)).scalar_one()
            raise ActRefused(f"{switch} is paused already, since {_moment(since)}")
        return write_act(connection, "pause", switch, f"{switch} is paused", by, now)


def resume(database: Database, switch: Pausable, by: Operator, now: datetime) -> Act:
    """Let it run again. Refused when it is not paused."""
    with database.transaction() as connection:
        resumed = connection.execute(
            update(pauses)
            .where(pauses.c.name == switch, pauses.c.paused_at.is_not(None))
            .values(paused_at=None)
        ).rowcount
        if not resumed:
            raise ActRefused(f"{switch} is not paused")
        return write_act(connection, "resume", switch, f"{switch} runs again", by, now)


def request_batch(database: Database, tag: str, by: Operator, now: datetime) -> Act:
    """Ask the worker for a batch outside the window, under a tag that no other has. Refused while issuing is paused."""
    with database.transaction() as connection:
        if is_paused(connection, "issuing"):
            raise ActRefused("issuing is paused: resume it first")
        batches.request_batch(connection, tag, now)
        return write_act(connection, "issue", tag, f"asked for: the worker plans batch {tag}", by, now)


def record_act(database: Database, kind: str, subject: str, result: str, by: Operator, now: datetime) -> Act:
    """Record an act whose work runs elsewhere: reconcile, forward or issue now."""
    if kind not in _RUN_ELSEWHERE:
        raise ValueError(f"{kind!r} is an act with a function of its own")
    with database.transaction() as connection:
        return write_act(connection, kind, subject, result, by, now)


def write_act(
    connection: Connection, kind: str, subject: str, result: str, by: Operator, now: datetime
) -> Act:
    """Record an act in the transaction that does it."""
    row = {
        "at": now,
        "who": by.who,
        "kind": kind,
        "subject": subject[:96],
        "reason": by.reason,
        "result": result,
    }
    return act_from(connection.execute(insert(actions).values(row).returning(*actions.c)).one())


def act_from(row: Row[Any]) -> Act:
    """An act from its row."""
    return Act(row.id, row.at, row.who, row.kind, row.subject, row.reason, row.result)


def plain_text(text: str) -> str:
    """What a person typed, on one line, without control characters or halves of characters that no database takes."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in whole).split())


# --- below: what is legal ---

_WHY_NO_RETRY = {
    TransferState.SENDING: "somebody is sending it; it goes on by itself when the lease ends",
    TransferState.SENT: "the bank has accepted it; its outcome is awaited",
    TransferState.SETTLED: "it is paid",
    TransferState.FAILED: "it failed at the bank for good; its replacement carries the money",
    TransferState.STOPPED: "it was withdrawn; its credit was reversed, or an earlier transfer lives",
}


def _find(unit: Unit, external_id: str) -> tuple[Lineage, Transfer]:
    external_id = plain_text(external_id)
    reading = read_external_id(external_id)
    lineage = load_lineages(unit, [reading[0]]).get(reading[0]) if reading else None
    transfer = lineage.find(external_id) if lineage else None
    if lineage is None or transfer is None:
        raise ActRefused(
            f"there is no transfer {external_id!r}: give its external_id, such as credit-<invoice id>"
        )
    return lineage, transfer


def _refuse_abandoned(transfer: Transfer) -> None:
    if transfer.abandoned_at is not None:
        raise ActRefused(f"{transfer.external_id} was given up for good ({transfer.reason})")


def _refuse_hopeless(lineage: Lineage, transfer: Transfer) -> None:
    """A retry that could only pay twice, pay nobody, or die again is refused with its reason."""
    _refuse_abandoned(transfer)
    if lineage.owed_centavos == 0:
        raise ActRefused(f"{transfer.external_id}: its credit was reversed, nothing is owed; abandon it")
    seen = lineage.sightings.values()
    for there in seen:
        if there.status == BankStatus.SUCCESS:
            raise ActRefused(
                f"{transfer.external_id}: the bank reports success for {there.bank_transfer_id} of the same credit; "
                "look at it in the web bank, then abandon this one"
            )
    is_spent = any(there.is_lost and there.external_id == transfer.external_id for there in seen)
    latest = lineage.transfers[-1].generation
    if is_spent and latest >= GENERATIONS_MAX:
        raise ActRefused(
            f"{transfer.external_id}: {latest} transfers of this credit have failed, the most that is tried; pay it "
            "by hand and abandon it"
        )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# The largest number that both databases hold.
_ID_MAX = 2**63 - 1
