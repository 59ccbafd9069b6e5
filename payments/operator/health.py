"""How the system is as of one moment: what machines watch, and the headline that people read. Reads only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, select

from payments.language import Language
from payments.ledger.attention import AttentionKind
from payments.ledger.balance import in_state
from payments.ledger.batches import Slot, SlotState, slots_in
from payments.ledger.pauses import Pausable, Pause, paused_in
from payments.money import format_brl
from payments.operator.labels import label, labels_of
from payments.operator.processes import SEEN_WITHIN, UNANSWERED, ClockStep
from payments.operator.statement import Statement, oldest_unforwarded, statement_within
from payments.operator.times import duration
from payments.operator.wording import note_text
from payments.storage.database import Database
from payments.storage.schema import attentions, processes, reconciliations, transfers
from payments.tax_id import mask_tax_ids
from payments.transfer import TransferState

PROCESS_KINDS = ("web", "worker")
SWITCHES: tuple[Pausable, ...] = ("forwarding", "issuing")

# A credit that is not forwarded within this long is worth mentioning; most take a second.
SLOW_SECONDS = 120.0

# The worker reconciles every five minutes; the alert RepasseReconciliationMissing waits as long.
RECONCILIATION_AGE_SECONDS_MAX = 1800.0

# How long an unanswered call says something about the bank: the worker makes one every ten seconds, and a web process
# may not call again for hours.
BANK_CALL_COUNTS = timedelta(minutes=1)

# How long the headline says that a clock was set: times of that hour may be out of order.
CLOCK_STEP_COUNTS = timedelta(hours=1)

# The bank's words in a headline; the pages have them whole.
_WORDS_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Health:
    """Ages are in seconds, None when there is nothing that could have one. Every known name is a key."""

    at: datetime  # the moment that all this is of
    statement: Statement
    oldest_unforwarded_at: datetime | None
    attention_by_kind: Mapping[str, int]  # open ones
    slots: Sequence[Slot]  # empty until a window is open
    slots_by_state: Mapping[str, int]
    slots_late: int  # issued late, or overdue now
    # since the last run in which every question was answered, or since the window was opened
    reconciliation_age_seconds: float | None
    reconciliation_failure: str | None  # of the last run; None when the bank answered every question
    bank_unanswered: "UnansweredCall | None"  # the newest of the last calls of processes that are alive
    clock_step: ClockStep | None  # the last one that a process that is alive noticed, for an hour
    transfers_unanswered: int  # pending or sending ones that were tried without a conclusive answer
    unanswered_reason: str | None  # why, of one that was tried last
    processes_by_kind: Mapping[str, int]  # alive ones
    bank_key_age_seconds: float | None  # the longest of the web processes that are alive
    bank_keys_missing: int  # web processes that are alive and have none
    pauses: Mapping[Pausable, Pause]  # only of what is paused
    alerts_undelivered: int  # open attentions whose alert was tried at least once and not delivered


@dataclass(frozen=True, slots=True)
class UnansweredCall:
    """A process whose last call to the bank brought no answer: ``verdict`` is not_sent, throttled or unclear."""

    kind: str
    verdict: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or that all is: ``tone`` is bad, wait or good."""

    tone: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Headline(Finding):
    """The worst that was found, or that all is well; ``others`` is everything else that is not as it should be."""

    others: Sequence[Finding]


def read_health(database: Database, now: datetime) -> Health:
    """Read it on one snapshot. Raises LedgerUnavailable."""
    with database.reading() as connection:
        return health_within(connection, now)


def health_within(connection: Connection, now: datetime) -> Health:
    """The same, as a transaction sees it."""
    slots = slots_in(connection, now)
    alive = connection.execute(
        select(processes)
        .where(processes.c.stopped_at.is_(None), processes.c.seen_at >= now - SEEN_WITHIN)
        .order_by(processes.c.bank_called_at.desc())
    ).all()
    key_times = [row.bank_key_fetched_at for row in alive if row.kind == "web"]
    known_times = [moment for moment in key_times if moment is not None]
    unanswered, reason = _unanswered(connection)
    attention_by_kind, undelivered = _open_attentions(connection)
    return Health(
        at=now,
        statement=statement_within(connection),
        oldest_unforwarded_at=oldest_unforwarded(connection),
        attention_by_kind=attention_by_kind,
        slots=slots,
        slots_by_state={
            str(state): sum(slot.state == state for slot in slots) for state in SlotState if slots
        },
        slots_late=sum(slot.is_late for slot in slots),
        reconciliation_age_seconds=_age(_last_reconciliation(connection, slots), now),
        reconciliation_failure=_last_failure(connection),
        bank_unanswered=next(
            (
                UnansweredCall(row.kind, row.bank_verdict, row.bank_called_at)
                for row in alive
                if row.bank_verdict in UNANSWERED and row.bank_called_at > now - BANK_CALL_COUNTS
            ),
            None,
        ),
        clock_step=max(
            (
                ClockStep(row.clock_step_seconds, row.clock_stepped_at)
                for row in alive
                if row.clock_stepped_at is not None and row.clock_stepped_at > now - CLOCK_STEP_COUNTS
            ),
            key=lambda step: step.noticed_at,
            default=None,
        ),
        transfers_unanswered=unanswered,
        unanswered_reason=reason,
        processes_by_kind={kind: sum(row.kind == kind for row in alive) for kind in PROCESS_KINDS},
        bank_key_age_seconds=_age(min(known_times, default=None), now),
        bank_keys_missing=len(key_times) - len(known_times),
        pauses=paused_in(connection),
        alerts_undelivered=undelivered,
    )


def headline_of(health: Health, language: Language) -> Headline:
    """The worst first. Good only when nothing at all is wrong, late, paused or unanswered. Pure."""
    # Sorting keeps the order of _findings among those of one tone.
    worst, *others = sorted(
        [*_findings(health, language), _good_news(health, language)],
        key=lambda each: _TONES.index(each.tone),
    )
    return Headline(
        worst.tone, worst.text, worst.detail, tuple(each for each in others if each.tone != "good")
    )


_TONES = ("bad", "wait", "good")


# --- below: what is found ---


def _findings(health: Health, language: Language) -> Iterator[Finding]:
    _, ngettext = language.gettext, language.ngettext
    statement = health.statement
    if not statement.balanced:
        yield Finding("bad", _("The statement does not balance"), _("This is a bug: please report it."))
    if not health.processes_by_kind["web"]:
        yield Finding(
            "bad",
            _("No web process is running"),
            _("No event is received and no credit is forwarded until one starts."),
        )
    if not health.processes_by_kind["worker"]:
        yield Finding(
            "bad",
            _("No worker is running"),
            _("No invoices are issued and nothing is reconciled until one starts."),
        )
    if statement.attention:
        items = ngettext("1 item needs attention", "%(num)d items need attention", statement.attention)
        yield Finding("bad", items, _("Most urgent first, below."))
    yield from _pauses(health, language)
    yield from _bank_trouble(health, language)
    yield from _late(health, language)
    if step := health.clock_step:
        far, ago = (
            duration(abs(step.seconds)),
            duration(max(0, (health.at - step.noticed_at).total_seconds())),
        )
        yield Finding(
            "wait",
            _("A clock was set back by %(time)s", time=far)
            if step.seconds < 0
            else _("A clock was set forward by %(time)s", time=far),
            _(
                "Noticed %(time)s ago. What was waiting is due now; times around then may be out of order. Check NTP.",
                time=ago,
            ),
        )
    if health.alerts_undelivered:
        yield Finding(
            "wait",
            ngettext(
                "1 notification not delivered",
                "%(num)d notifications not delivered",
                health.alerts_undelivered,
            ),
            _("repasse keeps trying; check %(setting)s.", setting="ALERT_URLS"),
        )


def _pauses(health: Health, language: Language) -> Iterator[Finding]:
    _ = language.gettext
    for switch in SWITCHES:
        pause = health.pauses.get(switch)
        if pause is None:
            continue
        detail = _(
            "Paused %(duration)s ago by %(who)s: %(reason)s",
            duration=duration(max(0, round((health.at - pause.since).total_seconds()))),
            who=pause.who,
            reason=pause.reason,
        )
        waiting = _waiting(health.statement)
        if switch == "issuing":
            text = _("Issuing is paused")
        elif waiting:
            text = language.ngettext(
                "Forwarding is paused: 1 credit (%(amount)s) is waiting",
                "Forwarding is paused: %(num)d credits (%(amount)s) are waiting",
                waiting,
                amount=format_brl(health.statement.unforwarded_centavos - health.statement.dead_centavos),
            )
        else:
            text = _("Forwarding is paused")
        yield Finding("wait", text, detail)


def _bank_trouble(health: Health, language: Language) -> Iterator[Finding]:
    _, ngettext = language.gettext, language.ngettext
    if last := health.bank_unanswered:
        yield Finding(
            "wait",
            _("The bank does not answer"),
            _(
                "The last call, by the %(kind)s process, was %(time)s ago: %(reason)s. repasse keeps trying.",
                kind=last.kind,
                time=duration(max(0, round((health.at - last.at).total_seconds()))),
                reason=label(labels_of(language).verdicts, last.verdict).meaning,
            ),
        )
    if health.transfers_unanswered:
        yield Finding(
            "wait",
            ngettext(
                "1 transfer waits for another attempt",
                "%(num)d transfers wait for another attempt",
                health.transfers_unanswered,
            ),
            _(
                "repasse keeps trying. Last attempt: %(words)s",
                words=_words(health.unanswered_reason, language),
            ),
        )
    if health.reconciliation_failure is not None:
        yield Finding(
            "wait",
            _("The bank did not answer the last reconciliation"),
            _("repasse asks again: %(words)s", words=_words(health.reconciliation_failure, language)),
        )
    if health.bank_keys_missing:
        yield Finding(
            "wait",
            ngettext(
                "1 web process without the bank's public key",
                "%(num)d web processes without the bank's public key",
                health.bank_keys_missing,
            ),
            _("Events are answered with 503, and the bank sends them again, until the key can be fetched."),
        )


def _late(health: Health, language: Language) -> Iterator[Finding]:
    _ = language.gettext
    age = health.reconciliation_age_seconds
    if age is not None and age > RECONCILIATION_AGE_SECONDS_MAX:
        yield Finding(
            "wait",
            _("No complete reconciliation for %(duration)s", duration=duration(age)),
            _("A credit whose webhook was lost has not been found since."),
        )
    if overdue := health.slots_by_state.get(SlotState.OVERDUE, 0):
        yield Finding(
            "wait",
            language.ngettext("1 batch of invoices overdue", "%(num)d batches of invoices overdue", overdue),
            _("The worker issues them as soon as it can."),
        )
    oldest = health.oldest_unforwarded_at
    waits = 0.0 if oldest is None else (health.at - oldest).total_seconds()
    if waits > SLOW_SECONDS:
        yield Finding(
            "wait",
            _("A credit has waited for %(duration)s", duration=duration(waits)),
            _("repasse keeps trying."),
        )


def _good_news(health: Health, language: Language) -> Finding:
    _ = language.gettext
    statement = health.statement
    if not statement.credits:
        return Finding("good", _("All is quiet"), _("No invoice has been credited yet."))
    if _waiting(statement) or statement.in_flight_centavos:
        return Finding("good", _("All is well"), _("The latest credits are being forwarded."))
    return Finding("good", _("All is well"), _("Every credit was forwarded and has arrived."))


def _waiting(statement: Statement) -> int:
    return statement.transfers[TransferState.PENDING] + statement.transfers[TransferState.SENDING]


def _words(text: str | None, language: Language) -> str:
    words = mask_tax_ids(note_text(text, language) or "—")
    return words if len(words) <= _WORDS_LENGTH_MAX else f"{words[:_WORDS_LENGTH_MAX]} …"


# --- below: reading ---


def _open_attentions(connection: Connection) -> tuple[dict[str, int], int]:
    """How many there are of each kind, and of how many of all the alert was tried and not delivered."""
    is_undelivered = and_(attentions.c.notified_at.is_(None), attentions.c.notify_attempts > 0)
    rows = connection.execute(
        select(
            attentions.c.kind,
            func.count().label("number"),
            func.count().filter(is_undelivered).label("undelivered"),
        )
        .where(attentions.c.resolved_at.is_(None))
        .group_by(attentions.c.kind)
    ).all()
    found = {row.kind: row.number for row in rows}
    return {str(kind): found.get(kind, 0) for kind in AttentionKind}, sum(row.undelivered for row in rows)


def _last_reconciliation(connection: Connection, slots: Sequence[Slot]) -> datetime | None:
    last: datetime | None = connection.execute(
        select(reconciliations.c.started_at)
        .where(reconciliations.c.failure.is_(None))
        .order_by(reconciliations.c.started_at.desc())
        .limit(1)
    ).scalar()
    return last if last is not None or not slots else slots[0].begins_at


def _last_failure(connection: Connection) -> str | None:
    failure: str | None = connection.execute(
        select(reconciliations.c.failure).order_by(reconciliations.c.started_at.desc()).limit(1)
    ).scalar()
    return failure


def _unanswered(connection: Connection) -> tuple[int, str | None]:
    """How many transfers were tried without a conclusive answer, which leaves its reason; and the last reason."""
    number, reason = 0, None
    # Sorted by the columns of the indexes over these states.
    for state, moment in ((TransferState.PENDING, "due_at"), (TransferState.SENDING, "lease_expires_at")):
        has_reason = [*in_state(state), transfers.c.reason.is_not(None)]
        number += connection.execute(
            select(func.count()).select_from(transfers).where(*has_reason)
        ).scalar_one()
        newest = select(transfers.c.reason).where(*has_reason).order_by(transfers.c[moment].desc())
        reason = connection.execute(newest.limit(1)).scalar() or reason
    return number, reason


def _age(moment: datetime | None, now: datetime) -> float | None:
    # Clocks of two machines may differ by a little; no age is negative.
    return None if moment is None else max(0.0, (now - moment).total_seconds())
