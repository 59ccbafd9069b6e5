"""What tests of more than one package stand on: an emulated bank, empty books, real processes."""

import importlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from emulator.clock import Clock
from payments.bank.client import Bank, open_bank
from payments.policy import ForwardingPolicy
from payments.settings import Settings
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from tests.emulated import EmulatedBank, EmulatorProcess
from tests.payments.builders import NOW as NOW
from tests.payments.builders import a_policy
from tests.postgresql import Databases, Server, any_server
from tests.running import Runner, forget_proxies

_configure_structlog = structlog.configure
forget_proxies()

_ON_POSTGRESQL = {"postgresql", "postgresql_url", "own_server"}


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: much of what tests of real processes do is to wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.hookimpl(tryfirst=True)  # before -m chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that needs PostgreSQL: by a fixture of it, or as the case ``postgresql`` of a test for both."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        parameters = getattr(item, "callspec", None)
        if names & _ON_POSTGRESQL or (parameters and "postgresql" in parameters.params.values()):
            item.add_marker(pytest.mark.postgresql)


@pytest.fixture(autouse=True)
def _fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test logs as if it were a process's first: no logger keeps what an earlier test configured."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure(**options: Any) -> None:
        _configure_structlog(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure)
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level = before
    for name in ("apscheduler", "uvicorn.access", "urllib3.connectionpool", "apprise"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def emulator() -> Iterator[EmulatedBank]:
    """A bank on virtual time, with no money in the account, where no one pays unless told to."""
    bank = EmulatedBank(Clock(NOW))
    yield bank
    bank.close()


@pytest.fixture
def connect(emulator: EmulatedBank) -> Iterator[Callable[..., Bank]]:
    """Open the emulator through the real SDK; keyword arguments replace those of ``open_bank``."""
    opened: list[Bank] = []

    def open_another(**changes: object) -> Bank:
        arguments = {
            "environment": "sandbox",
            "project_id": emulator.project_id,
            "private_key_pem": emulator.private_key_pem,
            "api_url": emulator.url,
            "timeout_seconds": 15.0,
        }
        bank = open_bank(**{**arguments, **changes})  # type: ignore[arg-type]
        opened.append(bank)
        return bank

    yield open_another
    for bank in opened:
        bank.close()


@pytest.fixture
def bank(connect: Callable[..., Bank]) -> Bank:
    """The emulator through the real SDK."""
    return connect()


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows, to be copied: migrating takes longer than most tests."""
    file = tmp_path_factory.mktemp("books") / "empty.db"
    database = open_database(f"sqlite:///{file}")
    migrate(database)
    database.close()
    return file


@pytest.fixture
def database_url(empty_books: Path, tmp_path: Path) -> str:
    """The address of books of this test's own."""
    file = tmp_path / "repasse.db"
    shutil.copyfile(empty_books, file)
    return f"sqlite:///{file}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty books."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def settings(emulator: EmulatedBank, database_url: str) -> Callable[..., Settings]:
    """Settings that lead to the emulator and to this test's books; keyword arguments are by their names."""

    def make(**changes: object) -> Settings:
        known: dict[str, object] = {
            "starkbank_project_id": emulator.project_id,
            "starkbank_private_key": SecretStr(emulator.private_key_pem),
            "starkbank_api_url": emulator.url,
            "database_url": SecretStr(database_url),
            "operator_language": "en",
        }
        return Settings(_env_file=None, **{**known, **changes})  # type: ignore[arg-type, call-arg]

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Databases]:
    """A real PostgreSQL, started when the first test asks for it; see tests/postgresql.py."""
    with any_server() as databases:
        yield databases


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A PostgreSQL that tests may stop and start; running when a test begins."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def postgresql_url(postgresql: Databases) -> Iterator[str]:
    """The address of empty books of this test's own on PostgreSQL."""
    with postgresql.lend() as address:
        yield address


@pytest.fixture
def policy() -> ForwardingPolicy:
    """The settings' own defaults."""
    return a_policy()


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run a module's main() in this process, in a folder of its own: a hundredth of the time of a real one."""

    def run(module: str, *arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        main = importlib.import_module(module).main
        with monkeypatch.context() as patch:
            patch.setattr("os.environ", dict(environment))
            patch.setattr(sys, "argv", [module, *arguments])
            patch.chdir(tmp_path)
            try:
                status = main()
            except SystemExit as end:  # argparse
                status = end.code
        return subprocess.CompletedProcess([module, *arguments], status, *capsys.readouterr())

    return run


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Starts processes in this test's folder; those that still run at the end are killed."""
    made = Runner(tmp_path)
    yield made
    made.kill_all()


@pytest.fixture
def start_emulator_process(runner: Runner) -> Iterator[Callable[..., EmulatorProcess]]:
    """Start the real command; arguments are its switches."""
    started: list[EmulatorProcess] = []

    def start(*switches: str) -> EmulatorProcess:
        started.append(EmulatorProcess(runner, *switches))
        return started[-1]

    yield start
    for each in started:
        each.close()
