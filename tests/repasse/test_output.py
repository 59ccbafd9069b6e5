"""How lists and times look: on terminals of several widths, on a pipe, with colours and without."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from payments.ledger import transfers
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from tests.payments.builders import NOW
from tests.repasse.conftest import credit
from tests.running import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]

LISTS = ("transfers", "credits", "actions", "attention", "attention --all", "system")


@pytest.fixture
def busy(database: Database, policy: ForwardingPolicy, repasse: Run) -> Database:
    """A database in which each list has a row that is wide."""
    credit(database, policy, 1_234_567, 1_234_567, 1_234_567)
    claim, *_ = transfers.claim(database, "call", policy, 100, NOW)
    transfers.refuse(
        database, claim, "Destination account blocked, says the bank, and that at length", policy, NOW
    )
    assert repasse("job", "pause", "issuing", "--reason", "a long reason " * 9).returncode == 0
    return database


# Runs "repasse job" with each argument, in one process: most of a call's time is Python's start.
RUN = """
import sys
from repasse.__main__ import repasse
for words in sys.argv[1:]:
    repasse.main(["job", *words.split()], standalone_mode=False)
    print("---", flush=True)
"""


def on_a_terminal(environment: dict[str, str], columns: int, *commands: str) -> list[str]:
    """What each command prints on a terminal of this width, escape sequences included."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {name: text for name, text in environment.items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *commands],
        cwd=ROOT,
        env={**settings, "TERM": "xterm", **({"NO_COLOR": "1"} if "NO_COLOR" in environment else {})},
        stdin=its, stdout=its, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(its)
        printed = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            printed += part
            if not part:
                break
        os.close(ours)
    assert process.returncode == 0, printed
    return printed.decode().replace("\r\n", "\n").split("---\n")[:-1]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.process
@pytest.mark.parametrize("columns", [80, 120])
def test_every_table_fits_the_terminal(environment: dict[str, str], busy: Database, columns: int) -> None:
    """What has no room is named; ids, amounts and states are whole."""
    every = dict(zip(LISTS, map(plain, on_a_terminal(environment, columns, *LISTS)), strict=True))
    for name, printed in every.items():
        table = [
            line for line in printed.splitlines() if not line.startswith(("not shown", "No ", "Issuing"))
        ]
        tables_only = [line for line in table if "  " in line]
        assert max(map(len, tables_only)) <= columns, name
    assert "credit-5000000000000000  R$ 12.345,57  dead" in every["transfers"]
    assert ("not shown for want of room: " in every["transfers"]) == (columns == 80)


@pytest.mark.process
def test_colours_are_for_terminals_that_want_them(environment: dict[str, str], busy: Database) -> None:
    """A blocked transfer is red; https://no-color.org is honoured."""
    [coloured] = on_a_terminal(environment, 120, "transfers")
    assert "\x1b[31mdead" in coloured
    [plain_text] = on_a_terminal({**environment, "NO_COLOR": "1"}, 120, "transfers")
    assert "\x1b" not in plain_text


def test_a_pipe_gets_every_column_whole(repasse: Run, busy: Database) -> None:
    """No width is guessed where no one looks, and no colours are written."""
    printed = repasse("job", "transfers", COLUMNS="80").stdout
    assert "Destination account blocked, says the bank, and that at length" in printed
    assert re.match(
        r"external id +amount +state +reason +created +attempts +due +settled +bank id\n", printed
    )
    assert "\x1b" not in printed
    assert "not shown" not in printed


def test_a_list_that_goes_on_says_how_to_continue(repasse: Run, busy: Database) -> None:
    """The line can be typed as it is."""
    *_, last = repasse("job", "transfers", "--limit", "2").stdout.splitlines()
    assert last.startswith("more: --after ")
    rest = repasse("job", "transfers", *last.split()[1:]).stdout
    assert "more:" not in rest
    assert len(rest.splitlines()) == 2


def test_days_are_read_as_brazilians_write_them(repasse: Run, busy: Database) -> None:
    """In the zone TIME_ZONE: the credits are of noon in São Paulo."""
    for typed, is_from_then_on in {
        "02/03/2026": True,
        "2/3/2026 12:00": True,
        "02/03/2026 12:00:00": True,
        "02/03/2026 12:01": False,
        "2026-03-02T15:00Z": True,
        "2026-03-02T12:00:01": False,
        "03/02/2026": True,  # the third of February
        "03/03/2026": False,
    }.items():
        printed = repasse("job", "credits", "--from", typed).stdout
        assert ("2026-03-02 12:00:00" in printed) is is_from_then_on, typed


def test_what_is_no_day_is_refused_with_examples(repasse: Run) -> None:
    """Status 2."""
    for typed in ("31/02/2026", "2026-13-01", "01/03/26", "1.000", "ontem", "02/03/2026 25:00"):
        ended = repasse("job", "credits", "--to", typed)
        assert ended.returncode == 2, typed
        assert "write 02/03/2026, 2026-03-02 or " in ended.stderr


def test_a_period_that_ends_before_it_begins_is_refused(repasse: Run) -> None:
    """It has no credits, and zeros would look like an answer."""
    for order in (
        ("--from", "03/03/2026", "--to", "02/03/2026"),
        ("--to", "02/03/2026", "--from", "02/03/2026"),
    ):
        for command in ("statement", "audit", "credits"):
            ended = repasse("job", command, *order)
            assert ended.returncode == 2
            assert "--to is not later than --from" in ended.stderr
