"""What an operator may do, each recorded with who, when and why. One public function, one transaction.

An action and its effect are one transaction, so a crash leaves both or neither. An action that is not allowed in the
present state is refused with the state and the reason (ActionRefused) and leaves nothing behind. Of two operators who
do the same, the second finds the state changed, and is refused. Replaying events is in replay.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from payments.authorization import NAME_LENGTH_MAX
from payments.errors import ActionRefused
from payments.ledger import batches
from payments.ledger.lineages import GENERATIONS_MAX, Lineage, Transfer, Unit, load_lineages, open_unit, save
from payments.ledger.pauses import Pausable, is_paused, paused_in
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, insert_new
from payments.storage.schema import actions, attentions, pauses
from payments.transfer import BankStatus, TransferState, read_external_id

# The column's width; and enough for a login name or an e-mail address.
WHO_LENGTH_MAX = NAME_LENGTH_MAX

# Long enough that "ok" is no reason; short enough to be read in a list.
REASON_LENGTH_MIN, REASON_LENGTH_MAX = 3, 500

# What record_action takes: actions whose work runs elsewhere.
_RUN_ELSEWHERE = frozenset({"reconcile", "forward", "issue"})

# The largest number that both databases hold.
_ID_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts and why. ``who`` has 1 to 64 characters, ``reason`` 3 to 500 (else ActionRefused).

    ``is_proved``: a token of this person's own says who; else the name was typed, and could be anyone's.
    """

    who: str
    reason: str
    is_proved: bool = False

    def __post_init__(self) -> None:
        who, reason = plain_text(self.who), plain_text(self.reason)
        if not 1 <= len(who) <= WHO_LENGTH_MAX:
            raise ActionRefused(f"your name must be 1 to {WHO_LENGTH_MAX} characters")
        if not REASON_LENGTH_MIN <= len(reason) <= REASON_LENGTH_MAX:
            raise ActionRefused(
                f"the reason must be {REASON_LENGTH_MIN} to {REASON_LENGTH_MAX} characters long"
            )
        object.__setattr__(self, "who", who)
        object.__setattr__(self, "reason", reason)


@dataclass(frozen=True, slots=True)
class Action:
    """One recorded action. ``subject`` is an external_id, invoice id, event id, attention id, batch tag or switch."""

    id: int
    at: datetime
    who: str
    kind: str  # retry, abandon, recover, replay, resolve, pause, resume, reconcile, forward, issue
    subject: str
    reason: str
    result: str
    is_proved: bool  # who is the name of the token's owner; else it was typed


def retry_transfer(
    database: Database, external_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Action:
    """Make a dead transfer pending, due now; make a pending one that waits due now.

    All transfers of a dead one's credit are looked up before anything is sent; if it turns out to have failed at the
    bank, it gets one replacement beyond REISSUE_MAX, immediately. Refused in every other state, when it was
    abandoned, and when the credit is paid or reversed.
    """
    with open_unit(database, policy, now) as unit:
        lineage, transfer = _find(unit, external_id)
        detail = f"{by.who}: {by.reason}"
        is_held = is_paused(unit.connection, "forwarding")
        if transfer.state == TransferState.PENDING:
            if transfer.due_at <= now:
                step = "forwarding is paused; resume it" if is_held else "it is sent once a web process runs"
                raise ActionRefused(f"{transfer.external_id} is queued and due already: {step}")
            lineage.expedite(transfer, detail)
            result = "it will be tried now"
        elif transfer.state == TransferState.DEAD:
            _refuse_hopeless(lineage, transfer)
            lineage.retry(transfer, detail)
            result = "retry queued; repasse checks with the bank before sending"
        else:
            why = _WHY_NO_RETRY[TransferState(transfer.state)]
            raise ActionRefused(f"cannot retry {transfer.external_id}: {why}")
        if is_held:
            result += "; forwarding is paused, so it waits until forwarding is resumed"
        save(unit, [lineage])
        return write_action(unit.connection, "retry", transfer.external_id, result, by, now)


def abandon_transfer(
    database: Database, external_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Action:
    """Abandon a dead transfer: it stays dead, its attention is resolved, nothing will send it.

    For credits that were paid by hand or given back. Refused in every other state, and when abandoned already. If
    the bank reports success for it later, it settles, and an attention says that it may be paid twice.
    """
    with open_unit(database, policy, now) as unit:
        lineage, transfer = _find(unit, external_id)
        if transfer.state != TransferState.DEAD:
            raise ActionRefused(
                f"{transfer.external_id} is {transfer.state}: only a blocked (dead) transfer can be abandoned"
            )
        _refuse_abandoned(transfer)
        lineage.abandon(transfer, f"abandoned by {by.who}: {by.reason}")
        save(unit, [lineage])
        result = "abandoned; it will never be sent"
        return write_action(unit.connection, "abandon", transfer.external_id, result, by, now)


def close_attention(database: Database, attention_id: int, by: Operator, now: datetime) -> Action:
    """Resolve an attention that a person has dealt with. Refused when it is resolved already or unknown."""
    with database.transaction() as connection:
        found = None
        if 0 < attention_id <= _ID_MAX:
            found = connection.execute(
                select(attentions).where(attentions.c.id == attention_id)
            ).one_or_none()
        if found is None:
            raise ActionRefused(f"there is no attention {attention_id}")
        resolved = connection.execute(
            update(attentions)
            .where(attentions.c.id == attention_id, attentions.c.resolved_at.is_(None))
            .values(resolved_at=now)
        )
        if not resolved.rowcount:
            raise ActionRefused(
                f"attention {attention_id} was resolved already, at {_utc(found.resolved_at or now)}"
            )
        result = f"resolved: {found.kind} of {found.subject}"
        return write_action(connection, "resolve", str(attention_id), result, by, now)


def pause(database: Database, switch: Pausable, by: Operator, now: datetime) -> Action:
    """Stop claiming transfers, or planning and claiming batches, in every process, until resumed.

    What is claimed already is finished. Events are accepted and reconciliation runs all the while.
    """
    with database.transaction() as connection:
        insert_new(connection, pauses, [{"name": switch, "paused_at": None}], "name")
        paused = connection.execute(
            update(pauses)
            .where(pauses.c.name == switch, pauses.c.paused_at.is_(None))
            .values(paused_at=now, paused_by=by.who, reason=by.reason)
        )
        if not paused.rowcount:
            found = paused_in(connection)[switch]
            raise ActionRefused(
                f"{switch} has been paused since {_utc(found.since)} by {found.who}: {found.reason}"
            )
        return write_action(connection, "pause", switch, f"{switch} is paused", by, now)


def resume(database: Database, switch: Pausable, by: Operator, now: datetime) -> Action:
    """Let it run again. Refused when it is not paused."""
    with database.transaction() as connection:
        resumed = connection.execute(
            update(pauses)
            .where(pauses.c.name == switch, pauses.c.paused_at.is_not(None))
            .values(paused_at=None, paused_by=None, reason=None)
        )
        if not resumed.rowcount:
            raise ActionRefused(f"{switch} is not paused")
        return write_action(connection, "resume", switch, f"{switch} is running again", by, now)


def request_batch(database: Database, tag: str, by: Operator, now: datetime) -> Action:
    """Request a batch outside the window, under a tag of its own; the worker plans and issues it.

    Refused while issuing is paused.
    """
    with database.transaction() as connection:
        if is_paused(connection, "issuing"):
            raise ActionRefused("issuing is paused: resume it first")
        batches.request_batch(connection, tag, now)
        return write_action(connection, "issue", tag, f"batch {tag} requested; the worker issues it", by, now)


def record_action(
    database: Database, kind: str, subject: str, result: str, by: Operator, now: datetime
) -> Action:
    """Record an action whose work runs elsewhere: reconcile, forward or issue now."""
    if kind not in _RUN_ELSEWHERE:
        raise ValueError(f"{kind!r} is an action with a function of its own")
    with database.transaction() as connection:
        return write_action(connection, kind, subject, result, by, now)


def record_result(database: Database, action: Action, result: str) -> None:
    """Record what the work of a recorded action came to, in place of what was known when it began."""
    with database.transaction() as connection:
        connection.execute(update(actions).where(actions.c.id == action.id).values(result=result[:2000]))


def write_action(
    connection: Connection, kind: str, subject: str, result: str, by: Operator, now: datetime
) -> Action:
    """Record an action in the transaction that does it."""
    row = {"at": now, "who": by.who, "is_proved": by.is_proved, "kind": kind, "reason": by.reason}
    written = insert(actions).values(**row, result=result, subject=subject[:96]).returning(*actions.c)
    return action_from(connection.execute(written).one())


def action_from(row: Any) -> Action:
    """An action from its row."""
    return Action(row.id, row.at, row.who, row.kind, row.subject, row.reason, row.result, row.is_proved)


def plain_text(text: str) -> str:
    """What a person typed, on one line, without control characters or halves of characters that no database takes."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in whole).split())


# --- below: what is allowed ---

_WHY_NO_RETRY = {
    TransferState.SENDING: "it is being sent; if that fails, it is retried when the lease ends",
    TransferState.SENT: "the bank has accepted it, and has not reported an outcome yet",
    TransferState.SETTLED: "already settled",
    TransferState.FAILED: "it failed at the bank, and its replacement carries the money",
    TransferState.STOPPED: "it was withdrawn; its credit was reversed, or another transfer of it is live",
}


def _find(unit: Unit, external_id: str) -> tuple[Lineage, Transfer]:
    external_id = plain_text(external_id)
    name = read_external_id(external_id)
    lineage = load_lineages(unit, [name[0]]).get(name[0]) if name else None
    transfer = lineage.find(external_id) if lineage else None
    if lineage is None or transfer is None:
        raise ActionRefused(
            f"there is no transfer {external_id!r}: give its external_id, such as credit-<invoice id>"
        )
    return lineage, transfer


def _refuse_abandoned(transfer: Transfer) -> None:
    if transfer.abandoned_at is not None:
        raise ActionRefused(f"{transfer.external_id} was abandoned ({transfer.reason})")


def _refuse_hopeless(lineage: Lineage, transfer: Transfer) -> None:
    """A retry that could only pay twice, pay nobody, or die again is refused with its reason."""
    _refuse_abandoned(transfer)
    if lineage.owed_centavos == 0:
        raise ActionRefused(f"{transfer.external_id}: its credit was reversed, nothing is owed; abandon it")
    seen = lineage.sightings.values()
    for there in seen:
        if there.status == BankStatus.SUCCESS:
            raise ActionRefused(
                f"{transfer.external_id}: the bank reports success for {there.bank_transfer_id} of the same credit; "
                "check it in the bank's web application, then abandon this one"
            )
    has_failed = any(there.is_lost and there.external_id == transfer.external_id for there in seen)
    latest = lineage.transfers[-1].generation
    if has_failed and latest >= GENERATIONS_MAX:
        raise ActionRefused(
            f"{transfer.external_id}: {latest} transfers of this credit have failed, the most that is tried; pay it "
            "by hand and abandon it"
        )


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
