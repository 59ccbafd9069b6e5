"""What machines watch in the database, beside the statement: ages, states and counts as of one moment. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from payments.ledger.attention import AttentionKind
from payments.ledger.batches import Slot, SlotState, slots_in
from payments.ledger.pauses import Pausable, paused_in
from payments.operator.processes import ALIVE_WITHIN
from payments.storage.database import Database
from payments.storage.schema import attentions, processes, reconciliations

PROCESS_KINDS = ("web", "worker")
SWITCHES: tuple[Pausable, ...] = ("forwarding", "issuing")


@dataclass(frozen=True, slots=True)
class Health:
    """Ages are in seconds, None when there is nothing that could have one. Every known name is a key."""

    attention_by_kind: Mapping[str, int]  # open ones
    slots_by_state: Mapping[str, int]  # empty until a window is open
    slots_late: int  # issued late, or overdue now
    # since the last run in which every question was answered, or since the window was opened
    reconciliation_age_seconds: float | None
    processes_by_kind: Mapping[str, int]  # alive ones
    bank_key_age_seconds: float | None  # the longest of the web processes that are alive
    bank_keys_missing: int  # web processes that are alive and have none
    paused: Mapping[str, bool]
    alerts_undelivered: int  # open attentions whose alert was tried at least once and not delivered


def read_health(database: Database, now: datetime) -> Health:
    """Read it on one snapshot. Raises LedgerUnavailable."""
    with database.reading() as connection:
        slots = slots_in(connection, now)
        alive = connection.execute(
            select(processes.c.kind, processes.c.bank_key_fetched_at).where(
                processes.c.stopped_at.is_(None), processes.c.seen_at >= now - ALIVE_WITHIN
            )
        ).all()
        key_times = [row.bank_key_fetched_at for row in alive if row.kind == "web"]
        known_times = [moment for moment in key_times if moment is not None]
        paused = paused_in(connection)
        return Health(
            attention_by_kind=_attention_by_kind(connection),
            slots_by_state={
                str(state): sum(slot.state == state for slot in slots) for state in SlotState if slots
            },
            slots_late=sum(slot.is_late for slot in slots),
            reconciliation_age_seconds=_age(_last_reconciliation(connection, slots), now),
            processes_by_kind={kind: sum(row.kind == kind for row in alive) for kind in PROCESS_KINDS},
            bank_key_age_seconds=_age(min(known_times, default=None), now),
            bank_keys_missing=len(key_times) - len(known_times),
            paused={switch: switch in paused for switch in SWITCHES},
            alerts_undelivered=_alerts_undelivered(connection),
        )


def _attention_by_kind(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(attentions.c.kind, func.count().label("number"))
        .where(attentions.c.resolved_at.is_(None))
        .group_by(attentions.c.kind)
    )
    found = {row.kind: row.number for row in rows}
    return {str(kind): found.get(kind, 0) for kind in AttentionKind}


def _last_reconciliation(connection: Connection, slots: list[Slot]) -> datetime | None:
    last: datetime | None = connection.execute(
        select(reconciliations.c.started_at)
        .where(reconciliations.c.failure.is_(None))
        .order_by(reconciliations.c.started_at.desc())
        .limit(1)
    ).scalar()
    return last if last is not None or not slots else slots[0].begins_at


def _alerts_undelivered(connection: Connection) -> int:
    return connection.execute(
        select(func.count())
        .select_from(attentions)
        .where(
            attentions.c.resolved_at.is_(None),
            attentions.c.notified_at.is_(None),
            attentions.c.notify_attempts > 0,
        )
    ).scalar_one()


def _age(moment: datetime | None, now: datetime) -> float | None:
    # Clocks of two machines may differ by a little; no age is negative.
    return None if moment is None else max(0.0, (now - moment).total_seconds())
