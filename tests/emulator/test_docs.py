"""The emulator's README and its reference: whole, short, and about what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from emulator.behaviour.faults import FAULTS, SCENARIOS
from emulator.books.preset import PRESETS
from emulator.management.triggers import TRIGGERS
from emulator.options import read_options
from tests.emulator.conftest import ROOT

EMULATOR = ROOT / "emulator"
DOCS = EMULATOR / "docs"
# A newcomer reads it in five minutes.
README_LINES_MAX = 150


def test_the_readme_is_short() -> None:
    """The reference is in docs/."""
    assert len((EMULATOR / "README.md").read_text().splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize(
    "page", [EMULATOR / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Links between the pages hold."""
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = page if not path else (page.parent / path)
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert heading in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings], (
                link
            )


def test_every_switch_preset_fault_and_trigger_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line and the faults know is in the reference."""
    with pytest.raises(SystemExit):
        read_options(["--help"])
    switches = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.M)) - {"--listen-anywhere"}
    text = (DOCS / "switches.md").read_text()
    assert len(switches) > 15
    assert [each for each in switches if f"`{each}`" not in text] == []
    assert [each for each in PRESETS if f"| `{each}` |" not in text] == []
    faults = (DOCS / "faults.md").read_text()
    assert [each for each in (*FAULTS, *SCENARIOS) if f"`{each}`" not in faults] == []
    stories = (DOCS / "management.md").read_text()
    assert [each for each in TRIGGERS if each.partition(".")[2] not in stories] == []


def test_every_management_call_is_described(signed: Any) -> None:
    """The table of calls names each path."""
    table = (DOCS / "management.md").read_text().partition("## The management API")[2]
    paths = [route.path for route in signed.client.app.routes if isinstance(route, Route)]
    calls = [
        path for path in paths if not re.match(r"/emulator(/|/(view|static|day|api|signed)(/.*)?)?$", path)
    ]
    assert len(calls) > 40
    # "`POST /emulator/invoices/{id}/pay`, `/underpay`": a path may be shortened to its end.
    missing = [
        path for path in calls if not re.search(rf"{re.escape('/' + path.rpartition('/')[2])}[`\[?]", table)
    ]
    assert missing == []
