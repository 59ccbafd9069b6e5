"""The alert rules and the dashboard, against what a running app really exports, and against the runbook."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from payments.bank.transport import Verdict
from payments.ledger.attention import AttentionKind
from payments.ledger.batches import open_window
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.ops.alert_rules import FILE, Rule, read_rules
from tests.ops.promql import Matcher, Selector, grouping_labels, selectors
from tests.running import wait_until
from tests.webhooks.conftest import WebApp, settings, start_app

__all__ = ["settings", "start_app"]  # fixtures

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-thirty-two-characters"
Exported = dict[str, list[dict[str, str]]]


@pytest.fixture
def exported(start_app: Callable[..., WebApp], database: Database, emulator: EmulatedBank) -> Exported:
    """What a running app tells: each sample's name, with the labels of each of its series."""
    open_window(database, 10_800, 8, "abcd", datetime.now(UTC))
    web = start_app(operator_token=TOKEN)
    web.deliver(invoice_event())

    def page() -> str:
        return web.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text

    wait_until(lambda: 'repasse_transfers{state="sent"} 1.0' in page(), "the credit is forwarded")
    wait_until(lambda: "repasse_bank_key_age_seconds" in page(), "the heartbeat tells of the key")
    found: Exported = {}
    for family in text_string_to_metric_families(page()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def panels() -> Iterator[tuple[str, str]]:
    """Title and expression of everything on the dashboard."""
    board = json.loads((ROOT / "ops" / "dashboard.json").read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def all_expressions() -> list[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    return [(rule.alert, rule.expr) for rule in read_rules()] + list(panels())


def test_every_metric_that_is_asked_for_exists_with_the_labels_that_are_asked_for(exported: Exported) -> None:
    """A renamed metric makes an alert silent for ever, and nobody notices."""
    wrong = []
    for place, expression in all_expressions():
        found = selectors(expression)
        assert found, f"{place} asks for nothing: {expression}"
        labels: set[str] = set()
        for selector in found:
            if selector.name not in exported:
                wrong.append(f"{place}: nobody exports {selector.name}")
                continue
            labels |= set().union(*(series.keys() for series in exported[selector.name]))
            wrong += [f"{place}: {text}" for text in _mismatches(selector, exported[selector.name])]
        if missing := grouping_labels(expression) - labels:
            wrong.append(f"{place}: groups by {missing}, which no metric of it has")
    assert not wrong, "\n".join(wrong)


def _mismatches(selector: Selector, series: list[dict[str, str]]) -> Iterator[str]:
    for matcher in selector.matchers:
        known = {labels[matcher.label] for labels in series if matcher.label in labels}
        if not known:
            yield f"{selector.name} has no label {matcher.label}"
        if matcher.label == "verdict":
            known = set(Verdict)  # a healthy bank gives one of them only
        for choice in _choices(matcher):
            if not any(re.fullmatch(choice, value) for value in known):
                yield f"{selector.name} never has {matcher.label} {choice!r}, only {sorted(known)}"


def _choices(matcher: Matcher) -> list[str]:
    return matcher.value.split("|") if "~" in matcher.operator else [re.escape(matcher.value)]


def test_every_metric_of_ours_is_looked_at_somewhere(exported: Exported) -> None:
    """What nobody looks at need not be counted; these few serve those who look deeper."""
    asked = {selector.name for _, expression in all_expressions() for selector in selectors(expression)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    deeper = {f"repasse_credits_{kind}_centavos_total" for kind in ("gross", "fee", "net")}
    looked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert families - looked == deeper | {"repasse_invoices_total"}


@pytest.mark.parametrize("rule", read_rules(), ids=lambda rule: rule.alert)
def test_an_alert_says_how_grave_it_is_what_it_means_and_where_to_read_on(rule: Rule) -> None:
    """At night nobody guesses: the runbook has a section of the alert's name."""
    assert re.fullmatch(r"Repasse[A-Z][A-Za-z]+", rule.alert)
    assert rule.labels["severity"] in ("critical", "warning")
    assert set(rule.annotations) == {"summary", "description", "runbook"}
    assert rule.annotations["summary"].endswith(".")
    assert re.fullmatch(r"\d+[smh]", rule.wait)
    file, _, anchor = rule.annotations["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text("utf-8"), re.M)
    assert anchor == rule.alert.lower()
    assert rule.alert in headings


def test_every_kind_of_matter_calls_somebody() -> None:
    """A new kind comes with its alert; only the one in which there is nothing to do calls nobody."""
    called = {
        choice
        for rule in read_rules()
        for selector in selectors(rule.expr)
        if selector.name == "repasse_attention"
        for matcher in selector.matchers
        for choice in matcher.value.split("|")
    }
    assert called == set(AttentionKind) - {AttentionKind.NOTHING_TO_FORWARD}


def test_no_alert_stands_there_twice_and_none_is_missing_from_the_runbook() -> None:
    """The runbook's section tells of those that exist and of no others."""
    names = [rule.alert for rule in read_rules()]
    assert len(names) == len(set(names)) == 20
    headings = re.findall(r"^### (Repasse\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.M)
    assert headings == names


def test_the_dashboard_is_one_that_grafana_can_read() -> None:
    """Its panels have ids of their own, a place on the grid that no other has, and the reader's own data source."""
    board = json.loads((ROOT / "ops" / "dashboard.json").read_text("utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert all(x < 24 for x, _ in own), panel["title"]
        cells |= own
        sources = [panel.get("datasource"), *(each["datasource"] for each in panel.get("targets", ()))]
        assert all(source is None or source["uid"] == "${datasource}" for source in sources)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Prometheus) is not installed")
def test_prometheus_itself_accepts_the_rules_and_they_fire_as_meant() -> None:
    """Where its own tool is at hand, it has the last word."""
    for command in (["check", "rules", str(FILE)], ["test", "rules", str(FILE.parent / "alerts_test.yml")]):
        ended = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("expression", "found", "labels"),
    [
        ("up", [("up", {})], set()),
        ('max by (kind) (a_b{kind=~"x|y",z!="}"}) > 0', [("a_b", {"kind": "x|y", "z": "}"})], {"kind"}),
        (
            "sum(rate(a_total[5m])) / on (x) sum(rate(b_total[10m])) and c > 1e3",
            [("a_total", {}), ("b_total", {}), ("c", {})],
            {"x"},
        ),
        (
            "histogram_quantile(0.99, sum by (le, q) (rate(h_bucket[$__rate_interval])))",
            [("h_bucket", {})],
            {"le", "q"},
        ),
        ("absent(a)", [("a", {})], set()),
    ],
)
def test_names_are_found_in_expressions(
    expression: str, found: list[tuple[str, dict[str, Any]]], labels: set[str]
) -> None:
    """What reads the rules here must not pass because it sees nothing."""
    seen = [(each.name, {m.label: m.value for m in each.matchers}) for each in selectors(expression)]
    assert seen == found
    assert grouping_labels(expression) == labels
