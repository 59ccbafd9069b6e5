"""Bad settings: exactly one line that names what is wrong and what to put, status 2, no traceback, no secret."""

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.protocol import credentials
from tests.emulated import EmulatedBank
from tests.running import Runner, free_port, plain_environment, the_one_line

SECRET = "-----BEGIN EC PRIVATE KEY-----\\nc2VjcmV0c2VjcmV0\\n-----END EC PRIVATE KEY-----"
KEY = credentials.in_memory(seed=1)[1]

# How each command is started as a process, the module whose main() it runs, and its arguments.
COMMANDS = {
    "web": (["-m", "webhooks"], "webhooks.__main__", []),
    "worker": (["-m", "worker"], "worker.__main__", []),
    "job": (["-m", "repasse"], "repasse.__main__", ["job", "issue"]),
    "migrate": (["-m", "payments.storage.migrate"], "payments.storage.migrate", []),
}

SetUp = Callable[..., dict[str, str]]
Refuse = Callable[..., str]


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    """Settings with which every command would start, but for these (None: unset)."""

    def make(**wrong: str | None) -> dict[str, str]:
        settings: dict[str, str | None] = {
            "STARKBANK_PROJECT_ID": "5656565656565656",
            "STARKBANK_PRIVATE_KEY": KEY,
            "STARKBANK_API_URL": "http://127.0.0.1:9",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'repasse.db'}",
            "PORT": str(free_port()),
            **wrong,
        }
        return plain_environment(**{name: text for name, text in settings.items() if text is not None})

    return make


def assert_refusal(line: str) -> str:
    """It is ours, and has no secret in it; the line."""
    assert line.startswith("repasse: ")
    for value in (SECRET, "c2VjcmV0", "hunter2", KEY.splitlines()[1]):
        assert value not in line
    return line


@pytest.fixture
def refuse(call: Callable[..., Any], set_up: SetUp) -> Refuse:
    """Run a command's main() here with wrong settings; return the one line that it prints."""

    def run(command: str, **wrong: str | None) -> str:
        _, module, arguments = COMMANDS[command]
        return assert_refusal(the_one_line(call(module, *arguments, environment=set_up(**wrong))))

    return run


WRONG: list[tuple[dict[str, str | None], list[str]]] = [
    ({"STARKBANK_PROJECT_ID": None}, ["STARKBANK_PROJECT_ID", "missing"]),
    ({"STARKBANK_PRIVATE_KEY": None}, ["STARKBANK_PRIVATE_KEY", "missing"]),
    ({"STARKBANK_PRIVATE_KEY": SECRET}, ["STARKBANK_PRIVATE_KEY", "damaged"]),
    ({"INVOICES_PER_BATCH_MIN": "13"}, ["INVOICES_PER_BATCH_MIN", "INVOICES_PER_BATCH_MAX"]),
    ({"DATABASE_URL": "mysql://root:hunter2@db/x"}, ["DATABASE_URL", "sqlite:///"]),
    ({"DATABASE_URL": "sqlite:////dev/null/x/repasse.db"}, ["DATABASE_URL", "/dev/null/x"]),
    # A folder that exists and takes no file, for root too.
    ({"DATABASE_URL": "sqlite:////proc/repasse.db"}, ["DATABASE_URL", "/proc"]),
    ({"ALERT_URLS": "smoke-signal://hunter2"}, ["ALERT_URLS holds a URL that Apprise cannot read: put "]),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_a_wrong_setting_ends_in_one_line_that_names_it(
    refuse: Refuse, wrong: dict[str, str | None], words: list[str]
) -> None:
    """Both the web process and the worker refuse to start with it."""
    for command in ("web", "worker"):
        line = refuse(command, **wrong)
        assert [word for word in words if word not in line] == []


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_as_a_process_ends_in_that_line_alone(
    runner: Runner, set_up: SetUp, command: str
) -> None:
    """Status 2, one line on standard error, no traceback; here for a folder that takes no file."""
    started, _, arguments = COMMANDS[command]
    environment = set_up(DATABASE_URL="sqlite:////proc/repasse.db")
    line = the_one_line(runner.run(*started, *arguments, environment=environment))
    assert "DATABASE_URL" in assert_refusal(line)


def test_an_address_where_the_web_process_cannot_listen_is_named(refuse: Refuse) -> None:
    """A port in use, and a host that is not ours; listening is tried before anything else begins."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refuse("web", PORT=port)
    assert "PORT" in line
    assert port in line
    assert "HOST" in refuse("web", HOST="203.0.113.7")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_of_a_newer_release_is_refused(
    refuse: Refuse, empty_books: Path, tmp_path: Path, command: str
) -> None:
    """Nothing is written that the newer one would not understand."""
    file = tmp_path / "newer.db"
    file.write_bytes(empty_books.read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    line = refuse(command, DATABASE_URL=f"sqlite:///{file}")
    assert "newer" in line
    assert "9999" in line


@pytest.mark.parametrize(
    ("command", "project_id", "code", "setting"),
    [
        ("issue", "5656565656565656", "invalidCredentials", "STARKBANK_PRIVATE_KEY"),
        ("forward", "4242424242424242", "invalidProject", "STARKBANK_PROJECT_ID"),
    ],
)
def test_a_bank_that_refuses_us_is_quoted_with_what_to_do(
    call: Callable[..., Any],
    emulator: EmulatedBank,
    set_up: SetUp,
    database_url: str,
    command: str,
    project_id: str,
    code: str,
    setting: str,
) -> None:
    """Another key than the project's, and no such project: the setting to look at; status 1, the work is left."""
    environment = set_up(
        STARKBANK_PROJECT_ID=project_id, STARKBANK_API_URL=emulator.url, DATABASE_URL=database_url
    )
    ended = call("repasse.__main__", "job", command, environment=environment)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert code in said
    assert setting in said
    assert "Traceback" not in said
