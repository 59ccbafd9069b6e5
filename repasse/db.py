"""``repasse db``: copy the database to another one, back it up, restore it, verify it.

None of it talks to the bank or needs its settings. Exit status: 0 done, 1 try again (or verify has found something),
2 wrong arguments or settings, or refused; nothing is changed then.
"""

import socket
import time
from pathlib import Path

import click

from payments.errors import LedgerUnavailable, LedgerUnusable
from payments.money import format_brl
from payments.operator.actions import WHO_LENGTH_MAX
from payments.operator.processes import ALIVE_WITHIN
from payments.operator.statement import read_statement
from payments.storage.database import Database, open_database
from payments.upkeep import backup as backups
from payments.upkeep import copying
from payments.upkeep.copying import copy_database, refuse_unknown_revision
from payments.upkeep.verify import verify as find_faults
from repasse.group import DONE, LEFT, Group, command
from repasse.language import _
from repasse.opening import now, open_named, read_settings
from repasse.options import login_name

# A line of progress no more often than this.
_PROGRESS_SECONDS = 2.0

_file = click.argument("file", type=click.Path(path_type=Path))


@command(
    _(
        "Copy the database to another one, and close it. Every process must be stopped, and the other one empty."
    ),
    "repasse db copy --to postgresql+psycopg://repasse:secret@db.example/repasse",
)
@click.option("--to", "to", required=True, metavar="URL", help=_("As in DATABASE_URL; the password too."))
def copy(to: str) -> int:
    database = _open()
    try:
        target = open_database(to, is_unhurried=True)
        rows = copy_database(database, target, _who(), now(), ALIVE_WITHIN, _Progress().show)
        statement = read_statement(target)
    except (LedgerUnusable, LedgerUnavailable) as error:
        # The messages name the setting; here the address came as an argument.
        raise type(error)(str(error).replace("DATABASE_URL", "--to")) from error
    if rows is None:
        click.echo(_("everything was copied by an earlier run"))
    else:
        click.echo(
            _(
                "copied: %(rows)d rows of %(tables)d tables, the same on both sides",
                rows=sum(rows.values()),
                tables=len(rows),
            )
        )
    click.echo(
        _(
            "%(credits)d credits, net %(net)s, settled %(settled)s",
            credits=statement.credits,
            net=format_brl(statement.net_centavos),
            settled=format_brl(statement.settled_centavos),
        )
    )
    if not statement.balanced:
        click.echo(_("NOT BALANCED, as they were: repasse db verify"))
    click.echo(_("%(database)s is closed: no process starts on it any more.", database=database.name))
    click.echo(
        _(
            "Now put DATABASE_URL=%(address)s (with its password) everywhere, and start the processes.",
            address=target.name,
        )
    )
    return DONE


@command(
    _("Open a database again that copy has closed. For when the new one is given up."),
    "repasse db reopen",
)
def reopen() -> int:
    database = _open()
    copying.reopen(database, _who(), now())
    click.echo(
        _(
            "%(database)s is open again. Make sure that no process uses the database it was moved to.",
            database=database.name,
        )
    )
    return DONE


@command(_("Write a SQLite database to a file, while everything runs."), "repasse db backup 2026-03-02.db")
@_file
def backup(file: Path) -> int:
    backups.back_up(_open(), file)
    click.echo(_("backed up: %(file)s, %(size)s, sound", file=file, size=_size(file.stat().st_size)))
    return DONE


@command(
    _("Make a backup the SQLite database, where there is none. Every process must be stopped."),
    "repasse db restore 2026-03-02.db",
)
@_file
def restore(file: Path) -> int:
    database = _open(must_exist=False)
    backups.restore(file, database)
    click.echo(_("restored: %(database)s", database=database.name))
    click.echo(_("Before you start the processes: repasse job reconcile, until it finds nothing new."))
    click.echo(_("What happened after the backup is known to the bank; see docs/deploy.md, Restore."))
    return DONE


@command(_("Check every rule. Status 1 when something is wrong."), "repasse db verify")
def verify() -> int:
    database = _open()
    refuse_unknown_revision(database)
    findings = find_faults(database, _Progress().show)
    for finding in findings:
        click.echo(_("wrong: %(finding)s", finding=finding))
    if findings:
        click.echo(
            _(
                "%(number)d finding(s): keep a copy (repasse db backup), and see docs/runbook.md",
                number=len(findings),
            )
        )
        return LEFT
    click.echo(_("sound: every rule holds"))
    return DONE


db = Group(
    "db",
    _(
        "Back up, restore, verify or move the whole database.\n\nIt is the one that DATABASE_URL names. Needs neither "
        "the bank nor a key.\n\nExit status: "
        "0 done; 1 try again, or verify has found something; 2 refused, or wrong arguments or settings: nothing is "
        "changed then."
    ),
    {_("Keep"): (backup, restore, verify), _("Move"): (copy, reopen)},
    ("repasse db backup 2026-03-02.db", "repasse db verify"),
)


def _open(*, must_exist: bool = True) -> Database:
    return open_named(read_settings(), must_exist=must_exist)


class _Progress:
    """Prints on standard error how far a long command is."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def show(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _PROGRESS_SECONDS
            click.echo(f"  {text}", err=True)


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"


def _who() -> str:
    return f"{login_name()}@{socket.gethostname()}"[:WHO_LENGTH_MAX]
