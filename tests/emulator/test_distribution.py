"""The emulator's own distribution: its wheel in a project that has nothing of ours, and its image."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from emulator.options import read_options
from tests.emulator.conftest import ROOT
from tests.wheels import build, install, lend, run

PAGE = (ROOT / "emulator/docs/in-your-tests.md").read_text()
# Beside the page's own test: what the page says of a reset, and of calls that are not for this bank.
MORE_TESTS = """
import os, subprocess, sys
import pytest, requests, starkbank
import starkbank_emulator as plugin

IDS = set()

def issue(user):
    return starkbank.invoice.create([starkbank.Invoice(amount=5, tax_id="012.345.678-90", name="Ana")], user=user)[0].id

@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_begins_with_the_same_books(starkbank_emulator, starkbank_project, turn):
    bank = starkbank_emulator
    began = bank.call("GET", "clock")["clock"]
    assert began["planned"] == 0 and began["paused"]
    assert bank.call("GET", "requests")["requests"] == bank.call("GET", "deliveries")["deliveries"] == []
    assert bank.call("GET", "settings")["settings"]["invoice_fee_centavos"] == 0
    IDS.add((began["now"], issue(starkbank_project)))
    assert len(IDS) == 1
    bank.listen("http://127.0.0.1:9/")
    bank.change(invoice_fee_centavos=1)
    bank.fault("error_500", route="GET balance")
    with pytest.raises(starkbank.error.InternalServerError):
        starkbank.balance.get(user=starkbank_project)
    assert bank.trigger("invoice.credited")["deliveries"] == 3
    assert {each["code"] for each in bank.call("GET", "deliveries")["deliveries"]} == {"badConnection"}
    bank.advance(days=1)
    with pytest.raises(plugin.Refused, match="earthquake"):
        bank.fault("earthquake")

def test_other_projects_and_other_code_go_where_they_went_before(starkbank_project, monkeypatch):
    seen = []
    monkeypatch.setattr(requests.Session, "send", lambda self, request, **_: seen.append(request.url))
    other = starkbank.Project(environment="sandbox", id="1", private_key=starkbank_project.pem)
    with pytest.raises(starkbank.error.UnknownError):
        starkbank.balance.get(user=other)
    requests.get("http://127.0.0.1:9/mine")
    assert seen[0].startswith("https://sandbox.api.starkbank.com/v2/balance")
    assert seen[1] == "http://127.0.0.1:9/mine"
    assert not [name for name in os.environ if "proxy" in name.lower() or name.startswith("STARKBANK")]

def test_a_process_of_its_own_reaches_the_bank_by_its_environment(starkbank_emulator, starkbank_project):
    code = "import os, starkbank as s; e = os.environ; s.user = s.Project(environment='sandbox', "
    code += "id=e['SANDBOX_ID'], private_key=e['SANDBOX_PRIVATE_KEY']); print(s.invoice.get(e['INVOICE']).status)"
    environment = {**os.environ, **starkbank_emulator.environment, "INVOICE": issue(starkbank_project)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment) == b"created\\n"
"""


@pytest.mark.process
def test_a_project_that_installs_the_wheel_tests_itself_against_a_bank(tmp_path: Path) -> None:
    """The page's project passes with the wheel, its declared dependencies, pytest and the SDK, and nothing else."""
    wheels, project = tmp_path / "wheels", tmp_path / "project"
    wheel = build(ROOT / "emulator", wheels)
    assert_whole(wheel)
    python = install(wheel, project / ".venv")
    lend(["pytest", "starkbank"], project / ".venv")

    for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (project / name).write_text(text)
    (project / "test_more.py").write_text(MORE_TESTS)
    # A package of the project that happens to bear the same name is not taken for ours.
    (project / "emulator").mkdir()
    (project / "emulator/__init__.py").touch()
    said = run([str(python), "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"], project)
    assert "5 passed" in said, said
    help = run([str(project / ".venv/bin/starkbank-emulator"), "--help"], project)
    assert help.startswith("usage: starkbank-emulator [switch ...]")


def assert_whole(wheel: Path) -> None:
    """Every file that the emulator may need at run time is in the wheel, under its name."""
    folder = ROOT / "emulator"
    tree = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*.py")} - {
        "emulator/pytest_plugin.py"
    }
    for kind in ("static", "templates"):
        tree |= {path.relative_to(ROOT).as_posix() for path in folder.rglob(f"{kind}/*")}
    assert tree - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_what_it_needs_is_what_the_repository_installs() -> None:
    """Each dependency of the distribution is one of ours or the demo's, so that `scripts/setup --demo` serves both."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {*project["project"]["dependencies"], *project["dependency-groups"]["demo"]}
    its = tomllib.loads((ROOT / "emulator/pyproject.toml").read_text())["project"]["dependencies"]
    assert {Requirement(each).name for each in its} <= {Requirement(each).name for each in ours}


def test_the_image_starts_with_switches_that_exist_and_asks_a_path_that_answers(signed: object) -> None:
    """Docker does not run here: its command line is parsed, and its health check's path is called."""
    dockerfile = (ROOT / "emulator/Dockerfile").read_text().replace("\\\n", " ")
    program, *switches = (
        word
        for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", dockerfile, re.MULTILINE)
        for word in json.loads(line)
    )
    options = read_options(switches)
    assert (program, options.host, options.listen_anywhere) == ("starkbank-emulator", "0.0.0.0", True)
    assert f"install -d -o emulator {options.data}\n" in dockerfile
    ports = re.findall(r"127\.0\.0\.1:(\d+):(\d+)", (ROOT / "emulator/compose.yaml").read_text())
    assert ports == [(str(port), str(port)) for port in (options.port, options.proxy_port)]
    (path,) = re.findall(r"http://127\.0\.0\.1:8900(/[\w/]+)", dockerfile)
    assert signed.client.get(path).status_code == 200  # type: ignore[attr-defined]
