"""The rules of the house (docs/architecture.md), read from syntax trees.

Each rule says in its failure message why it exists. At the end every rule is shown to catch a bad snippet
and to leave a good one alone, so that none passes because it sees nothing.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("payments", "webhooks", "worker", "repasse", "emulator")

# Line and what is wrong there.
Findings = Iterator[tuple[int, str]]
Rule = Callable[[PurePosixPath, ast.Module], Findings]


# --- who may import whom ---

APART = "two processes that import each other cannot be deployed, restarted or scaled apart"
OWN_BANK = (
    "a bank that shares our code, or the SDK's, shares their mistakes, and then proves nothing about us"
)
DOWNWARDS = "a bank whose books know HTTP, or whose /v2 knows /emulator, cannot be read or used room by room"
ONE_SEAM = "the SDK hides timeouts and has one error for all: only payments/bank knows how to hear the truth"
ONE_TRANSACTION = "a public function of the ledger is one transaction; SQL elsewhere would open others"
ONE_WAY = (
    "storage knows no money, the ledger is on it, operator and upkeep are on both; a bank that met one of them "
    "would hold the database locked while the network decides"
)
PURE = "what money means must be readable and testable without SQL, the SDK, a clock or the machine"

DOMAIN = "money|credit|invoice|transfer|lineage|policy|event|errors|note|tax_id"
STANDARD = (
    "__future__|collections|dataclasses|datetime|decimal|enum|functools|hashlib|hmac|itertools|json|math|operator|re|"
    "string|typing|unicodedata"
)
SDK = "starkbank|starkcore|ellipticcurve"
# These of the emulator are free to all of its rooms.
FREE = "clock|command_line"

# Which files (as a pattern) · what they do not import (as a pattern) · why.
NOT_IMPORTED: tuple[tuple[str, str, str], ...] = (
    ("worker/", "webhooks|repasse|emulator", APART),
    ("webhooks/", "worker|repasse|emulator", APART),
    ("payments/", "worker|webhooks|repasse|emulator", APART),
    ("repasse/", "emulator", APART),
    (r"emulator/(?!pytest_plugin\.py)", f"payments|webhooks|worker|repasse|scripts|{SDK}", OWN_BANK),
    ("emulator/books/", rf"emulator\.(?!(books|{FREE})\b)\w+", DOWNWARDS),
    ("emulator/behaviour/", rf"emulator\.(?!(behaviour|books|{FREE})\b)\w+", DOWNWARDS),
    ("emulator/protocol/", rf"emulator\.(?!(protocol|behaviour|books|{FREE})\b)\w+", DOWNWARDS),
    ("emulator/management/", rf"emulator\.(?!(management|protocol|behaviour|books|{FREE})\b)\w+", DOWNWARDS),
    ("emulator/proxy/", rf"emulator\.(?!(proxy|protocol|{FREE})\b)\w+", DOWNWARDS),
    # pytest_plugin.py is no part of the bank: it leads the SDK of a test to one.
    (r"(?!payments/bank/|emulator/pytest_plugin\.py)", SDK, ONE_SEAM),
    ("(?!payments/(storage|ledger|operator|upkeep)/)", "sqlalchemy|alembic|sqlite3|psycopg", ONE_TRANSACTION),
    (
        "payments/storage/",
        rf"payments\.(ledger|operator|upkeep|bank|{DOMAIN.replace('|errors', '')})",
        ONE_WAY,
    ),
    ("payments/ledger/", r"payments\.(operator|upkeep|bank)", ONE_WAY),
    ("payments/operator/", r"payments\.(upkeep|bank)", ONE_WAY),
    ("payments/upkeep/", r"payments\.(operator|bank)", ONE_WAY),
    ("payments/bank/", r"payments\.(storage|ledger|operator|upkeep)", ONE_WAY),
    (rf"payments/(?!event)({DOMAIN})\.py", rf"(?!payments(\.({DOMAIN})\b|$)|({STANDARD})\b).+", PURE),
    (r"payments/event\.py", rf"(?!payments(\.({DOMAIN})\b|$)|({STANDARD}|msgspec)\b).+", PURE),
)


def imports_keep_to_their_rooms(path: PurePosixPath, tree: ast.Module) -> Findings:
    """What a room does not import, it can be read, tested and changed without."""
    imported = list(_imports(tree, path))
    for files, modules, why in NOT_IMPORTED:
        if re.match(files, str(path)):
            for line, name in imported:
                if re.match(rf"({modules})(\.|$)", name):
                    yield line, f"imports {name}: {why}"


# --- what else the code keeps to ---

# Durations (time.monotonic, time.perf_counter) are free: they say how long, never when.
CLOCKS_AND_CHANCE = re.compile(
    r"datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today"
    r"|time\.(time|time_ns|gmtime|localtime|ctime)"
    r"|random\.(?!Random$)[A-Za-z]\w*"
    r"|uuid\.(uuid1|uuid4|uuid6|uuid7|getnode)"
    r"|secrets\.(token_\w+|choice|randbelow|randbits|SystemRandom)|os\.urandom"
    r"|sqlalchemy\.(sql\.)?func\.(now|current_timestamp|current_time|current_date|random)"
)


def clock_and_chance_are_handed_in(path: PurePosixPath, tree: ast.Module) -> Findings:
    """A run is reproduced by its seed and its clock: code that takes its own cannot be replayed."""
    if _is_composition_root(path):
        return
    names = _imported_names(tree, path)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if CLOCKS_AND_CHANCE.fullmatch(_full_name(node, names)):
            yield node.lineno, f"uses {_full_name(node, names)}, and only composition roots may"
    for call in _calls(tree):
        unseeded = not call.args and not call.keywords
        if unseeded and _full_name(call.func, names) == "random.Random":
            yield call.lineno, "makes a Random without a seed, and only composition roots may"


def modules_are_named_for_one_noun(path: PurePosixPath, tree: ast.Module) -> Findings:
    """A name that fits everything says nothing, and soon holds everything."""
    vague = re.compile(r"(.*_)?(utils?|helpers?|common|shared|core|misc|managers?|services?)")
    for part in (*path.parts[:-1], path.stem):
        if vague.fullmatch(part):
            yield 1, f"{part!r} names no noun of ours"


RULES: tuple[Rule, ...] = (
    imports_keep_to_their_rooms,
    clock_and_chance_are_handed_in,
    modules_are_named_for_one_noun,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Rule) -> None:
    """Every module of the packages and the scripts; tests may do as they need."""
    broken = [
        f"{path}:{line}: {finding}" for path, tree in _our_modules() for line, finding in rule(path, tree)
    ]
    assert not broken, "\n".join([f"{rule.__doc__}", *broken])


def test_imports_run_in_no_circle() -> None:
    """What imports each other can only be read, tested and moved together."""
    modules = {_module(path): (path, tree) for path, tree in _our_modules()}
    imported = {
        name: {
            module
            for _, full in _imports(tree, path)
            for module in (full, full.rpartition(".")[0])
            if module in modules and module != name
        }
        for name, (path, tree) in modules.items()
    }
    assert list(TopologicalSorter(imported).static_order())  # CycleError names the circle


def test_the_walk_sees_the_code() -> None:
    """A renamed package must not make every rule pass."""
    seen = {str(path) for path, _ in _our_modules()}
    assert {"payments/money.py", "payments/settings.py", "worker/payers.py"} <= seen
    assert not any(".venv" in path for path in seen)


# --- each rule can fail ---

# At least one for each line of NOT_IMPORTED, and each way to write an import.
BAD_IMPORTS = (
    ("worker/issuing.py", "import webhooks.receive"),
    ("webhooks/app.py", "from worker import issuing"),
    ("webhooks/__main__.py", "from repasse.group import Group"),
    ("payments/money.py", "def f():\n    from webhooks import app"),
    ("repasse/webhook.py", "import emulator.app"),
    ("emulator/protocol/routes.py", "from payments.money import format_brl"),
    ("emulator/protocol/credentials.py", "import starkcore"),
    ("emulator/books/invoices.py", "from emulator.behaviour.life import Life"),
    ("emulator/behaviour/events.py", "from ..protocol import deliveries"),
    ("emulator/protocol/endpoint.py", "import emulator.management.routes"),
    ("emulator/management/page/parts.py", "from emulator import app"),
    ("emulator/proxy/proxy.py", "from emulator.books.table import Row"),
    ("payments/settlement.py", "import starkbank"),
    ("scripts/demo.py", "from starkcore.error import InputErrors"),
    ("worker/issuing.py", "import importlib\nimportlib.import_module('starkbank')"),
    ("payments/reconciliation.py", "from sqlalchemy import select"),
    ("webhooks/console/pages.py", "import sqlite3"),
    ("payments/storage/schema.py", "from payments.transfer import TransferState"),
    ("payments/ledger/transfers.py", "from ..bank.client import Client"),
    ("payments/operator/lists.py", "from payments.upkeep import backup"),
    ("payments/upkeep/backup.py", "from payments.operator.actions import Action"),
    ("payments/bank/client.py", "import payments.ledger.inbox"),
    ("payments/money.py", "import os"),
    ("payments/credit.py", "import msgspec"),
    ("payments/transfer.py", "from . import settings"),
    ("payments/event.py", "from .bank.client import Client"),
)

BAD: tuple[tuple[Rule, str, str], ...] = (
    *((imports_keep_to_their_rooms, path, source) for path, source in BAD_IMPORTS),
    (clock_and_chance_are_handed_in, "payments/settlement.py", "import time\ntime.time()"),
    (clock_and_chance_are_handed_in, "payments/settlement.py", "from datetime import datetime as d\nd.now()"),
    (clock_and_chance_are_handed_in, "payments/money.py", "import datetime\nx = datetime.datetime.utcnow"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import randint\nrandint(1, 2)"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import Random\nRandom()"),
    (clock_and_chance_are_handed_in, "emulator/books/formats.py", "from uuid import uuid4\nuuid4()"),
    (clock_and_chance_are_handed_in, "payments/ledger/inbox.py", "from sqlalchemy import func\nfunc.now()"),
    (modules_are_named_for_one_noun, "payments/utils.py", ""),
    (modules_are_named_for_one_noun, "webhooks/helpers/pages.py", ""),
    (modules_are_named_for_one_noun, "payments/transfer_service.py", ""),
)

GOOD: tuple[tuple[Rule, str, str], ...] = (
    (imports_keep_to_their_rooms, "worker/issuing.py", "from payments.invoice import Payer"),
    (imports_keep_to_their_rooms, "worker/issuing.py", "import webhooks_of_others"),
    (imports_keep_to_their_rooms, "scripts/demo.py", "import emulator.app, worker, webhooks"),
    (imports_keep_to_their_rooms, "repasse/__main__.py", "from worker.__main__ import run\nimport webhooks"),
    (imports_keep_to_their_rooms, "emulator/pytest_plugin.py", "import starkbank"),
    (imports_keep_to_their_rooms, "emulator/protocol/routes.py", "from emulator.books import Books, clock"),
    (imports_keep_to_their_rooms, "emulator/__main__.py", "from emulator.management import commands"),
    (imports_keep_to_their_rooms, "payments/event.py", "import msgspec\nfrom payments.credit import Credit"),
    (imports_keep_to_their_rooms, "payments/credit.py", "from . import money\nfrom .errors import Rejected"),
    (imports_keep_to_their_rooms, "payments/settings.py", "import os"),
    (imports_keep_to_their_rooms, "payments/bank/client.py", "import starkbank"),
    (imports_keep_to_their_rooms, "payments/storage/schema.py", "from sqlalchemy import Table"),
    (
        imports_keep_to_their_rooms,
        "payments/storage/database.py",
        "from payments.errors import LedgerUnusable",
    ),
    (imports_keep_to_their_rooms, "payments/settlement.py", "import payments.bank, payments.ledger"),
    (clock_and_chance_are_handed_in, "payments/bank/transport.py", "import time\ntime.monotonic()"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import Random\nRandom(7).choice([1])"),
    (clock_and_chance_are_handed_in, "worker/schedule.py", "from datetime import datetime\ndatetime.now()"),
    (clock_and_chance_are_handed_in, "worker/issuing.py", "def f(random):\n    random.choice([1])"),
    (modules_are_named_for_one_noun, "payments/bank/client.py", ""),
)


@pytest.mark.parametrize(("rule", "path", "source"), BAD)
def test_the_rule_catches_a_bad_snippet(rule: Rule, path: str, source: str) -> None:
    """A rule that cannot fail protects nothing."""
    assert list(rule(PurePosixPath(path), ast.parse(source)))


@pytest.mark.parametrize(("rule", "path", "source"), GOOD)
def test_the_rule_leaves_a_good_snippet_alone(rule: Rule, path: str, source: str) -> None:
    """A rule that cries without cause is switched off soon."""
    assert not list(rule(PurePosixPath(path), ast.parse(source)))


def test_every_rule_is_shown_to_fail_and_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new rule comes with its snippets, and so does a new line of the table of imports."""
    assert {rule for rule, _, _ in BAD} == {rule for rule, _, _ in GOOD} == set(RULES)
    for line in NOT_IMPORTED:
        monkeypatch.setitem(globals(), "NOT_IMPORTED", (line,))
        assert [
            path
            for path, source in BAD_IMPORTS
            if [*imports_keep_to_their_rooms(PurePosixPath(path), ast.parse(source))]
        ], line


# --- how modules are read ---


@cache
def _our_modules() -> list[tuple[PurePosixPath, ast.Module]]:
    files = [file for folder in (*PACKAGES, "scripts") for file in sorted((ROOT / folder).rglob("*"))]
    return [
        (
            PurePosixPath(file.relative_to(ROOT).as_posix()),
            ast.parse(file.read_text("utf-8"), filename=str(file)),
        )
        for file in files
        if file.is_file() and _is_python(file)
    ]


def _is_python(file: Path) -> bool:
    if file.suffix:
        return file.suffix == ".py"
    with file.open("rb") as content:  # a script is known by its first line
        return re.match(rb"#!.*python", content.readline(200)) is not None


def _is_composition_root(path: PurePosixPath) -> bool:
    """These put the program together, so a clock and a seed are theirs to give.

    Of the emulator, clock.py is the clock, and credentials.py and keys.py make keys, which no seed may foretell.
    """
    emulators = (
        "emulator/start.py",
        "emulator/clock.py",
        "emulator/protocol/credentials.py",
        "emulator/protocol/keys.py",
    )
    return (
        path.name in ("__main__.py", "app.py")
        or str(path)
        in (
            "worker/schedule.py",
            "webhooks/forwarder.py",
            "repasse/opening.py",
            "repasse/work.py",
            *emulators,
        )
        or path.parts[0] == "scripts"
    )


def _module(path: PurePosixPath) -> str:
    return ".".join(path.with_suffix("").parts)


def _imports(tree: ast.Module, path: PurePosixPath) -> Iterator[tuple[int, str]]:
    """Every module that is imported anywhere in the tree, by its full name (``from a import b`` is a.b)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{_source(node, path)}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def _source(node: ast.ImportFrom, path: PurePosixPath) -> str:
    """The module after ``from``, with leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    package = path.parts[: len(path.parts) - node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _imported_names(tree: ast.Module, path: PurePosixPath) -> dict[str, str]:
    """What each imported name stands for: ``{"d": "datetime.datetime"}``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{_source(node, path)}.{alias.name}"
    return names


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    """The dotted name that an expression stands for; empty when it is not an imported one."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (value := _full_name(node.value, names)):
        return f"{value}.{node.attr}"
    return ""


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
