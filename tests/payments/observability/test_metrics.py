"""Metrics: the names and labels that dashboards and alerts rely on, and the figures of the database."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from payments.ledger.inbox import Outcome, Receipt
from payments.observability.metrics import Metrics, metrics_page
from payments.storage.database import Database, open_database
from payments.version import VERSION
from tests.payments.builders import NOW

ROOT = Path(__file__).parents[3]


def page_of(database: Database, metrics: Metrics | None = None) -> bytes:
    """What /metrics shows."""
    return generate_latest(metrics_page(metrics or Metrics(CollectorRegistry()), database, lambda: NOW))


def samples(page: bytes) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {match[1]: float(match[2]) for match in re.finditer(r"^([^#\s].*) (\S+)$", page.decode(), re.M)}


def test_a_process_counts_under_the_promised_names() -> None:
    """In base units, with the labels that dashboards and alerts rely on."""
    metrics = Metrics(CollectorRegistry())
    metrics.count_event(200, 0.003)
    metrics.count_event(418, 0.003)
    metrics.signature_refusals.inc()
    metrics.count_bank_call("POST", "transfer", "accepted", 0.2)
    metrics.count_transfers({"sent": 2, "found": 1, "failed": 0})
    metrics.count_receipts(
        [
            Receipt("1", Outcome.CREDIT, "7", 100),
            Receipt("2", Outcome.BANK_REPORT, "8", None, settled_after_seconds=3.5),
        ]
    )
    metrics.count_alert("failed")
    found = samples(generate_latest(metrics.registry))
    expected = {
        'repasse_events_total{answer="200"}': 1,
        'repasse_events_total{answer="418"}': 1,
        'repasse_events_total{answer="503"}': 0,
        "repasse_event_seconds_count": 2,
        'repasse_event_seconds_bucket{le="0.005"}': 2,
        "repasse_signature_refusals_total": 1,
        'repasse_bank_calls_total{call="POST transfer",verdict="accepted"}': 1,
        'repasse_bank_call_seconds_count{call="POST transfer"}': 1,
        'repasse_transfers_recorded_total{outcome="sent"}': 2,
        'repasse_transfers_recorded_total{outcome="found"}': 1,
        'repasse_events_stored_total{outcome="credit"}': 1,
        'repasse_events_stored_total{outcome="reversal"}': 0,
        "repasse_settlement_seconds_count": 1,
        "repasse_settlement_seconds_sum": 3.5,
        'repasse_settlement_seconds_bucket{le="5.0"}': 1,
        'repasse_notifications_total{outcome="failed"}': 1,
        'repasse_notifications_total{outcome="delivered"}': 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert 'repasse_transfers_recorded_total{outcome="failed"}' not in found
    assert not [name for name in found if "_created" in name]


def test_every_process_shows_the_same_figures_of_the_database(database: Database) -> None:
    """Two processes that have counted nothing themselves, each with a registry of its own."""
    pages = [page_of(database) for _ in range(2)]
    assert pages[0] == pages[1]
    found = samples(pages[0])
    assert found[f'repasse_build_info{{version="{VERSION}"}}'] == 1
    assert found["repasse_database_up"] == found["repasse_books_balanced"] == 1
    assert found['repasse_transfers{state="settled"}'] == 0


def test_a_database_that_cannot_be_read_is_shown_as_down(tmp_path: Path) -> None:
    """What the process counted itself is worth having even then."""
    (tmp_path / "broken.db").write_bytes(b"this is no database, whatever its name says" * 100)
    broken = open_database(f"sqlite:///{tmp_path / 'broken.db'}")
    found = samples(page_of(broken))
    broken.close()
    assert found["repasse_database_up"] == 0
    assert "repasse_signature_refusals_total" in found
    assert "repasse_money_at_risk_centavos" not in found


def test_names_keep_the_conventions_of_prometheus(database: Database) -> None:
    """One prefix; counters end in _total; seconds and centavos are named; each says what it is in a sentence."""
    text = page_of(database).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 25
    for family in families:
        assert re.fullmatch(r"repasse_[a-z_]+[a-z]", family.name)
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")
        assert not re.search(r"_(ms|millis|minutes|hours|reais|brl)\b", family.name)


def test_the_page_of_documentation_names_exactly_the_metrics_that_exist(database: Database) -> None:
    """docs/observability.md, table "Metrics": none is missing, none is left over; types and labels fit."""
    text = page_of(database, _used()).decode()
    exported = {
        (family.name + "_total" * (family.type == "counter"), family.type)
        for family in text_string_to_metric_families(text)
    }
    # These have no sample in empty books; their labels are shown by tests/ops.
    exported |= {("repasse_reconciliation_age_seconds", "gauge"), ("repasse_bank_key_age_seconds", "gauge")}
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    rows = re.findall(r"^\| `(repasse_\w+)(?:\{([\w, ]+)\})?` \| (\w+) \|", page, re.M)
    assert len(rows) == len({name for name, _, _ in rows})
    assert {(name, kind) for name, _, kind in rows} == exported
    documented = {name: {label for label in labels.split(", ") if label} for name, labels, _ in rows}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
            assert sample.labels.keys() - {"le"} == documented[name], name


def _used() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    metrics.count_bank_call("POST", "transfer", "accepted", 0.2)
    metrics.count_transfers({"sent": 1})
    return metrics


COUNT = """
import sys
from prometheus_client import CollectorRegistry
from payments.observability.metrics import Metrics
metrics = Metrics(CollectorRegistry())
for _ in range(int(sys.argv[1])):
    metrics.count_event(200, 0.003)
"""

READ = """
import sys
from datetime import datetime, timezone
from prometheus_client import CollectorRegistry, generate_latest
from payments.storage.database import open_database
from payments.observability.metrics import Metrics, metrics_page
metrics = Metrics(CollectorRegistry())
metrics.count_event(401, 0.003)
page = metrics_page(metrics, open_database(sys.argv[1]), lambda: datetime.now(timezone.utc))
sys.stdout.buffer.write(generate_latest(page))
"""


@pytest.mark.process
def test_any_worker_shows_the_counts_of_all_even_of_one_that_died(database_url: str, tmp_path: Path) -> None:
    """Counts are in files: those of a worker that is gone still count, or a rate would fall below zero.

    One that is just starting has an empty file, which must not break the page.
    """
    folder = tmp_path / "metrics"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def run(code: str, argument: str) -> bytes:
        command = [sys.executable, "-c", code, argument]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout

    run(COUNT, "3")
    run(COUNT, "4")
    (folder / "counter_4711.db").touch()
    found = samples(run(READ, database_url))
    assert found['repasse_events_total{answer="200"}'] == 7
    assert found['repasse_events_total{answer="401"}'] == 1
    assert found["repasse_event_seconds_count"] == 8
    assert found["repasse_database_up"] == 1
