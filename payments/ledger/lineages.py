"""All that is known of one credit, loaded together, changed in memory, and saved together.

Every change of a lineage begins by loading it here: its credit is locked first, then its transfers, always in the order
of the invoice ids, so that two transactions never wait for each other. Every change of a transfer's state is an UPDATE
guarded by the state and the attempt that were loaded, and its row count is checked. ``save`` writes any number of
lineages with a handful of statements.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Executable, bindparam, func, insert, or_, select, update

from payments.credit import owed_centavos
from payments.ledger.attention import RESOLVE, AttentionKind
from payments.lineage import Sighting
from payments.note import bank_says, note
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, insert_into, insert_or_skip
from payments.storage.schema import (
    attentions,
    bank_transfers,
    credits,
    destinations,
    reversals,
    transfer_history,
    transfers,
)
from payments.transfer import (
    LIVE_STATES,
    LOST_STATUSES,
    ORIGINS,
    BankStatus,
    BankTransfer,
    Destination,
    TransferState,
    external_id_for,
    read_external_id,
    reissue_delay,
)

# More than REISSUE_MAX can ask for (20). An operator's retries end there too: what failed so often is paid by hand.
GENERATIONS_MAX = 24

# A later status of the bank replaces an earlier one, never the other way round: events come in any order.
_RANK = {str(BankStatus.CREATED): 1, str(BankStatus.PROCESSING): 2}
_FINAL_RANK = 3


@dataclass(slots=True)
class Unit:
    """One transaction: its connection, the settings that hold in it, and its moment (UTC)."""

    connection: Connection
    policy: ForwardingPolicy
    now: datetime
    destinations: dict[int, Destination] = field(default_factory=dict)  # those read so far, by their id
    # Whose each of the bank's transfers is: the invoice that its external_id names, or None; by the bank's id.
    owners: dict[str, str | None] = field(default_factory=dict)


@contextmanager
def open_unit(database: Database, policy: ForwardingPolicy, now: datetime) -> Iterator[Unit]:
    """Run a block as one durable transaction. Raises LedgerUnavailable: then nothing of it is left."""
    with database.transaction() as connection:
        yield Unit(connection, policy, now)


# The states in which a transfer waits for the bank's answer or decision.
_WAITING = frozenset({TransferState.PENDING, TransferState.SENDING, TransferState.SENT})


@dataclass(slots=True)
class StoredCredit:
    """A credit as it is stored. Amounts in centavos; ``withheld_centavos`` was reversed before it was sent."""

    number: int
    invoice_id: str
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    withheld_centavos: int
    disposition: str
    recorded_at: datetime


@dataclass(slots=True)
class Transfer:
    """A transfer as it is stored. ``id`` is 0 until it is saved."""

    id: int
    credit_number: int
    invoice_id: str
    generation: int
    external_id: str
    amount_centavos: int
    destination_id: int
    state: str
    attempt: int
    calls: int
    call_tag: str | None
    due_at: datetime
    lease_expires_at: datetime | None
    bank_transfer_id: str | None
    reason: str | None
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    retried_at: datetime | None
    abandoned_at: datetime | None


@dataclass(slots=True)
class Lineage:
    """One credit, all its transfers by generation, all that the bank has said of them, and what is open about it."""

    unit: Unit
    credit: StoredCredit
    remaining_centavos: int | None = None  # of the invoice, after its lowest reversal; None without one
    transfers: list[Transfer] = field(default_factory=list)
    sightings: dict[str, Sighting] = field(default_factory=dict)  # by the bank's transfer id
    # Of the bank's transfers, those that carry our tag and none of our external_ids.
    strangers: dict[str, Sighting] = field(default_factory=dict)
    open_attentions: set[tuple[str, str]] = field(default_factory=set)  # kind and subject
    settled_after_seconds: float | None = None  # set when it was settled in this unit of work
    # What the guarded updates must find: state and attempt, by the transfer's id.
    _found: dict[int, tuple[str, int]] = field(default_factory=dict)
    # Rows for the other statements of save(), by their names.
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    # --- reading ---

    @property
    def owed_centavos(self) -> int:
        """What is to be forwarded, given the reversals: never more than the net, never below zero."""
        if self.credit.disposition != "forward":
            return 0
        return owed_centavos(self.credit.net_centavos, self.credit.fee_centavos, self.remaining_centavos)

    @property
    def live(self) -> Transfer | None:
        """The one transfer that is not failed or stopped; None when there is none."""
        return next((transfer for transfer in self.transfers if transfer.state in LIVE_STATES), None)

    def find(self, external_id: str) -> Transfer | None:
        """The transfer of ours with this external_id; None when there is none."""
        return next((each for each in self.transfers if each.external_id == external_id), None)

    # --- what the bank says ---

    def sight(self, there: BankTransfer, errors: tuple[str, ...] | None = None) -> bool:
        """Keep what the bank says of one of its transfers; a final status stays, reasons are added.

        It may be none of ours and only carry our tag: then it is kept, but not as one of this lineage. False when the
        bank named the same transfer with the external_id of another credit: nothing may be concluded from that.
        """
        reading = read_external_id(there.external_id)
        owner = reading[0] if reading else None
        if self.unit.owners.setdefault(there.id, owner) != owner:
            reason = note("two_credits", id=there.id)
            self.raise_attention(AttentionKind.TRANSFER_STUCK, there.external_id[:96], reason)
            return False
        is_ours = owner == self.credit.invoice_id
        kept = self.sightings if is_ours else self.strangers
        status = there.status[:24]  # the columns' width; the bank's own words are shorter
        if (known := kept.get(there.id)) is not None:
            is_later = _RANK.get(status, _FINAL_RANK) > _RANK.get(known.status, _FINAL_RANK)
            status = status if is_later else known.status
            errors = known.errors if errors is None else errors
        kept[there.id] = Sighting(there.id, there.external_id[:96], status, errors)
        self._rows["sightings"].append(
            {
                "bank_transfer_id": there.id,
                "credit_number": self.credit.number if is_ours else None,
                "external_id": there.external_id[:96],
                "status": status,
                "amount_centavos": there.amount_centavos,
                "errors": None if errors is None else json.dumps(errors),
                "seen_at": self.unit.now,
            }
        )
        return True

    # --- what becomes of a transfer ---

    def create_first(self, *, ask_first: bool) -> None:
        """Create the pending transfer of a credit that was just recorded, due now; nothing when nothing is owed.

        ``ask_first``: the bank may know a transfer of this credit that the database does not (an older copy was
        restored, or another deployment was at work), so nothing is sent before a look-up: it counts as attempted.
        """
        owed = self.owed_centavos
        self.withhold_all_but(owed)
        if owed > 0:
            self._create(1, owed, self.unit.now, attempt=1 if ask_first else 0)

    def move(
        self, transfer: Transfer, state: TransferState, fact: str, detail: str | None, **new: Any
    ) -> None:
        """Change a transfer's state; ``fact`` goes into its history. A change that no rule knows is a bug."""
        if transfer.state not in ORIGINS[state]:
            raise AssertionError(f"{transfer.external_id} is {transfer.state}, and cannot become {state}")
        self.change(transfer, fact, detail, state=state, lease_expires_at=None, **new)
        if state not in _WAITING:
            for kind in (AttentionKind.TRANSFER_STUCK, AttentionKind.TRANSFER_UNSETTLED):
                self.resolve(kind, transfer.external_id)

    def change(self, transfer: Transfer, fact: str | None, detail: str | None, **new: Any) -> None:
        """Change a transfer's columns; ``fact``, if there is one, goes into its history."""
        self._found.setdefault(transfer.id, (transfer.state, transfer.attempt))
        for name, value in new.items():
            setattr(transfer, name, value)
        if fact is not None:
            row = history_row(self.unit, transfer, fact, detail)
            self._rows["history"].append(row | {"transfer": transfer})  # which may have no id yet

    def settle(self, transfer: Transfer, bank_transfer_id: str) -> None:
        """The bank has paid this transfer: final, and nothing of its lineage waits for a person any more."""
        now = self.unit.now
        self.move(
            transfer,
            TransferState.SETTLED,
            "settled",
            note("bank_id", id=bank_transfer_id),
            bank_transfer_id=bank_transfer_id,
            sent_at=transfer.sent_at or now,
            settled_at=now,
        )
        self.settled_after_seconds = (now - self.credit.recorded_at).total_seconds()
        for generation in range(1, transfer.generation + 1):
            self.resolve(AttentionKind.TRANSFER_DEAD, external_id_for(self.credit.invoice_id, generation))

    def fail_and_reissue(self, transfer: Transfer, reason: str) -> None:
        """This external_id is spent. Queue the next generation; it is looked up before it is sent."""
        # An earlier generation that was found alive and revived may fail after later ones were made and stopped.
        latest = self.transfers[-1].generation
        # An operator who retries a dead transfer grants it one replacement beyond REISSUE_MAX, and wants it now. The
        # replacement was not retried itself: should it fail too, it is dead.
        was_retried = transfer.retried_at is not None
        policy = self.unit.policy
        if latest >= GENERATIONS_MAX or (latest > policy.reissue_max and not was_retried):
            detail = note("no_reissue_left", number=latest, why=reason)
            self.mark_dead(transfer, reason, detail)
            return
        self.move(transfer, TransferState.FAILED, "failed", reason, reason=reason)
        owed = self.owed_centavos
        self.withhold_all_but(owed)
        if owed < transfer.amount_centavos:
            self.resolve(AttentionKind.REVERSED_AFTER_SENDING, self.credit.invoice_id)
        if owed > 0:
            delay = reissue_delay(latest + 1, policy.retry_base_seconds, policy.retry_max_seconds)
            self._create(
                latest + 1, owed, self.unit.now + (timedelta(0) if was_retried else delay), attempt=0
            )

    def mark_dead(self, transfer: Transfer, reason: str, detail: str | None = None) -> None:
        """Only a person may move it now: raise it, with ``detail`` if that says more than the reason."""
        self.move(transfer, TransferState.DEAD, "dead", detail or reason, reason=reason)
        self.raise_attention(AttentionKind.TRANSFER_DEAD, transfer.external_id, detail or reason)

    def stop_for(self, transfer: Transfer, living: Transfer) -> None:
        """Withdraw a reissue that the bank does not have, because an earlier transfer turned out to live."""
        reason = note("lives_at_bank", external_id=living.external_id)
        self.move(transfer, TransferState.STOPPED, "stopped", reason, reason=reason)
        self.resolve(AttentionKind.TRANSFER_DEAD, transfer.external_id)

    def withhold_all_but(self, centavos: int) -> None:
        """Only so much of the credit is forwarded: what its transfer does not carry is withheld."""
        withheld = self.credit.net_centavos - centavos
        if withheld != self.credit.withheld_centavos:
            self.credit.withheld_centavos = withheld
            self._rows["withheld"].append({"_number": self.credit.number, "withheld_centavos": withheld})

    def apply_outcome(self, transfer: Transfer) -> None:
        """Catch up with an outcome that was reported before we knew that the transfer was ours."""
        seen = self.sightings.get(transfer.bank_transfer_id or "")
        if seen is None:
            return
        if seen.status == BankStatus.SUCCESS:
            self.settle(transfer, seen.bank_transfer_id)
        elif seen.status in LOST_STATUSES:
            self.fail_and_reissue(transfer, bank_says(seen.errors, seen.status))

    def apply_reversal(self) -> None:
        """Let the reversals on record bear on the credit: stop or lower what was not sent, claim back what was."""
        live, owed = self.live, self.owed_centavos
        if self.credit.disposition != "forward" or live is None or live.amount_centavos <= owed:
            return
        if live.state == TransferState.PENDING and live.calls == 0:
            self.lower(live)
            return
        self.raise_attention(
            AttentionKind.REVERSED_AFTER_SENDING,
            self.credit.invoice_id,
            note(
                "reversed_after_sending",
                centavos=live.amount_centavos - owed,
                external_id=live.external_id,
                state=live.state,
            ),
        )

    def lower(self, transfer: Transfer) -> None:
        """Lower a transfer that the bank does not have to what is owed, or stop it when nothing is."""
        owed = self.owed_centavos
        if owed == 0:
            reason = note("reversed_before_sending")
            self.move(transfer, TransferState.STOPPED, "stopped", reason, reason=reason)
        else:
            self.change(transfer, "lowered", note("lowered", centavos=owed), amount_centavos=owed)
        self.withhold_all_but(owed)

    # --- what an operator does to a transfer ---

    def retry(self, dead: Transfer, detail: str) -> None:
        """A dead transfer becomes pending, due now. It counts as an attempt, so it is never taken for a fresh one:

        the bank is asked for its whole lineage before anything is sent, and an earlier claim of it is fenced off.
        """
        now = self.unit.now
        self.move(
            dead,
            TransferState.PENDING,
            "retried",
            detail,
            due_at=now,
            attempt=dead.attempt + 1,
            retried_at=now,
        )
        self.resolve(AttentionKind.TRANSFER_DEAD, dead.external_id)

    def expedite(self, waiting: Transfer, detail: str) -> None:
        """A pending transfer that waits is due now; whether it must be looked up first does not change."""
        self.change(waiting, "expedited", detail, due_at=self.unit.now)

    def abandon(self, dead: Transfer, detail: str) -> None:
        """A dead transfer stays dead for good; only the bank's own success can still move it."""
        self.change(dead, "abandoned", detail, reason=detail, abandoned_at=self.unit.now)
        self.resolve(AttentionKind.TRANSFER_DEAD, dead.external_id)

    # --- what a person should look at ---

    def raise_attention(self, kind: AttentionKind, subject: str, detail: str) -> None:
        """Raise it unless it is open already."""
        if (kind, subject) not in self.open_attentions:
            self.open_attentions.add((kind, subject))
            self._rows["raised"].append(
                {
                    "kind": kind,
                    "subject": subject,
                    "invoice_id": self.credit.invoice_id,
                    "detail": detail[:2000],
                    "raised_at": self.unit.now,
                }
            )

    def resolve(self, kind: AttentionKind, subject: str) -> None:
        """Close it if it is open; one that was raised in this unit of work is not written at all."""
        if (kind, subject) not in self.open_attentions:
            return
        self.open_attentions.remove((kind, subject))
        raised = self._rows["raised"]
        earlier = [row for row in raised if (row["kind"], row["subject"]) != (kind, subject)]
        if len(earlier) < len(raised):
            self._rows["raised"] = earlier
        else:
            self._rows["resolved"].append({"_kind": kind, "_subject": subject, "resolved_at": self.unit.now})

    # --- below ---

    def _create(self, generation: int, amount_centavos: int, due_at: datetime, attempt: int) -> None:
        self.transfers.append(
            Transfer(
                id=0,
                credit_number=self.credit.number,
                invoice_id=self.credit.invoice_id,
                generation=generation,
                external_id=external_id_for(self.credit.invoice_id, generation),
                amount_centavos=amount_centavos,
                destination_id=0,
                state=TransferState.PENDING,
                attempt=attempt,
                calls=0,
                call_tag=None,
                due_at=due_at,
                lease_expires_at=None,
                bank_transfer_id=None,
                reason=None,
                created_at=self.unit.now,
                sent_at=None,
                settled_at=None,
                retried_at=None,
                abandoned_at=None,
            )
        )


# --- from the database into memory, and back ---

# StoredCredit and Transfer have a field for each column that is read, in this order.
CREDIT_COLUMNS = [each.name for each in fields(StoredCredit)]
TRANSFER_COLUMNS = [transfers.c[each.name] for each in fields(Transfer)]

# What may change of a transfer once it is there.
_CHANGING = (
    *(
        "state",
        "amount_centavos",
        "attempt",
        "calls",
        "call_tag",
        "due_at",
        "lease_expires_at",
        "bank_transfer_id",
    ),
    *("reason", "sent_at", "settled_at", "retried_at", "abandoned_at"),
)


def load_lineages(
    unit: Unit, invoice_ids: Collection[str], bank_ids: Collection[str] = ()
) -> dict[str, Lineage]:
    """Lock and load the lineages of these invoices, by invoice id; those without a credit of ours are left out.

    ``bank_ids``: of transfers that are about to be sighted. The bank may have named one before its credit was recorded.
    """
    if not invoice_ids:
        return {}
    connection = unit.connection
    lineages = {
        row.invoice_id: Lineage(unit, StoredCredit(*row[:-1]), row.remaining_centavos)
        for row in connection.execute(_CREDITS, {"invoice_ids": list(invoice_ids)})
    }
    if not lineages:
        return {}
    by_number = {lineage.credit.number: lineage for lineage in lineages.values()}
    numbers = list(by_number)
    for row in connection.execute(_TRANSFERS, {"numbers": numbers}):
        by_number[row.credit_number].transfers.append(Transfer(*row))
    for row in connection.execute(_SIGHTINGS, {"numbers": numbers, "bank_ids": list(bank_ids)}):
        errors = None if row.errors is None else tuple(json.loads(row.errors))
        sighting = Sighting(row.bank_transfer_id, row.external_id, row.status, errors)
        reading = read_external_id(row.external_id)
        unit.owners[row.bank_transfer_id] = reading[0] if reading else None
        if reading is not None and reading[0] in lineages:
            lineages[reading[0]].sightings[sighting.bank_transfer_id] = sighting
        else:
            for lineage in lineages.values():
                lineage.strangers[sighting.bank_transfer_id] = sighting
    for row in connection.execute(_OPEN_ATTENTIONS, {"invoice_ids": list(lineages)}):
        lineages[row.invoice_id].open_attentions.add((row.kind, row.subject))
    return lineages


def remaining_centavos(unit: Unit, invoice_ids: Collection[str]) -> dict[str, int]:
    """What is left of these invoices after their lowest reversal; those that were not reversed are left out."""
    rows = unit.connection.execute(_REMAINING, {"invoice_ids": list(invoice_ids)})
    return {invoice_id: int(remaining) for invoice_id, remaining in rows}


def save(unit: Unit, lineages: Collection[Lineage]) -> None:
    """Write what was changed. Raises AssertionError, a bug, when a row is not as it was loaded under its lock."""
    for name, statement in _statements(unit.connection.dialect.name).items():
        rows = [row for lineage in lineages for row in lineage._rows[name]]
        if name == "history":  # after the sightings, to which transfers refer; and before their history
            _save_transfers(unit, lineages)
            rows = [row | {"transfer_id": row.pop("transfer").id} for row in rows]
        if rows:
            written = unit.connection.execute(statement, rows).rowcount
            if name == "withheld" and written != len(rows):
                raise AssertionError(f"{written} of {len(rows)} credits were there to be withheld from")


def history_row(unit: Unit, transfer: Transfer, fact: str, detail: str | None) -> dict[str, Any]:
    """A line of a transfer's history: what happened, and its state and attempt then."""
    return {
        "transfer_id": transfer.id,
        "at": unit.now,
        "fact": fact,
        "state": transfer.state,
        "attempt": transfer.attempt,
        "detail": detail,
    }


def destination_of(unit: Unit, destination_id: int) -> Destination:
    """The account of a transfer's ``destination_id``; that of one which is not saved yet is the settings' own."""
    if destination_id == 0:
        return unit.policy.destination
    if destination_id not in unit.destinations:
        found = select(*_DESTINATION_COLUMNS).where(destinations.c.id == destination_id)
        unit.destinations[destination_id] = Destination(*unit.connection.execute(found).one())
    return unit.destinations[destination_id]


def _save_transfers(unit: Unit, lineages: Collection[Lineage]) -> None:
    changed = [
        (transfer, lineage._found[transfer.id])
        for lineage in lineages
        for transfer in lineage.transfers
        if transfer.id in lineage._found and transfer.id
    ]
    # Those that leave the live states first: a credit has one live transfer at every moment.
    changed.sort(key=lambda each: each[0].state in LIVE_STATES)
    if changed:
        written = unit.connection.execute(
            _UPDATE_TRANSFER,
            [
                {
                    "_id": transfer.id,
                    "_external_id": transfer.external_id,
                    "_state": state,
                    "_attempt": attempt,
                    **{name: getattr(transfer, name) for name in _CHANGING},
                }
                for transfer, (state, attempt) in changed
            ],
        ).rowcount
        if written != len(changed):
            raise AssertionError(f"{written} of {len(changed)} transfers were as they had been loaded")
    new = {
        transfer.external_id: transfer
        for lineage in lineages
        for transfer in lineage.transfers
        if not transfer.id
    }
    if new:
        destination_id = _destination_id(unit, unit.policy.destination)
        for transfer in new.values():
            transfer.destination_id = destination_id
        for row in unit.connection.execute(
            _INSERT_TRANSFER,
            [
                {
                    column.name: getattr(transfer, column.name)
                    for column in TRANSFER_COLUMNS
                    if column.name != "id"
                }
                for transfer in new.values()
            ],
        ):
            new[row.external_id].id = row.id


def _destination_id(unit: Unit, destination: Destination) -> int:
    same = select(destinations.c.id).where(
        *(column == getattr(destination, column.name) for column in _DESTINATION_COLUMNS)
    )
    found: int | None = unit.connection.execute(same).scalar()
    if found is None:
        unit.connection.execute(
            insert_or_skip(destinations, unit.connection.dialect.name), [asdict(destination)]
        )
        found = unit.connection.execute(same).scalar_one()
    return found


# --- the statements, built once ---

_DESTINATION_COLUMNS = [destinations.c[each.name] for each in fields(Destination)]
_INVOICE_IDS: BindParameter[str] = bindparam("invoice_ids", expanding=True)
_NUMBERS: BindParameter[int] = bindparam("numbers", expanding=True)
_LOWEST = func.min(reversals.c.remaining_centavos)
_CREDITS = (
    select(
        *(credits.c[name] for name in CREDIT_COLUMNS),
        select(_LOWEST)
        .where(reversals.c.invoice_id == credits.c.invoice_id)
        .scalar_subquery()
        .label("remaining_centavos"),
    )
    .where(credits.c.invoice_id.in_(_INVOICE_IDS))
    .order_by(credits.c.invoice_id)
    # Rows that refer to the credit may be inserted meanwhile; no one else may change it.
    .with_for_update(key_share=True)
)
_TRANSFERS = (
    select(*TRANSFER_COLUMNS)
    .where(transfers.c.credit_number.in_(_NUMBERS))
    .order_by(transfers.c.credit_number, transfers.c.generation)
    .with_for_update()
)
_SIGHTINGS = (
    select(bank_transfers)
    .where(
        or_(
            bank_transfers.c.credit_number.in_(_NUMBERS),
            bank_transfers.c.bank_transfer_id.in_(bindparam("bank_ids", expanding=True)),
        )
    )
    .with_for_update()
)
_REMAINING = (
    select(reversals.c.invoice_id, _LOWEST)
    .where(reversals.c.invoice_id.in_(_INVOICE_IDS))
    .group_by(reversals.c.invoice_id)
)
_OPEN_ATTENTIONS = select(attentions.c.invoice_id, attentions.c.kind, attentions.c.subject).where(
    attentions.c.invoice_id.in_(_INVOICE_IDS), attentions.c.resolved_at.is_(None)
)
INSERT_HISTORY = insert(transfer_history)
_UPDATE_TRANSFER = (
    update(transfers)
    .where(
        transfers.c.id == bindparam("_id"),
        # A failover that lost commits may give a number again.
        transfers.c.external_id == bindparam("_external_id"),
        transfers.c.state == bindparam("_state"),
        transfers.c.attempt == bindparam("_attempt"),
    )
    .values({name: bindparam(name) for name in _CHANGING})
)
_INSERT_TRANSFER = insert(transfers).returning(transfers.c.id, transfers.c.external_id)


@cache
def _statements(dialect: str) -> dict[str, Executable]:
    sight = insert_into(bank_transfers, dialect)
    return {
        "sightings": sight.on_conflict_do_update(
            index_elements=["bank_transfer_id"],
            set_={
                "status": sight.excluded.status,
                "errors": sight.excluded.errors,
                "seen_at": sight.excluded.seen_at,
                "credit_number": func.coalesce(bank_transfers.c.credit_number, sight.excluded.credit_number),
            },
        ),
        "history": INSERT_HISTORY,
        "withheld": update(credits).where(credits.c.number == bindparam("_number")),
        "resolved": RESOLVE,
        "raised": insert_or_skip(attentions, dialect),
    }
