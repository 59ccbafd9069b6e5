"""The database as a whole: copy it to another one, back up, restore, verify. Started by scripts/books.

None of it talks to the bank or needs its settings. Exit status: 0 done, 1 try again (or verify has found something),
2 wrong arguments or settings, or refused; nothing is changed then.
"""

import argparse
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from payments.errors import LedgerUnavailable, LedgerUnusable, RepasseError
from payments.money import format_brl
from payments.operator.actions import WHO_LENGTH_MAX
from payments.operator.processes import ALIVE_WITHIN
from payments.operator.statement import read_statement
from payments.settings import load_settings
from payments.storage.database import Database, open_database
from payments.upkeep.backup import back_up, restore
from payments.upkeep.copying import Operator, copy_database, refuse_unknown_revision, reopen
from payments.upkeep.verify import verify

DONE, LEFT, WRONG = 0, 1, 2

# A line of progress no more often than this.
_PROGRESS_SECONDS = 2.0


def main() -> int:
    """Run one command; see the module."""
    arguments = _parse()
    try:
        settings = load_settings(needs_bank=False)
        database = open_database(settings.database_url.get_secret_value(), is_unhurried=True)
        command: Callable[[Database, argparse.Namespace], int] = arguments.run
        return command(database, arguments)
    except LedgerUnavailable as error:
        return _say(f"{error}; try again", LEFT)
    except RepasseError as error:
        return _say(str(error), WRONG)
    except KeyboardInterrupt:
        return _say("interrupted; run it again", LEFT)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/books", description="The database that DATABASE_URL names, as a whole."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[Database, argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    copy = add("copy", _copy, "move to another, empty database; every process must be stopped")
    copy.add_argument("--to", required=True, metavar="URL", help="as in DATABASE_URL; the password too")
    add("reopen", _reopen, "open a database again that copy has closed, if the new one is given up")
    backup = add("backup", _backup, "write a SQLite database to a file; safe while everything runs")
    backup.add_argument("file", metavar="FILE", type=_path)
    restored = add(
        "restore",
        _restore,
        "make a backup the SQLite database, where there is none; every process must be stopped",
    )
    restored.add_argument("file", metavar="FILE", type=_path)
    add("verify", _verify, "check every rule; status 1 when something is wrong")
    return parser.parse_args()


def _path(text: str) -> Path:
    # scripts/books changes to the checkout, and the path was typed somewhere else.
    return Path(os.environ.get("STARTED_IN", ""), text)


def _copy(database: Database, arguments: argparse.Namespace) -> int:
    try:
        target = open_database(arguments.to, is_unhurried=True)
        rows = copy_database(database, target, _operator("copy"), _now(), ALIVE_WITHIN, _Progress().show)
        statement = read_statement(target)
    except (LedgerUnusable, LedgerUnavailable) as error:
        # The messages name the setting; here the address came as an argument.
        raise type(error)(str(error).replace("DATABASE_URL", "--to")) from error
    if rows is None:
        print("everything was copied by an earlier run")
    else:
        print(f"copied: {sum(rows.values())} rows of {len(rows)} tables, the same on both sides")
    print(
        f"{statement.credits} credits, net {format_brl(statement.net_centavos)}, "
        f"settled {format_brl(statement.settled_centavos)}"
        f"{'' if statement.balanced else '; NOT BALANCED, as they were: scripts/books verify'}"
    )
    print(f"{database.name} is closed: no process starts on it any more.")
    print(f"Now put DATABASE_URL={target.name} (with its password) everywhere, and start the processes.")
    return DONE


def _reopen(database: Database, _: argparse.Namespace) -> int:
    reopen(database, _operator("reopen"), _now())
    print(f"{database.name} is open again. Make sure that no process uses the database it was moved to.")
    return DONE


def _backup(database: Database, arguments: argparse.Namespace) -> int:
    back_up(database, arguments.file)
    print(f"backed up: {arguments.file}, {_size(arguments.file.stat().st_size)}, sound")
    return DONE


def _restore(database: Database, arguments: argparse.Namespace) -> int:
    restore(arguments.file, database)
    print(f"restored: {database.name}")
    print("Before you start the processes: scripts/run_job reconcile, until it finds nothing new.")
    print("What happened after the backup is known to the bank; see docs/deploy.md, Restore.")
    return DONE


def _verify(database: Database, _: argparse.Namespace) -> int:
    refuse_unknown_revision(database)
    findings = verify(database, _Progress().show)
    for finding in findings:
        print(f"wrong: {finding}")
    if findings:
        print(f"{len(findings)} finding(s): keep a copy (scripts/books backup), and see docs/runbook.md")
        return LEFT
    print("sound: every rule holds")
    return DONE


class _Progress:
    """Prints on standard error how far a long command is."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def show(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _PROGRESS_SECONDS
            print(f"  {text}", file=sys.stderr, flush=True)


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"


def _operator(command: str) -> Operator:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return Operator(f"{user}@{socket.gethostname()}"[:WHO_LENGTH_MAX], f"scripts/books {command}")


def _say(text: str, status: int) -> int:
    print(f"repasse: {text}", file=sys.stderr)
    return status


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


if __name__ == "__main__":
    sys.exit(main())
