"""The alert rules and the dashboard, against what a running app really exports, and against the runbook."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from payments.bank.transport import Verdict
from payments.ledger.attention import AttentionKind
from payments.ledger.batches import open_window
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import wait_until
from tests.webhooks.conftest import WebApp, start_app

__all__ = ["start_app"]  # a fixture

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ops" / "alerts.yml"
TOKEN = "a-token-of-thirty-two-characters"

RULES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads((ROOT / "ops" / "dashboard.json").read_text("utf-8"))
EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in RULES] + [
    (panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel.get("targets", ())
]

# Sample names, and for each label of theirs the values that it has.
Exported = dict[str, dict[str, set[str]]]

# A metric of ours with its conditions, one condition, and what a sum is grouped by.
_SELECTOR = re.compile(r"(repasse_\w+)(?:\{([^}]*)\})?")
_CONDITION = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')
_GROUPED_BY = re.compile(r"by \(([^)]*)\)")


@pytest.fixture
def exported(start_app: Callable[..., WebApp], database: Database, emulator: EmulatedBank) -> Exported:
    """What a running app shows after a credit was forwarded."""
    open_window(database, 10_800, 8, "abcd", datetime.now(UTC))
    web = start_app(operator_token=TOKEN)
    web.deliver(invoice_event())

    def page() -> str:
        return web.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text

    wait_until(lambda: 'repasse_transfers{state="sent"} 1.0' in page(), "the credit is forwarded")
    wait_until(lambda: "repasse_bank_key_age_seconds" in page(), "the heartbeat has recorded the key")
    found: Exported = {}
    for family in text_string_to_metric_families(page()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    # A healthy bank gives only one of them.
    found["repasse_bank_calls_total"]["verdict"] |= set(Verdict)
    return found


def test_every_expression_asks_for_metrics_labels_and_values_that_exist(exported: Exported) -> None:
    """A renamed metric would make an alert silent forever, and no one would notice."""
    for place, expression in EXPRESSIONS:
        labels: set[str] = {"alertname", "alertstate"} if "ALERTS" in expression else set()
        for name, conditions in _SELECTOR.findall(expression):
            assert name in exported, f"{place}: no one exports {name}"
            labels |= exported[name].keys()
            for label, values in _CONDITION.findall(conditions):
                known = exported[name].get(label, set())
                for value in values.split("|"):
                    assert any(re.fullmatch(value, each) for each in known), f"{place}: {label}={value}"
        assert labels or _SELECTOR.search(expression), f"{place} asks for nothing: {expression}"
        for group in _GROUPED_BY.findall(expression):
            assert set(group.split(", ")) <= labels, f"{place}: groups by {group}"


def test_every_metric_of_ours_is_looked_at_somewhere(exported: Exported) -> None:
    """What no one looks at need not be counted; these few serve those who look deeper."""
    asked = {name for _, expression in EXPRESSIONS for name, _ in _SELECTOR.findall(expression)}

    def families(names: set[str]) -> set[str]:
        return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}

    deeper = {f"repasse_credits_{kind}_centavos_total" for kind in ("gross", "fee", "net")}
    assert families(set(exported)) - families(asked) == deeper | {"repasse_invoices_total"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """At night no one guesses; the runbook has a section of the alert's name."""
    assert re.fullmatch(r"Repasse[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_kind_of_attention_raises_an_alert() -> None:
    """A new kind comes with its alert; only the kind in which there is nothing to do has none."""
    called = {
        kind
        for rule in RULES
        for kinds in re.findall(r'repasse_attention\{kind=~?"([^"]*)"\}', rule["expr"])
        for kind in kinds.split("|")
    }
    assert called == set(AttentionKind) - {AttentionKind.NOTHING_TO_FORWARD}


def test_the_runbook_has_a_section_for_each_alert_and_for_no_other() -> None:
    """In the same order."""
    headings = re.findall(r"^### (Repasse\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.M)
    assert headings == [rule["alert"] for rule in RULES]
    assert len(headings) == len(set(headings))


def test_the_dashboard_is_one_that_grafana_can_read() -> None:
    """Its panels have ids of their own, a place on the grid that no other has, and the reader's own data source."""
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert all(x < 24 for x, _ in own), panel["title"]
        cells |= own
        sources = [panel.get("datasource"), *(each["datasource"] for each in panel.get("targets", ()))]
        assert all(source is None or source["uid"] == "${datasource}" for source in sources)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian's prometheus) is not installed"
)
@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_itself_accepts_the_rules_and_they_fire_as_meant(command: tuple[str, ...]) -> None:
    """Its own tool has the last word."""
    ended = subprocess.run(
        ["promtool", *command], cwd=FILE.parent, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
