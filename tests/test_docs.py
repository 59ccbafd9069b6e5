"""What the pages say of the code, compared with the code: files, functions, threads, numbers, tables, names, links."""

import ast
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments.ledger.attention import AttentionKind
from payments.operator.audit import AuditLine
from payments.operator.export import csv_lines
from payments.settings import Settings
from payments.storage.schema import metadata
from payments.version import VERSION
from tests.repasse.test_help import COMMANDS, assert_reads

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "scripts" / "README.md"])
TRANSLATED = sorted([*ROOT.glob("*.pt-BR.md"), *DOCS.glob("*.pt-BR.md")])
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
PRODUCT = [
    path
    for folder in ("payments", "webhooks", "worker", "repasse")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

FOLDERS = ["payments", "webhooks", "worker", "repasse", "emulator", "scripts", "tests", "ops", "docs"]
FILES = [
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without the table's first line."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"no table under {heading}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    """The words of a cell that stand in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# --- docs/architecture.md ---


def test_the_rooms_name_every_file() -> None:
    """None is missing, none is left over; __init__.py and migrations are no files that a reader looks for."""
    named = set()
    folder = ""
    for cells in rows(ARCHITECTURE, "Rooms"):
        folder = (quoted(cells[0]) or [folder])[0]
        named |= {folder + name for name in quoted(cells[2])}
    there = {
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if path.name != "__init__.py" and "migrations" not in path.parts
    }
    assert named == there


def test_the_path_of_a_credit_names_functions_that_exist() -> None:
    """Each function is defined in the file beside it."""
    for cells in rows(ARCHITECTURE, "One credit, followed file by file"):
        [file] = quoted(cells[1])
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        defined = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert set(quoted(cells[2])) <= defined, file


def test_the_threads_are_those_that_the_code_starts() -> None:
    """Every thread and pool that is made anywhere is in the table, by its name."""
    named = {name for cells in rows(ARCHITECTURE, "Processes and threads") for name in quoted(cells[1])}
    started = {name for path in PRODUCT for name in thread_names(ast.parse(path.read_text("utf-8")))}
    assert named == started


def test_the_forwarders_are_as_many_as_the_table_says() -> None:
    """The number beside `forwarder` is the constant."""
    from webhooks.forwarder import THREADS

    [number] = [
        cells[2] for cells in rows(ARCHITECTURE, "Processes and threads") if "`forwarder`" in cells[1]
    ]
    assert number == str(THREADS)


def test_the_numbers_are_those_of_the_code() -> None:
    """Each constant has the value that the page gives."""
    for name, value, _ in rows(ARCHITECTURE, "Numbers"):
        module, _, constant = quoted(name)[0].rpartition(".")
        assert getattr(importlib.import_module(module), constant) == float(value.replace(",", "")), constant


def test_the_tables_are_those_of_the_schema() -> None:
    """Every table, each with the names of its constraints and unique indexes."""
    said = {quoted(name)[0]: set(quoted(invariants)) for name, _, invariants in rows(ARCHITECTURE, "Tables")}
    assert said == {
        table.name: {str(each.name) for each in table.constraints if each.name}
        | {str(index.name) for index in table.indexes if index.unique}
        for table in metadata.sorted_tables
    }


def thread_names(tree: ast.Module) -> Iterator[str]:
    """The names under which a module starts threads; of a name with a number in it, the part before."""
    tickers = {"Ticker"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Ticker" for base in node.bases):
            tickers.add("super().__init__")
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        if function == "threading.Thread":
            name = next(each.value for each in call.keywords if each.arg == "name")
        elif function in tickers:
            name = call.args[0]
        elif function.endswith(("ThreadPoolExecutor", "add_executor")) and len(call.args) > 1:
            name = call.args[1]
        elif function == "BackgroundScheduler":
            yield "APScheduler"  # Read: APScheduler 3.11.3 schedulers/background.py
            continue
        else:
            continue
        if isinstance(name, ast.JoinedStr):
            name = name.values[0]
        if isinstance(name, ast.Constant):  # Ticker hands its own name on
            yield str(name.value).rstrip("- ")


# --- docs/configuration.md ---


def test_every_setting_is_described_with_its_default() -> None:
    """None is missing, none is left over, and the defaults are those of the code."""
    said: dict[str, str] = {}
    for cells in rows((DOCS / "configuration.md").read_text("utf-8"), "Settings"):
        names, values = quoted(cells[0]), quoted(cells[1])
        said |= dict(zip(names, values or [cells[1]], strict=True))
    defaults = {}
    for name, field in Settings.model_fields.items():
        value = (
            field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        )
        defaults[name.upper()] = "unset" if value is None else str(value)
    required = {"STARKBANK_PROJECT_ID", "STARKBANK_PRIVATE_KEY", "STARKBANK_PRIVATE_KEY_PATH"}
    assert {name for name, default in said.items() if "required" in default} == required
    assert {name: default for name, default in said.items() if name not in required} == {
        name: default for name, default in defaults.items() if name not in required
    }


# --- the runbook, in both languages ---


@pytest.mark.parametrize("name", ["runbook.md", "runbook.pt-BR.md"])
def test_every_kind_of_attention_has_its_section(name: str) -> None:
    """An alert and the console link to docs/runbook.md#<kind>, or to the Portuguese page."""
    headings = set(re.findall(r"^### ([a-z_]+)$", (DOCS / name).read_text("utf-8"), re.MULTILINE))
    assert headings == {str(kind) for kind in AttentionKind}


@pytest.mark.parametrize("name", ["runbook.md", "runbook.pt-BR.md"])
def test_every_alert_rule_is_explained(name: str) -> None:
    """Each rule of ops/alerts.yml, by its name."""
    rules = re.findall(r"alert: (\w+)", (ROOT / "ops" / "alerts.yml").read_text("utf-8"))
    assert rules
    assert [rule for rule in rules if rule not in (DOCS / name).read_text("utf-8")] == []


# --- month-end and audit ---


@pytest.mark.parametrize(
    ("name", "heading"),
    [("audit.md", "The columns of the CSV"), ("audit.pt-BR.md", "As colunas do CSV")],
)
def test_every_column_of_the_auditors_file_is_explained(name: str, heading: str) -> None:
    """In the order in which they are written."""
    named = [quoted(cells[0])[0] for cells in rows((DOCS / name).read_text("utf-8"), heading)]
    assert named == next(csv_lines(AuditLine, [])).strip().split(",")


# --- both languages, the index, the first page, the release ---


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_and_its_translation_are_alike(page: Path) -> None:
    """They link to each other at the top, and have the same commands, tables and sections of the second level."""
    other = page.with_name(page.name.replace(".pt-BR", ""))
    assert f"]({other.name})" in page.read_text("utf-8")[:200]
    assert f"]({page.name})" in other.read_text("utf-8")[:200]

    def shape(path: Path) -> dict[str, list[str]]:
        text = path.read_text("utf-8")
        return {
            "sections": ["" for _ in re.findall(r"^## ", prose(path), re.MULTILINE)],
            "commands": re.findall(r"^ *(scripts/\w+|repasse \w+ \w+|openssl \w+)", text, re.MULTILINE),
            "pictures": [name.replace("-pt.png", ".png") for name in re.findall(r"!\[.*?\]\((.*?)\)", text)],
        }

    assert shape(page) == shape(other)


def test_the_first_page_is_short() -> None:
    """At most 100 lines in each language; settings and faults are in docs/."""
    for page in (ROOT / "README.md", ROOT / "README.pt-BR.md"):
        assert len(page.read_text("utf-8").splitlines()) <= 100, page


def test_the_index_names_every_page() -> None:
    """docs/README.md, but for the decisions, which have their folder's own list."""
    index = (DOCS / "README.md").read_text("utf-8")
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_the_release_has_its_dated_section() -> None:
    """The newest release of the changelog is the version that the program reports."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert releases[0] == VERSION


# --- decisions ---


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name[:4])
def test_a_decision_has_number_date_and_status(page: Path) -> None:
    """One heading style; a superseded one names a decision that exists."""
    first, _, second = page.read_text("utf-8").splitlines()[:3]
    assert re.fullmatch(rf"# {page.name[:4]}\. .+[^.]", first)
    found = re.fullmatch(
        r"\*\*Date:\*\* \d{4}-\d\d-\d\d · \*\*Status:\*\* (accepted|superseded by|in part).*", second
    )
    assert found is not None, second
    assert found[1] == "accepted" or re.search(r"\]\(\d{4}-", second)  # the link itself is checked below


# --- every page ---


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_that_is_named_can_be_typed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of `repasse` are read whole by the command itself; in a sentence, the command's name."""
    if page.name == "CHANGELOG.md" or page in DECISIONS:
        return  # they speak of their time
    monkeypatch.setenv("TIME_ZONE", "America/Sao_Paulo")
    text = page.read_text("utf-8")
    for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.findall(
            r"^(?:scripts/)?(repasse (?:job|db|webhook|web|worker|migrate)\b.*)$", block, re.MULTILINE
        ):
            assert_reads(line)
    named = set(
        re.findall(
            r"\brepasse (?:job|db|webhook) [a-z]+", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        )
    )
    assert named - set(COMMANDS) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_script_that_is_named_exists(page: Path) -> None:
    """`scripts/name` is a file that can be started."""
    if page.name == "CHANGELOG.md" or page in DECISIONS:
        return  # they speak of their time
    named = set(re.findall(r"(?<![\w/.])scripts/(\w+)(?![\w./])", page.read_text("utf-8")))
    assert {name for name in named if not os.access(ROOT / "scripts" / name, os.X_OK)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_somewhere(page: Path) -> None:
    """Files and headings that a page links to exist."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_file_that_is_named_exists(page: Path) -> None:
    """Paths in backticks, but those of superseded decisions and of the changelog, which speak of their time."""
    text = page.read_text("utf-8")
    if page.name == "CHANGELOG.md" or (page in DECISIONS and "**Status:** accepted" not in text):
        return
    missing = {
        named
        for named in re.findall(r"`([\w./-]+\.(?:py|md|yml|yaml|json|service|timer|txt))`", text)
        if not any(f"/{file}".endswith(f"/{named.removeprefix('./')}") for file in FILES)
    }
    assert missing == set()


@pytest.mark.parametrize("name", ["observability.md", "reliability.md", "runbook.md"])
def test_a_log_event_that_is_named_is_written(name: str) -> None:
    """Names such as `transfer.sent` are in the code, word for word."""
    source = "\n".join(path.read_text("utf-8") for path in PRODUCT)
    # guarded() writes these for a name that it is given.
    built = {f"heartbeat.{verb}" for verb in ("ledger_unavailable", "failed") if f"{{name}}.{verb}" in source}
    nouns = (
        "access|alert|bank_key|batch|event|heartbeat|reconciliation|setting|slot|transfers?|web|window|worker"
    )
    named = set(re.findall(rf"`((?:{nouns})\.[a-z_]+)`", (DOCS / name).read_text("utf-8")))
    assert named
    assert {each for each in named - built if f'"{each}"' not in source} == set()


def prose(page: Path) -> str:
    """A page without its blocks of code, where brackets mean something else."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
