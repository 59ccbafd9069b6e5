"""Prometheus metrics: what this process has counted, and what the database holds.

Names and labels are promised: alerts, the dashboard and docs/observability.md rely on them, and tests compare. Times
are in seconds, money is in whole centavos. What describes the database is read from it at each scrape: every process
shows the same, so take the max of it and never the sum. What a process counts starts at 0 with it; the workers of one
web process add theirs up by prometheus_client's multiprocess mode, which the environment variable
PROMETHEUS_MULTIPROC_DIR switches on before the first import.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Outcome, Receipt
from payments.ledger.reconciliations import read_reconciliations
from payments.operator.health import SWITCHES, Health, read_health
from payments.operator.statement import Statement
from payments.storage.database import Database
from payments.version import VERSION

# A line for each series that says when it began, which nothing of ours reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Label values that are there from the start, so that a first failure is a rise and not a new series.
_ANSWERS = (200, 400, 401, 408, 413, 500, 503)
_ALERT_OUTCOMES = ("delivered", "failed")

# An answer waits for one durable commit (about 1 ms); the bank gives up after some seconds.
_EVENT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# BANK_TIMEOUT_SECONDS is 15, and calls that come near it are the trouble to be seen.
_BANK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)

# Pix settles within seconds; a TED waits for bank hours, up to a day.
_SETTLEMENT_BUCKETS = (1, 5, 15, 60, 300, 1_800, 7_200, 43_200)


class Metrics:
    """What this process counts, in ``registry``; in multiprocess mode in files that all workers' pages add up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, meaning, labels, registry=registry, buckets=buckets)

        self.events = counter("repasse_events", "Webhook requests, by HTTP status of the answer.", "answer")
        self.event_seconds = histogram(
            "repasse_event_seconds", "From a webhook's last byte to its answer.", buckets=_EVENT_BUCKETS
        )
        self.signature_refusals = counter(
            "repasse_signature_refusals", "Webhooks whose signature did not verify."
        )
        self.events_stored = counter(
            "repasse_events_stored", "Delivered events, by what became of them.", "outcome"
        )
        self.settlement_seconds = histogram(
            "repasse_settlement_seconds",
            "From the record of a credit until its transfer settled.",
            buckets=_SETTLEMENT_BUCKETS,
        )
        self.bank_calls = counter("repasse_bank_calls", "Calls to the bank, by verdict.", "call", "verdict")
        self.bank_call_seconds = histogram(
            "repasse_bank_call_seconds", "How long calls to the bank took.", "call", buckets=_BANK_BUCKETS
        )
        self.transfers_recorded = counter("repasse_transfers_recorded", "Outcomes of transfers.", "outcome")
        self.notifications = counter(
            "repasse_notifications", "Attempts to send an alert, by outcome.", "outcome"
        )
        for status in _ANSWERS:
            self.events.labels(str(status))
        for stored in Outcome:
            self.events_stored.labels(stored.value)
        for outcome in _ALERT_OUTCOMES:
            self.notifications.labels(outcome)

    def count_event(self, status: int, seconds: float) -> None:
        """Count one webhook request by its HTTP status."""
        self.events.labels(str(status)).inc()
        self.event_seconds.observe(seconds)

    def count_receipts(self, receipts: Iterable[Receipt]) -> None:
        """Count stored events by outcome, and how long after its credit each settled transfer settled."""
        for receipt in receipts:
            self.events_stored.labels(receipt.outcome.value).inc()
            if receipt.settled_after_seconds is not None:
                self.settlement_seconds.observe(receipt.settled_after_seconds)

    def count_bank_call(self, method: str, resource: str, verdict: str, seconds: float) -> None:
        """Count one call to the bank; the transport's ``on_call``."""
        call = f"{method} {resource}"
        self.bank_calls.labels(call, verdict).inc()
        self.bank_call_seconds.labels(call).observe(seconds)

    def count_transfers(self, outcomes: Mapping[str, int]) -> None:
        """Count outcomes of transfers (sent, found, failed, ...)."""
        for outcome, count in outcomes.items():
            if count:
                self.transfers_recorded.labels(outcome).inc(count)

    def count_alert(self, outcome: str) -> None:
        """Count one attempt to send an alert: delivered or failed."""
        self.notifications.labels(outcome).inc()


def metrics_page(metrics: Metrics, database: Database, clock: Callable[[], datetime]) -> CollectorRegistry:
    """The registry that a /metrics page shows: what is counted here (or by all workers), and the database's figures."""
    page = CollectorRegistry()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    page.register(_AllWorkers(folder) if folder else metrics.registry)
    page.register(DatabaseCollector(database, clock))
    return page


class _AllWorkers:
    """Adds up what all workers have written into the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterable[Metric]:
        # A worker that is just starting, or was killed then, leaves an empty file, on which the stock collector fails.
        # Read: prometheus_client 0.26.0 mmap_dict.py.
        files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


class DatabaseCollector:
    """Reads the database at each scrape. When it cannot be read, it says only that."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        yield _gauges("repasse_build_info", "The release that answers.", "version", {VERSION: 1})
        now = self._clock()
        try:
            health = read_health(self._database, now)
            reconciliations = read_reconciliations(self._database)
        except LedgerUnavailable:
            yield GaugeMetricFamily("repasse_database_up", "1 when the database could be read, else 0.", 0)
            return
        yield GaugeMetricFamily("repasse_database_up", "1 when the database could be read, else 0.", 1)
        yield from _money(health.statement)
        oldest = health.oldest_unforwarded_at
        yield GaugeMetricFamily(
            "repasse_oldest_unforwarded_credit_seconds",
            "Age of the oldest credit that has not been forwarded; 0 when there is none.",
            0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()),
        )
        yield from _health(health)
        runs = CounterMetricFamily(
            "repasse_reconciliations",
            "Runs of reconciliation; complete when the bank answered every question.",
            labels=["result"],
        )
        runs.add_metric(["complete"], reconciliations.complete)
        runs.add_metric(["incomplete"], reconciliations.incomplete)
        yield runs
        yield CounterMetricFamily(
            "repasse_reconciliation_findings",
            "Facts that reconciliation found and no event had reported.",
            reconciliations.found,
        )


# --- below: one family after the other ---


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _money(statement: Statement) -> Iterator[Metric]:
    yield CounterMetricFamily("repasse_credits", "Credits.", statement.credits)
    yield CounterMetricFamily(
        "repasse_credits_gross_centavos", "What was credited, in centavos.", statement.gross_centavos
    )
    yield CounterMetricFamily(
        "repasse_credits_fee_centavos", "What the bank kept, in centavos.", statement.fee_centavos
    )
    yield CounterMetricFamily(
        "repasse_credits_net_centavos", "Gross less fee, in centavos.", statement.net_centavos
    )
    yield CounterMetricFamily("repasse_invoices", "Invoices known to be at the bank.", statement.invoices)
    yield GaugeMetricFamily(
        "repasse_withheld_centavos",
        "Part of the net that was reversed before it was sent.",
        statement.reversed_centavos,
    )
    yield _gauges("repasse_transfers", "Transfers, by state.", "state", statement.transfers)
    yield _gauges(
        "repasse_transfers_centavos",
        "Their amounts, by state.",
        "state",
        statement.transfers_centavos,
    )
    yield GaugeMetricFamily(
        "repasse_money_at_risk_centavos",
        "Credited money that is not settled yet.",
        statement.unforwarded_centavos + statement.in_flight_centavos,
    )
    yield GaugeMetricFamily(
        "repasse_claim_back_centavos",
        "What was forwarded of credits that were reversed afterwards.",
        statement.claim_back_centavos,
    )
    yield GaugeMetricFamily(
        "repasse_books_balanced",
        "1 when every centavo of the credits is accounted for once, else 0.",
        statement.balanced,
    )


def _health(health: Health) -> Iterator[Metric]:
    yield _gauges("repasse_slots", "Slots of the issuing window, by state.", "state", health.slots_by_state)
    yield GaugeMetricFamily(
        "repasse_slots_late", "Slots that were issued late or are overdue now.", health.slots_late
    )
    if health.reconciliation_age_seconds is not None:
        yield GaugeMetricFamily(
            "repasse_reconciliation_age_seconds",
            "Since the last complete run began, or since the window opened; absent before the first worker.",
            health.reconciliation_age_seconds,
        )
    yield _gauges("repasse_attention", "Open attentions, by kind.", "kind", health.attention_by_kind)
    yield _gauges(
        "repasse_processes", "Processes that were alive a minute ago.", "kind", health.processes_by_kind
    )
    if health.bank_key_age_seconds is not None:
        yield GaugeMetricFamily(
            "repasse_bank_key_age_seconds",
            "Since the bank's key was fetched, in the web process where that is longest ago.",
            health.bank_key_age_seconds,
        )
    yield GaugeMetricFamily(
        "repasse_bank_keys_missing",
        "Living web processes that have no key of the bank and answer 503 to every event.",
        health.bank_keys_missing,
    )
    is_paused = {str(switch): float(switch in health.pauses) for switch in SWITCHES}
    yield _gauges("repasse_paused", "1 when an operator has paused it, else 0.", "switch", is_paused)
    yield GaugeMetricFamily(
        "repasse_notifications_undelivered",
        "Open attentions whose alert was tried and not taken.",
        health.alerts_undelivered,
    )
