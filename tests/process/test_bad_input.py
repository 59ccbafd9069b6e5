"""Bad settings: exactly one line that names what is wrong and what to put, status 2, no traceback, no secret."""

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from emulator.protocol import credentials
from tests.emulated import EmulatedBank
from tests.running import ROOT, Runner, free_port, plain_environment, the_one_line

pytestmark = pytest.mark.process

SECRET = "-----BEGIN EC PRIVATE KEY-----\\nc2VjcmV0c2VjcmV0\\n-----END EC PRIVATE KEY-----"
COMMANDS = {
    "web": ["-m", "webhooks"],
    "worker": ["-m", "worker"],
    "run_job": [str(ROOT / "scripts" / "run_job.py"), "issue"],
    "migrate": ["-m", "payments.storage.migrate"],
}


@pytest.fixture(scope="module")
def good() -> dict[str, str]:
    """Settings with which every command would start."""
    return {
        "STARKBANK_PROJECT_ID": "5656565656565656",
        "STARKBANK_PRIVATE_KEY": credentials.in_memory(seed=1)[1],
        "STARKBANK_API_URL": "http://127.0.0.1:9",
    }


@pytest.fixture
def refuse(runner: Runner, good: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Start a command with wrong settings (None: unset); return the one line that it says."""

    def start(command: str, *arguments: str, **wrong: str | None) -> str:
        settings: dict[str, str | None] = {
            **good,
            "DATABASE_URL": f"sqlite:///{tmp_path / 'repasse.db'}",
            "PORT": str(free_port()),
            **wrong,
        }
        environment = plain_environment(**{name: text for name, text in settings.items() if text is not None})
        ended = runner.run(*COMMANDS[command], *arguments, environment=environment)
        line = the_one_line(ended)
        assert line.startswith("repasse: ")
        for value in (SECRET, "c2VjcmV0", "hunter2", good["STARKBANK_PRIVATE_KEY"].splitlines()[1]):
            assert value not in ended.stdout + ended.stderr
        return line

    return start


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"STARKBANK_PROJECT_ID": None}, ["STARKBANK_PROJECT_ID", "missing"]),
        ({"STARKBANK_PRIVATE_KEY": None}, ["STARKBANK_PRIVATE_KEY", "missing"]),
        ({"STARKBANK_PRIVATE_KEY": SECRET}, ["STARKBANK_PRIVATE_KEY", "damaged"]),
        (
            {"STARKBANK_PRIVATE_KEY": None, "STARKBANK_PRIVATE_KEY_PATH": "/nowhere/key.pem"},
            ["STARKBANK_PRIVATE_KEY_PATH", "No such file"],
        ),
        ({"STARKBANK_API_URL": "ftp://bank"}, ["STARKBANK_API_URL", "http"]),
        ({"STARKBANK_ENVIRONMENT": "production"}, ["STARKBANK_API_URL", "STARKBANK_ENVIRONMENT"]),
        ({"INVOICE_INTERVAL_SECONDS": "three hours"}, ["INVOICE_INTERVAL_SECONDS", "not a number"]),
        ({"INVOICES_PER_BATCH_MIN": "13"}, ["INVOICES_PER_BATCH_MIN", "INVOICES_PER_BATCH_MAX"]),
        ({"DATABASE_URL": "mysql://root:hunter2@db/x"}, ["DATABASE_URL", "sqlite:///"]),
        ({"DATABASE_URL": "sqlite://"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": "sqlite:////dev/null/x/repasse.db"}, ["DATABASE_URL", "/dev/null/x"]),
        # A folder that exists and takes no file, for root too.
        ({"DATABASE_URL": "sqlite:////proc/repasse.db"}, ["DATABASE_URL", "/proc"]),
        ({"OPERATOR_TOKEN": "hunter2"}, ["OPERATOR_TOKEN", "16"]),
        ({"BANK_TIMEOUT_SECONDS": "60"}, ["BANK_TIMEOUT_SECONDS", "TRANSFER_LEASE_SECONDS"]),
    ],
)
def test_a_wrong_setting_ends_in_one_line_that_names_it(
    refuse: Callable[..., str],
    wrong: dict[str, str | None],
    words: list[str],
) -> None:
    """Whichever process is started with it: they take turns, since a start takes its time."""
    command = ("web", "worker")[sum(map(ord, "".join(wrong))) % 2]
    line = refuse(command, **wrong)
    for word in words:
        assert word in line


@pytest.mark.parametrize("command", ["run_job", "migrate"])
def test_the_other_commands_say_it_in_the_same_way(refuse: Callable[..., str], command: str) -> None:
    """A folder that takes no file."""
    assert "DATABASE_URL" in refuse(command, DATABASE_URL="sqlite:////proc/repasse.db")


def test_a_busy_port_is_named(refuse: Callable[..., str]) -> None:
    """And the address that it is busy on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refuse("web", PORT=port)
    assert "PORT" in line
    assert port in line


def test_an_address_that_is_not_ours_is_named(refuse: Callable[..., str]) -> None:
    """Listening is tried before anything else is begun."""
    assert "HOST" in refuse("web", HOST="203.0.113.7")


@pytest.fixture
def newer_books(empty_books: Path, tmp_path: Path) -> str:
    """Books that a newer release has migrated."""
    file = tmp_path / "newer.db"
    file.write_bytes(empty_books.read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    return f"sqlite:///{file}"


@pytest.mark.parametrize("command", COMMANDS)
def test_books_of_a_newer_release_are_refused(
    refuse: Callable[..., str], newer_books: str, command: str
) -> None:
    """Nothing is written that the newer one would not understand."""
    line = refuse(command, DATABASE_URL=newer_books)
    assert "newer" in line
    assert "9999" in line


def test_a_database_of_another_program_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    """Its tables stay as they are."""
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    assert "recipes" in refuse("worker", DATABASE_URL=f"sqlite:///{file}")


def test_a_file_that_is_no_database_is_named(refuse: Callable[..., str], tmp_path: Path) -> None:
    """A slip of the path must not end in a traceback."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear bank, " * 100)
    assert "letter.txt" in refuse("web", DATABASE_URL=f"sqlite:///{file}")


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--fast"]])
def test_wrong_arguments_end_with_status_2(
    runner: Runner, good: dict[str, str], arguments: list[str]
) -> None:
    """Before any setting is read."""
    ended = runner.run("-m", "webhooks", *arguments, environment=plain_environment(**good))
    assert ended.returncode == 2
    assert arguments[-1] in ended.stderr
    assert "Traceback" not in ended.stderr


# --- the bank says no ---


@pytest.mark.parametrize(
    ("command", "wrong"),
    [("issue", "key"), ("issue", "project"), ("reconcile", "key"), ("forward", "project")],
)
def test_a_bank_that_refuses_us_is_quoted_with_what_to_do(
    runner: Runner, emulator: EmulatedBank, good: dict[str, str], database_url: str, command: str, wrong: str
) -> None:
    """The bank's code and message, and the setting to look at; status 1, since the work is left."""
    environment = plain_environment(
        **good
        | {"STARKBANK_API_URL": emulator.url, "DATABASE_URL": database_url}
        | ({"STARKBANK_PROJECT_ID": "4242424242424242"} if wrong == "project" else {})
    )
    ended = runner.run(str(ROOT / "scripts" / "run_job.py"), command, environment=environment)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    said = ended.stdout + ended.stderr
    code, setting = {
        "project": ("invalidProject", "STARKBANK_PROJECT_ID"),
        "key": ("invalidCredentials", "STARKBANK_PRIVATE_KEY"),
    }[wrong]
    assert code in said
    assert setting in said
    assert "Traceback" not in said
