"""The operator's command line: read the database, act on it, or do a piece of the job by hand.

Only issue, forward and reconcile need the bank. Exit status: 0 done; 1 something is left, was not found, or is not
allowed now; 2 wrong arguments or settings. A command imports only what it needs: reading takes a third of a second,
nearly all of it SQLAlchemy and pydantic.
"""

import gc
import os
import sys
import time
from argparse import Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from payments.errors import ActionRefused, BankError, LedgerUnavailable, Rejected, RepasseError
from scripts.job.arguments import localize, parse

if TYPE_CHECKING:
    from payments.settings import Settings
    from payments.storage.database import Database

DONE, LEFT, WRONG = 0, 1, 2

WORK = ("issue", "forward", "reconcile")
ACTIONS = ("retry", "abandon", "recover", "resolve", "replay", "pause", "resume")


def main() -> int:
    """Run one command; see the module."""
    arguments = parse()
    try:
        return _run(arguments)
    except ActionRefused as error:
        print(f"repasse: refused: {_words_of(error)}", file=sys.stderr)
        return LEFT
    except LedgerUnavailable as error:
        print(f"repasse: {error}; try again", file=sys.stderr)
        return LEFT
    except BankError as error:
        remedy = f"; {error.remedy}" if isinstance(error, Rejected) else "; try again"
        print(f"repasse: the bank's answer: {error}{remedy}", file=sys.stderr)
        return LEFT
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return WRONG


def _run(arguments: Namespace) -> int:
    # What imports create stays; looking for garbage in it would take a tenth of the time.
    gc.disable()
    from payments.operator.times import zone_of
    from payments.settings import load_settings
    from payments.storage.database import open_database
    from payments.storage.migrate import migrate
    from scripts.job.view import use_zone

    gc.enable()
    settings = load_settings(needs_bank=arguments.command in WORK)
    zone = zone_of(settings.time_zone)
    localize(arguments, zone)
    use_zone(zone)
    database = open_database(settings.database_url.get_secret_value(), is_unhurried=True)
    migrate(database)
    if arguments.command in (*WORK, *ACTIONS):
        return _do(database, arguments, settings)
    from scripts.job import reads

    try:
        return int(getattr(reads, arguments.command)(database, arguments))
    except ValueError as error:  # a cursor that no list gave
        if getattr(arguments, "after", None) is None:
            raise
        print(f"repasse: --after: {error}", file=sys.stderr)
        return WRONG


def _do(database: "Database", arguments: Namespace, settings: "Settings") -> int:
    from payments.operator.actions import Operator
    from payments.storage.clock import open_clock

    try:
        by = Operator(arguments.who, arguments.reason)
    except ActionRefused as error:  # no name or reason that could be recorded
        print(f"repasse: {_words_of(error)}", file=sys.stderr)
        return WRONG
    clock = open_clock(database, _now)
    if arguments.command in WORK:
        from scripts.job.work import work

        return work(database, arguments, settings, by, clock)
    from scripts.job.actions import act

    return act(database, arguments, settings, by, clock())


def _words_of(error: ActionRefused) -> str:
    from payments.language import language_of
    from payments.operator.wording import note_text
    from scripts.job.view import moment

    return note_text(str(error), language_of("en"), moment)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


if __name__ == "__main__":
    try:
        # A payer's name must not end a command on a terminal that cannot write it.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = DONE
    sys.exit(status)
