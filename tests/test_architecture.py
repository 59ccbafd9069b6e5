"""The rules of the house (docs/architecture.md), read from syntax trees.

Each rule says in its failure message why it exists. At the end every rule is shown to catch a bad snippet
and to leave a good one alone, so that none passes because it sees nothing.
"""

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("payments", "webhooks", "worker", "repasse", "emulator")

# Line and what is wrong there.
Findings = Iterator[tuple[int, str]]
Rule = Callable[[PurePosixPath, ast.Module], Findings]


# --- the rules ---


def worker_and_webhooks_meet_in_payments(path: PurePosixPath, tree: ast.Module) -> Findings:
    """Two processes that import each other cannot be deployed, restarted or scaled apart; the command starts them."""
    forbidden = {
        "worker": ("webhooks", "repasse", "emulator"),
        "webhooks": ("worker", "repasse", "emulator"),
        "payments": ("worker", "webhooks", "repasse", "emulator"),
        "repasse": ("emulator",),
    }
    return _imports_of(tree, path, forbidden.get(path.parts[0], ()))


# It is no part of the bank: it leads the SDK of a test to one.
EMULATORS_FIXTURES = "emulator/pytest_plugin.py"


def emulator_shares_no_code_with_us(path: PurePosixPath, tree: ast.Module) -> Findings:
    """A bank that shares our code, or the SDK's, shares their mistakes, and then proves nothing about us."""
    if path.parts[0] != "emulator" or str(path) == EMULATORS_FIXTURES:
        return iter(())
    ours = ("payments", "webhooks", "worker", "repasse", "scripts", "starkbank", "starkcore", "ellipticcurve")
    return _imports_of(tree, path, ours)


# What each room of the emulator may import of the others; clock.py and command_line.py are free to all.
EMULATOR_ROOMS: dict[str, set[str]] = {
    "books": set(),
    "behaviour": {"books"},
    "protocol": {"books", "behaviour"},
    "management": {"books", "behaviour", "protocol"},
    "proxy": {"protocol"},
}


def emulator_rooms_import_downwards(path: PurePosixPath, tree: ast.Module) -> Findings:
    """A bank whose books know HTTP, or whose /v2 knows /emulator, cannot be read or used room by room."""
    if path.parts[0] != "emulator" or len(path.parts) < 3:
        return
    allowed = {path.parts[1], "clock", "command_line", *EMULATOR_ROOMS[path.parts[1]]}
    for line, name in _imports(tree, path):
        parts = name.split(".")
        if parts[0] == "emulator" and parts[1] not in allowed:
            yield line, f"imports {name}"


DOMAIN = {
    f"payments.{name}"
    for name in (
        *("money", "credit", "invoice", "transfer", "lineage", "policy", "event", "errors", "note", "tax_id"),
    )
}
PURE = {
    *("__future__", "collections", "dataclasses", "datetime", "decimal", "enum", "functools", "hashlib"),
    *("hmac", "itertools", "json", "math", "operator", "re", "string", "typing", "unicodedata"),
}


def domain_is_pure(path: PurePosixPath, tree: ast.Module) -> Findings:
    """What money means must be readable and testable without SQL, the SDK, a clock or the machine."""
    if _module(path) not in DOMAIN:
        return
    allowed = PURE | ({"msgspec"} if path.stem == "event" else set())
    for line, name in _imports(tree, path):
        if name.partition(".")[0] in allowed or name == "payments":
            continue
        if not _is_within(name, DOMAIN):
            yield line, f"the domain imports {name}"


def sdk_stays_in_the_bank_seam(path: PurePosixPath, tree: ast.Module) -> Findings:
    """The SDK hides timeouts and reuses one error for all: only payments/bank knows how to hear the truth."""
    if path.parts[:2] == ("payments", "bank") or str(path) == EMULATORS_FIXTURES:
        return iter(())
    return _imports_of(tree, path, ("starkbank", "starkcore", "ellipticcurve"))


SQL_ROOMS = ("storage", "ledger", "operator", "upkeep")


def sql_stays_in_four_rooms(path: PurePosixPath, tree: ast.Module) -> Findings:
    """One public ledger function is one transaction: SQL elsewhere would open transactions of its own."""
    if path.parts[0] == "payments" and path.parts[1] in SQL_ROOMS:
        return iter(())
    return _imports_of(tree, path, ("sqlalchemy", "alembic", "sqlite3", "psycopg"))


# What each room of payments may import of the others. The domain and errors serve all but storage, which knows no
# money and takes only the named errors.
ROOMS: dict[str, tuple[str, ...]] = {
    "storage": (),
    "ledger": ("storage",),
    "operator": ("storage", "ledger"),
    "upkeep": ("storage", "ledger"),
    "bank": (),
}


def rooms_are_entered_one_way(path: PurePosixPath, tree: ast.Module) -> Findings:
    """Storage below, the ledger on it, the operator's room and upkeep on both and never on each other.

    The bank's room meets none of them: a call inside a transaction would hold the database locked while the network
    decides.
    """
    room = path.parts[1] if path.parts[0] == "payments" and len(path.parts) > 2 else ""
    if room not in ROOMS:
        return
    allowed = {room, *ROOMS[room]}
    for line, name in _imports(tree, path):
        if not _is_within(name, ("payments",)):
            continue
        other = name.split(".")[1] if "." in name else ""
        if other in ROOMS and other not in allowed:
            yield line, f"{room} imports {name}"
        elif room == "storage" and _is_within(name, DOMAIN - {"payments.errors"}):
            yield line, f"storage knows no money, and imports {name}"


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
    worker_and_webhooks_meet_in_payments,
    emulator_shares_no_code_with_us,
    emulator_rooms_import_downwards,
    domain_is_pure,
    sdk_stays_in_the_bank_seam,
    sql_stays_in_four_rooms,
    rooms_are_entered_one_way,
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

BAD: tuple[tuple[Rule, str, str], ...] = (
    (worker_and_webhooks_meet_in_payments, "worker/issuing.py", "import webhooks.receive"),
    (worker_and_webhooks_meet_in_payments, "webhooks/app.py", "from worker import issuing"),
    (worker_and_webhooks_meet_in_payments, "payments/money.py", "def f():\n    from webhooks import app"),
    (worker_and_webhooks_meet_in_payments, "payments/bank/client.py", "from emulator.books import Books"),
    (worker_and_webhooks_meet_in_payments, "webhooks/__main__.py", "from repasse.group import Group"),
    (worker_and_webhooks_meet_in_payments, "repasse/webhook.py", "import emulator.app"),
    (emulator_shares_no_code_with_us, "emulator/protocol/routes.py", "from payments.money import format_brl"),
    (emulator_shares_no_code_with_us, "emulator/protocol/credentials.py", "import starkcore"),
    (
        emulator_rooms_import_downwards,
        "emulator/books/invoices.py",
        "from emulator.behaviour.life import Life",
    ),
    (emulator_rooms_import_downwards, "emulator/behaviour/events.py", "from ..protocol import deliveries"),
    (emulator_rooms_import_downwards, "emulator/protocol/endpoint.py", "import emulator.management.routes"),
    (emulator_rooms_import_downwards, "emulator/management/page/parts.py", "from emulator import app"),
    (emulator_rooms_import_downwards, "emulator/proxy/proxy.py", "from emulator.books.table import Row"),
    (domain_is_pure, "payments/money.py", "import os"),
    (domain_is_pure, "payments/credit.py", "import msgspec"),
    (domain_is_pure, "payments/transfer.py", "from payments.ledger import tables"),
    (domain_is_pure, "payments/transfer.py", "from . import settings"),
    (domain_is_pure, "payments/event.py", "from .bank.client import Client"),
    (sdk_stays_in_the_bank_seam, "payments/settlement.py", "import starkbank"),
    (sdk_stays_in_the_bank_seam, "scripts/demo.py", "from starkcore.error import InputErrors"),
    (
        sdk_stays_in_the_bank_seam,
        "worker/issuing.py",
        "import importlib\nimportlib.import_module('starkbank')",
    ),
    (sql_stays_in_four_rooms, "payments/reconciliation.py", "from sqlalchemy import select"),
    (sql_stays_in_four_rooms, "payments/observability/alerts.py", "from sqlalchemy import select"),
    (sql_stays_in_four_rooms, "webhooks/console/pages.py", "import sqlite3"),
    (rooms_are_entered_one_way, "payments/ledger/transfers.py", "from ..bank.client import Client"),
    (rooms_are_entered_one_way, "payments/bank/client.py", "import payments.ledger.inbox"),
    (rooms_are_entered_one_way, "payments/ledger/inbox.py", "from payments.operator.actions import Action"),
    (rooms_are_entered_one_way, "payments/operator/lists.py", "from payments.upkeep import backup"),
    (rooms_are_entered_one_way, "payments/storage/schema.py", "from payments.transfer import TransferState"),
    (clock_and_chance_are_handed_in, "payments/settlement.py", "import time\ntime.time()"),
    (clock_and_chance_are_handed_in, "payments/settlement.py", "from datetime import datetime as d\nd.now()"),
    (clock_and_chance_are_handed_in, "payments/money.py", "import datetime\nx = datetime.datetime.utcnow"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "import random\nrandom.choice([1])"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import randint\nrandint(1, 2)"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import Random\nRandom()"),
    (clock_and_chance_are_handed_in, "emulator/books/formats.py", "from uuid import uuid4\nuuid4()"),
    (clock_and_chance_are_handed_in, "payments/ledger/inbox.py", "from sqlalchemy import func\nfunc.now()"),
    (modules_are_named_for_one_noun, "payments/utils.py", ""),
    (modules_are_named_for_one_noun, "webhooks/helpers/pages.py", ""),
    (modules_are_named_for_one_noun, "payments/transfer_service.py", ""),
)

GOOD: tuple[tuple[Rule, str, str], ...] = (
    (worker_and_webhooks_meet_in_payments, "worker/issuing.py", "from payments.invoice import Payer"),
    (worker_and_webhooks_meet_in_payments, "scripts/demo.py", "import emulator.app, worker, webhooks"),
    (worker_and_webhooks_meet_in_payments, "worker/issuing.py", "import webhooks_of_others"),
    (
        worker_and_webhooks_meet_in_payments,
        "repasse/__main__.py",
        "from worker.__main__ import run\nfrom webhooks.__main__ import serve",
    ),
    (
        emulator_shares_no_code_with_us,
        "emulator/protocol/routes.py",
        "from emulator.books import Books\nimport starlette",
    ),
    (
        emulator_rooms_import_downwards,
        "emulator/management/state.py",
        "from emulator.clock import Clock\nfrom emulator.books.table import Row\nimport json",
    ),
    (emulator_rooms_import_downwards, "emulator/__main__.py", "from emulator.management import commands"),
    (domain_is_pure, "payments/event.py", "import msgspec\nfrom payments.credit import Credit"),
    (domain_is_pure, "payments/credit.py", "from . import money\nfrom .errors import Rejected"),
    (domain_is_pure, "payments/settings.py", "import os"),
    (sdk_stays_in_the_bank_seam, "payments/bank/client.py", "import starkbank"),
    (sql_stays_in_four_rooms, "payments/storage/schema.py", "from sqlalchemy import Table"),
    (rooms_are_entered_one_way, "payments/settlement.py", "import payments.bank, payments.ledger"),
    (
        rooms_are_entered_one_way,
        "payments/storage/database.py",
        "from payments.errors import LedgerUnavailable",
    ),
    (rooms_are_entered_one_way, "payments/operator/actions.py", "from payments.ledger import lineages"),
    (clock_and_chance_are_handed_in, "payments/bank/transport.py", "import time\ntime.monotonic()"),
    (clock_and_chance_are_handed_in, "worker/payers.py", "from random import Random\nRandom(7).choice([1])"),
    (clock_and_chance_are_handed_in, "worker/schedule.py", "from datetime import datetime\ndatetime.now()"),
    (clock_and_chance_are_handed_in, "webhooks/receive.py", "import secrets\nsecrets.compare_digest('', '')"),
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


def test_every_rule_is_shown_to_fail_and_to_pass() -> None:
    """A new rule comes with its snippets."""
    assert {rule for rule, _, _ in BAD} == {rule for rule, _, _ in GOOD} == set(RULES)


# --- how modules are read ---


def _our_modules() -> Iterator[tuple[PurePosixPath, ast.Module]]:
    for folder in (*PACKAGES, "scripts"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and _is_python(file):
                path = PurePosixPath(file.relative_to(ROOT).as_posix())
                yield path, ast.parse(file.read_text(encoding="utf-8"), filename=str(path))


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


def _imports_of(tree: ast.Module, path: PurePosixPath, forbidden: tuple[str, ...]) -> Findings:
    for line, name in _imports(tree, path):
        if _is_within(name, forbidden):
            yield line, f"imports {name}"


def _is_within(name: str, modules: tuple[str, ...] | set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


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
