"""Prometheus metrics: what this process counts, and what the books say whoever is asked.

Names and labels are promised: alerts, the dashboard and docs/observability.md rely on them, and a test compares.
Times are in seconds, money is in centavos (whole ones, as everywhere). What describes the books is read from the
database at each scrape, so it is right in every process and after every restart, and must not be added up over
processes. What a process counts itself is added up over the workers of one web process by prometheus_client's
multiprocess mode, which the environment variable PROMETHEUS_MULTIPROC_DIR switches on before the first import.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from payments.errors import LedgerUnavailable
from payments.ledger import totals
from payments.ledger.inbox import Outcome
from payments.ledger.totals import Sum
from payments.operator.health import Health, read_health
from payments.operator.statement import Statement, read_oldest_unforwarded, read_statement
from payments.storage.database import Database
from payments.version import VERSION

# A line for each series that says when it began, which nothing of ours reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# What an event may be answered: there from the start, so that a first failure is a rise and not a new series.
_ANSWERS = (200, 400, 401, 413, 500, 503)

# prometheus_client looks for it once, when it is imported.
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# An answer waits for one durable commit (about 1 ms); the bank gives up after some seconds.
_EVENT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# BANK_TIMEOUT_SECONDS is 15; what is near it is trouble.
_BANK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)


class Metrics:
    """What this process counts, in ``registry``; in multiprocess mode in files, which all workers' pages add up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.events = Counter(
            "repasse_events", "Webhook requests, by what was answered.", ["answer"], registry=registry
        )
        self.event_seconds = Histogram(
            "repasse_event_seconds",
            "From a webhook's last byte to its answer.",
            registry=registry,
            buckets=_EVENT_BUCKETS,
        )
        self.signature_refusals = Counter(
            "repasse_signature_refusals", "Webhooks whose signature did not verify.", registry=registry
        )
        self.bank_calls = Counter(
            "repasse_bank_calls", "Calls to the bank, by verdict.", ["call", "verdict"], registry=registry
        )
        self.bank_call_seconds = Histogram(
            "repasse_bank_call_seconds",
            "How long calls to the bank took.",
            ["call"],
            registry=registry,
            buckets=_BANK_BUCKETS,
        )
        self.transfers_recorded = Counter(
            "repasse_transfers_recorded", "Outcomes of transfers.", ["outcome"], registry=registry
        )
        self._answers = {status: self.events.labels(str(status)) for status in _ANSWERS}

    def count_event(self, status: int, seconds: float) -> None:
        """Count one webhook request by its HTTP status; some microseconds, at every event."""
        answered = self._answers.get(status)
        if answered is None:
            answered = self._answers[status] = self.events.labels(str(status))
        answered.inc()
        self.event_seconds.observe(seconds)

    def count_bank_call(self, method: str, resource: str, verdict: str, seconds: float) -> None:
        """Count one call to the bank; what the transport reports to."""
        call = f"{method} {resource}"
        self.bank_calls.labels(call, verdict).inc()
        self.bank_call_seconds.labels(call).observe(seconds)

    def count_transfers(self, outcomes: Mapping[str, int]) -> None:
        """Count outcomes of transfers (sent, found, failed, ...)."""
        for outcome, count in outcomes.items():
            if count:
                self.transfers_recorded.labels(outcome).inc(count)


class MetricsText:
    """The page that Prometheus reads: this process's counts (or those of all workers), and the books."""

    def __init__(self, metrics: Metrics, database: Database, clock: Callable[[], datetime]) -> None:
        self._metrics = metrics
        self._books = BooksCollector(database, clock)

    def render(self) -> bytes:
        """Read the books and write everything in the text format; blocks for some milliseconds."""
        counted = self._metrics.registry
        if folder := os.environ.get(MULTIPROCESS_VARIABLE):
            counted = CollectorRegistry()
            counted.register(_AllWorkers(folder))
        books = CollectorRegistry()
        books.register(self._books)
        return generate_latest(counted) + generate_latest(books)


class _AllWorkers:
    """Adds up what all workers have written into the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterable[Metric]:
        # A worker that is just starting, or was killed then, has made its file and put nothing in it; the stock
        # collector fails on that. Read: prometheus_client 0.26.0 mmap_dict.py.
        files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


class BooksCollector:
    """Reads the books at each scrape. When they cannot be read it says only that."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """What the books say now; asked by prometheus_client."""
        yield _gauge("repasse_build_info", "The release that answers.", {(("version", VERSION),): 1})
        now = self._clock()
        try:
            statement = read_statement(self._database)
            oldest = read_oldest_unforwarded(self._database)
            health = read_health(self._database, now)
            with self._database.reading() as connection:
                kept = totals.read_totals(connection)
        except LedgerUnavailable:
            yield _gauge("repasse_database_up", "1 when the books could be read, else 0.", {(): 0})
            return
        yield _gauge("repasse_database_up", "1 when the books could be read, else 0.", {(): 1})
        yield from _money(statement)
        age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        yield _gauge(
            "repasse_oldest_unforwarded_credit_seconds",
            "Age of the oldest credit that has not been forwarded; 0 when there is none.",
            {(): age},
        )
        yield _settlement(kept)
        yield from _work(statement, health, kept)
        yield from _watch(health, kept)


# --- below: one family after the other ---

_Samples = Mapping[tuple[tuple[str, str], ...], float]


def _gauge(name: str, meaning: str, samples: _Samples) -> Metric:
    return _filled(GaugeMetricFamily(name, meaning), name, samples)


def _counter(name: str, meaning: str, samples: _Samples) -> Metric:
    return _filled(CounterMetricFamily(name, meaning), f"{name}_total", samples)


def _filled(family: Metric, sample: str, samples: _Samples) -> Metric:
    for labels, value in samples.items():
        family.add_sample(sample, dict(labels), value)
    return family


def _by(label: str, values: Mapping[str, float]) -> _Samples:
    return {((label, name),): value for name, value in values.items()}


def _of(kept: Mapping[str, Sum], name: str) -> Sum:
    return kept.get(name, Sum(0, 0))


def _money(statement: Statement) -> Iterator[Metric]:
    yield _counter("repasse_credits", "Credits in the books.", {(): statement.credits})
    for name, meaning, centavos in (
        ("gross", "What was credited", statement.gross_centavos),
        ("fee", "What the bank kept", statement.fee_centavos),
        ("net", "What is to be forwarded", statement.net_centavos),
    ):
        yield _counter(f"repasse_credits_{name}_centavos", f"{meaning}, in centavos.", {(): centavos})
    yield _gauge(
        "repasse_withheld_centavos",
        "Part of the net that was reversed before it was sent.",
        {(): statement.reversed_centavos},
    )
    yield _gauge(
        "repasse_transfers",
        "Transfers in the books, by state.",
        _by("state", statement.transfers),
    )
    yield _gauge(
        "repasse_transfers_centavos",
        "Their amounts, by state.",
        _by("state", statement.transfers_centavos),
    )
    yield _gauge(
        "repasse_money_at_risk_centavos",
        "Credited money that is not settled yet.",
        {(): statement.unforwarded_centavos + statement.in_flight_centavos},
    )
    yield _gauge(
        "repasse_claim_back_centavos",
        "What was forwarded of credits that were reversed afterwards.",
        {(): statement.claim_back_centavos},
    )
    yield _gauge(
        "repasse_books_balanced",
        "1 when every centavo of the credits is accounted for once, else 0.",
        {(): statement.balanced},
    )


def _settlement(kept: Mapping[str, Sum]) -> Metric:
    """A histogram without ``_sum``: the books keep counts by bound, and no sum of seconds."""
    family = Metric(
        "repasse_settlement_seconds", "From the record of a credit until its transfer settled.", "histogram"
    )
    reached = 0
    for bound in totals.SETTLED_WITHIN_SECONDS:
        reached += _of(kept, totals.settled_within(bound)).number
        label = floatToGoString(bound)  # type: ignore[no-untyped-call]
        family.add_sample("repasse_settlement_seconds_bucket", {"le": label}, reached)
    family.add_sample("repasse_settlement_seconds_count", {}, reached)
    return family


def _work(statement: Statement, health: Health, kept: Mapping[str, Sum]) -> Iterator[Metric]:
    yield _counter(
        "repasse_events_stored",
        "Events in the books, by what came of them; found by reconciliation or delivered.",
        _by(
            "outcome",
            {each: _of(kept, f"events.{each}").number for each in Outcome if each != Outcome.REPEATED},
        ),
    )
    yield _counter("repasse_invoices", "Invoices known to be at the bank.", {(): statement.invoices})
    yield _gauge(
        "repasse_slots", "Slots of the issuing window, by state.", _by("state", health.slots_by_state)
    )
    yield _gauge(
        "repasse_slots_late", "Slots that were issued late or are overdue now.", {(): health.slots_late}
    )
    yield _counter(
        "repasse_reconciliations",
        "Runs of reconciliation; complete when the bank answered every question.",
        _by(
            "result",
            {each: _of(kept, f"reconciliations.{each}").number for each in ("complete", "incomplete")},
        ),
    )
    yield _counter(
        "repasse_reconciliation_findings",
        "Facts that reconciliation found and no event had told.",
        {(): _of(kept, "reconciliations.found").number},
    )
    if health.reconciliation_age_seconds is not None:
        yield _gauge(
            "repasse_reconciliation_age_seconds",
            "Since the last complete run began, or since the window opened; absent before the first worker.",
            {(): health.reconciliation_age_seconds},
        )


def _watch(health: Health, kept: Mapping[str, Sum]) -> Iterator[Metric]:
    yield _gauge(
        "repasse_attention", "Open matters for a person, by kind.", _by("kind", health.attention_by_kind)
    )
    yield _gauge(
        "repasse_processes",
        "Processes that gave a sign of life within a minute.",
        _by("kind", health.processes_by_kind),
    )
    if health.bank_key_age_seconds is not None:
        yield _gauge(
            "repasse_bank_key_age_seconds",
            "Since the bank's key was fetched, in the web process where that is longest ago.",
            {(): health.bank_key_age_seconds},
        )
    yield _gauge(
        "repasse_bank_keys_missing",
        "Living web processes that have no key of the bank, and answer 503 to every event.",
        {(): health.bank_keys_missing},
    )
    yield _gauge("repasse_paused", "1 when an operator has paused it, else 0.", _by("switch", health.paused))
    yield _counter(
        "repasse_notifications",
        "Posts to the notification hook, by outcome.",
        _by(
            "outcome",
            {each: _of(kept, f"notifications.{each}").number for each in ("delivered", "failed")},
        ),
    )
    yield _gauge(
        "repasse_notifications_undelivered",
        "Open matters that the notification hook was tried for, and did not take.",
        {(): health.alerts_undelivered},
    )
