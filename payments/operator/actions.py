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
from payments.note import Note, note, read_note
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
            raise ActionRefused(note("name_length", most=WHO_LENGTH_MAX))
        if not REASON_LENGTH_MIN <= len(reason) <= REASON_LENGTH_MAX:
            raise ActionRefused(note("reason_length", least=REASON_LENGTH_MIN, most=REASON_LENGTH_MAX))
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
    result: Note
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
        detail = note("operator", who=by.who, reason=by.reason)
        is_held = is_paused(unit.connection, "forwarding")
        if transfer.state == TransferState.PENDING:
            if transfer.due_at <= now:
                code = "due_but_paused" if is_held else "due_already"
                raise ActionRefused(note(code, external_id=transfer.external_id))
            lineage.expedite(transfer, detail)
            result = note("tried_now_once_resumed" if is_held else "tried_now")
        elif transfer.state == TransferState.DEAD:
            _refuse_hopeless(lineage, transfer)
            lineage.retry(transfer, detail)
            result = note("retry_once_resumed" if is_held else "retry_queued")
        else:
            raise ActionRefused(note(f"no_retry_{transfer.state}", external_id=transfer.external_id))
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
                note("only_blocked_abandoned", external_id=transfer.external_id, state=transfer.state)
            )
        _refuse_abandoned(transfer)
        lineage.abandon(transfer, note("abandoned", who=by.who, reason=by.reason))
        save(unit, [lineage])
        return write_action(unit.connection, "abandon", transfer.external_id, note("given_up"), by, now)


def close_attention(database: Database, attention_id: int, by: Operator, now: datetime) -> Action:
    """Resolve an attention that a person has dealt with. Refused when it is resolved already or unknown."""
    with database.transaction() as connection:
        found = None
        if 0 < attention_id <= _ID_MAX:
            found = connection.execute(
                select(attentions).where(attentions.c.id == attention_id)
            ).one_or_none()
        if found is None:
            raise ActionRefused(note("no_attention", id=attention_id))
        resolved = connection.execute(
            update(attentions)
            .where(attentions.c.id == attention_id, attentions.c.resolved_at.is_(None))
            .values(resolved_at=now)
        )
        if not resolved.rowcount:
            at = (found.resolved_at or now).isoformat()
            raise ActionRefused(note("already_resolved", id=attention_id, at=at))
        result = note("resolved", kind=found.kind, subject=found.subject)
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
            _refuse_if_paused(connection, switch, f"{switch}_paused_already")
        return write_action(connection, "pause", switch, note(f"{switch}_paused"), by, now)


def resume(database: Database, switch: Pausable, by: Operator, now: datetime) -> Action:
    """Let it run again. Refused when it is not paused."""
    with database.transaction() as connection:
        resumed = connection.execute(
            update(pauses)
            .where(pauses.c.name == switch, pauses.c.paused_at.is_not(None))
            .values(paused_at=None, paused_by=None, reason=None)
        )
        if not resumed.rowcount:
            raise ActionRefused(note(f"{switch}_not_paused"))
        return write_action(connection, "resume", switch, note(f"{switch}_resumed"), by, now)


def request_batch(database: Database, tag: str, by: Operator, now: datetime) -> Action:
    """Request a batch outside the window, under a tag of its own; the worker plans and issues it.

    Refused while issuing is paused.
    """
    with database.transaction() as connection:
        _refuse_if_paused(connection, "issuing", "issuing_is_paused")
        batches.request_batch(connection, tag, now)
        return write_action(connection, "issue", tag, note("batch_requested", tag=tag), by, now)


def refuse_if_paused(database: Database, switch: Pausable) -> None:
    """Refuse what is done by hand while it is paused."""
    with database.reading() as connection:
        _refuse_if_paused(connection, switch, f"{switch}_is_paused")


def record_action(
    database: Database, kind: str, subject: str, result: str, by: Operator, now: datetime
) -> Action:
    """Record an action whose work runs elsewhere: reconcile, forward or issue now."""
    if kind not in _RUN_ELSEWHERE:
        raise ValueError(f"{kind!r} is an action with a function of its own")
    with database.transaction() as connection:
        return write_action(connection, kind, subject, result, by, now)


def record_result(database: Database, action: Action, result: str) -> None:
    """Record what the work of a recorded action came to (a note), in place of what was known when it began."""
    with database.transaction() as connection:
        connection.execute(update(actions).where(actions.c.id == action.id).values(result=result))


def write_action(
    connection: Connection, kind: str, subject: str, result: str, by: Operator, now: datetime
) -> Action:
    """Record an action in the transaction that does it."""
    row = {"at": now, "who": by.who, "is_proved": by.is_proved, "kind": kind, "reason": by.reason}
    written = insert(actions).values(**row, result=result, subject=subject[:96]).returning(*actions.c)
    return action_from(connection.execute(written).one())


def action_from(row: Any) -> Action:
    """An action from its row."""
    result = read_note(row.result)
    return Action(row.id, row.at, row.who, row.kind, row.subject, row.reason, result, row.is_proved)


def plain_text(text: str) -> str:
    """What a person typed, on one line, without control characters or halves of characters that no database takes."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in whole).split())


# --- below: what is allowed ---


def _find(unit: Unit, external_id: str) -> tuple[Lineage, Transfer]:
    external_id = plain_text(external_id)
    name = read_external_id(external_id)
    lineage = load_lineages(unit, [name[0]]).get(name[0]) if name else None
    transfer = lineage.find(external_id) if lineage else None
    if lineage is None or transfer is None:
        raise ActionRefused(note("no_transfer", external_id=external_id))
    return lineage, transfer


def _refuse_if_paused(connection: Connection, switch: Pausable, code: str) -> None:
    if found := paused_in(connection).get(switch):
        raise ActionRefused(note(code, at=found.since.isoformat(), who=found.who, reason=found.reason))


def _refuse_abandoned(transfer: Transfer) -> None:
    if transfer.abandoned_at is not None:
        raise ActionRefused(
            note("was_abandoned", external_id=transfer.external_id, why=transfer.reason or "")
        )


def _refuse_hopeless(lineage: Lineage, transfer: Transfer) -> None:
    """A retry that could only pay twice, pay no one, or die again is refused with its reason."""
    _refuse_abandoned(transfer)
    if lineage.owed_centavos == 0:
        raise ActionRefused(note("nothing_owed", external_id=transfer.external_id))
    seen = lineage.sightings.values()
    for there in seen:
        if there.status == BankStatus.SUCCESS:
            raise ActionRefused(
                note("paid_elsewhere", external_id=transfer.external_id, id=there.bank_transfer_id)
            )
    has_failed = any(there.is_lost and there.external_id == transfer.external_id for there in seen)
    latest = lineage.transfers[-1].generation
    if has_failed and latest >= GENERATIONS_MAX:
        raise ActionRefused(note("too_many_failed", external_id=transfer.external_id, number=latest))
