"""What machines watch in the books, beside the statement: ages, states and counts as of one moment. Reads only.

Every question costs the same whatever the books hold: counts come from the running totals, and the rest from
indexes or from tables that stay small.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from payments.ledger import totals
from payments.ledger.attention import AttentionKind
from payments.ledger.batches import IssuingWindow
from payments.ledger.inbox import Outcome
from payments.ledger.pauses import Pausable as Switch
from payments.ledger.pauses import paused_in
from payments.ledger.totals import SETTLED_WITHIN_SECONDS, Sum, settled_within
from payments.operator.processes import ALIVE_WITHIN
from payments.storage.database import Database
from payments.storage.schema import (
    attentions,
    invoice_batches,
    issuing_windows,
    processes,
    reconciliations,
)

# A slot is overdue when a tenth of its interval has passed without its batch: 18 minutes of 3 hours. The worker
# counts a batch as late from the same moment on.
OVERDUE_SHARE = 10

PROCESS_KINDS = ("web", "worker")
SWITCHES: tuple[Switch, ...] = ("forwarding", "issuing")
SLOT_STATES = ("coming", "overdue", "planned", "issuing", "issued", "skipped")


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """Ages are in seconds, None when there is nothing that could have one. Every known name is a key."""

    totals: Mapping[str, Sum]
    events_by_outcome: Mapping[str, int]  # each event once, however often it was delivered
    settled_within: Mapping[float, int]  # by upper bound in seconds, each credit under its lowest
    attention_by_kind: Mapping[str, int]  # open ones
    slots_by_state: Mapping[str, int]  # empty until a window is open
    slots_late: int  # issued late, or overdue now
    reconciliation_age_seconds: (
        float | None
    )  # since a run in which all was answered; or since the window opened
    processes_by_kind: Mapping[str, int]  # alive ones
    bank_key_age_seconds: float | None  # of the living web process that fetched it longest ago
    bank_keys_missing: int  # living web processes that have none
    paused: Mapping[str, bool]
    notifications_undelivered: int  # tried at least once, and still open


def read_vital_signs(database: Database, now: datetime) -> VitalSigns:
    """Read them on one snapshot. Raises LedgerUnavailable."""
    with database.reading() as connection:
        kept = totals.read_totals(connection)
        window = _window(connection)
        slots, late = _slots(connection, window, now)
        alive = list(connection.execute(_ALIVE, {"since": now - ALIVE_WITHIN}))
        off = paused_in(connection)
        key_times = [row.bank_key_fetched_at for row in alive if row.kind == "web"]
        known_times = [moment for moment in key_times if moment is not None]
        return VitalSigns(
            totals=kept,
            events_by_outcome={
                str(each): _number(kept, f"events.{each}") for each in Outcome if each != Outcome.REPEATED
            },
            settled_within={bound: _number(kept, settled_within(bound)) for bound in SETTLED_WITHIN_SECONDS},
            attention_by_kind=_counts(connection, _ATTENTIONS, tuple(AttentionKind)),
            slots_by_state=slots,
            slots_late=late,
            reconciliation_age_seconds=_age(_last_complete(connection, window), now),
            processes_by_kind={kind: sum(row.kind == kind for row in alive) for kind in PROCESS_KINDS},
            bank_key_age_seconds=_age(min(known_times, default=None), now),
            bank_keys_missing=len(key_times) - len(known_times),
            paused={switch: switch in off for switch in SWITCHES},
            notifications_undelivered=connection.execute(_UNDELIVERED).scalar_one(),
        )


def _number(kept: Mapping[str, Sum], name: str) -> int:
    return kept[name].number if name in kept else 0


def _counts(connection: Connection, statement: Any, names: tuple[str, ...]) -> dict[str, int]:
    found = {row.name: int(row.number) for row in connection.execute(statement)}
    return {str(name): found.get(str(name), 0) for name in names}


def _age(moment: datetime | None, now: datetime) -> float | None:
    # Clocks of two machines may differ by a little; no age is negative.
    return None if moment is None else max(0.0, (now - moment).total_seconds())


def _window(connection: Connection) -> IssuingWindow | None:
    row = connection.execute(select(issuing_windows)).one_or_none()
    if row is None:
        return None
    return IssuingWindow(row.token, row.opened_at, timedelta(seconds=row.interval_seconds), row.slots)


def _slots(connection: Connection, window: IssuingWindow | None, now: datetime) -> tuple[dict[str, int], int]:
    """Slots by state, and how many were issued late or are overdue now."""
    if window is None:
        return {}, 0
    states = dict.fromkeys(SLOT_STATES, 0)
    batches = {row.slot: row for row in connection.execute(_BATCHES)}
    late = 0
    for slot in range(window.slots):
        batch = batches.get(slot)
        is_over = batch is not None and batch.state in ("issued", "skipped")
        is_overdue = not is_over and window.begins_at(slot) + window.interval / OVERDUE_SHARE < now
        state = "overdue" if is_overdue else "coming" if batch is None else batch.state
        states[state] += 1
        late += is_overdue or (batch is not None and batch.state == "issued" and batch.late)
    return states, late


def _last_complete(connection: Connection, window: IssuingWindow | None) -> datetime | None:
    last: datetime | None = connection.execute(_LAST_COMPLETE).scalar()
    return last if last is not None or window is None else window.opened_at


# --- the statements ---

_ATTENTIONS = (
    select(attentions.c.kind.label("name"), func.count().label("number"))
    .where(attentions.c.resolved_at.is_(None))
    .group_by(attentions.c.kind)
)
_BATCHES = select(invoice_batches.c.slot, invoice_batches.c.state, invoice_batches.c.late).where(
    invoice_batches.c.slot.is_not(None)
)
_LAST_COMPLETE = (
    select(reconciliations.c.started_at)
    .where(reconciliations.c.failure.is_(None))
    .order_by(reconciliations.c.started_at.desc())
    .limit(1)
)
_ALIVE = select(processes.c.kind, processes.c.bank_key_fetched_at).where(
    processes.c.stopped_at.is_(None),
    processes.c.seen_at >= bindparam("since", type_=processes.c.seen_at.type),
)
_UNDELIVERED = (
    select(func.count())
    .select_from(attentions)
    .where(
        attentions.c.resolved_at.is_(None),
        attentions.c.notified_at.is_(None),
        attentions.c.notify_attempts > 0,
    )
)
