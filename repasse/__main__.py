"""``repasse``: start the processes, and serve the operator.

The parts that talk to the bank, log or copy a database are imported by the commands that need them.
"""

import sys
from contextlib import suppress

import click

from payments.errors import ActionRefused, BankError, LedgerUnavailable, Rejected, RepasseError
from payments.observability.streams import complain, open_standard_streams
from payments.operator.wording import note_text
from payments.storage.migrate import main as bring_up_to_date
from payments.version import VERSION
from repasse.db import db
from repasse.group import LEFT, WRONG, Group, command
from repasse.job import job
from repasse.language import _, language
from repasse.options import WholeNumber
from repasse.webhook import webhook


@command(
    _("Receive the bank's events and forward credits, until SIGTERM."),
    "repasse web",
    "repasse web --workers 2",
)
@click.option(
    "--workers", type=WholeNumber(1, 64), help=_("How many processes (default: WEB_WORKERS, or 1).")
)
def web(workers: int | None) -> int:
    from webhooks.__main__ import serve

    return serve(workers)


@command(
    _("Issue invoices on schedule and reconcile, until SIGTERM."),
    "repasse worker",
)
def worker() -> int:
    from worker.__main__ import run

    return run()


@command(
    _("Make the database, or bring it to this version. Every process does so at its start."),
    "repasse migrate",
)
def migrate() -> int:
    return bring_up_to_date()


@command(
    _("Print what makes a shell complete commands."),
    "repasse completion bash > ~/.local/share/bash-completion/completions/repasse",
    "repasse completion zsh > ~/.zfunc/_repasse    # a folder of your fpath",
    "repasse completion fish > ~/.config/fish/completions/repasse.fish",
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> int:
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(repasse, {}, "repasse", "_REPASSE_COMPLETE").source())
    return 0


repasse = Group(
    "repasse",
    _(
        "Issue Stark Bank invoices on a schedule, and forward each credit exactly once.\n\nSettings come from the "
        "environment, or from .env in the folder that you are in."
    ),
    {
        _("Processes"): (web, worker, migrate),
        _("The operator"): (job, db, webhook),
        _("This command"): (completion,),
    },
    ("repasse web", "repasse job attention", "repasse job --help"),
)
click.version_option(VERSION, message="repasse %(version)s", help=_("Show the version and exit."))(repasse)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status, and prints what went wrong as one line on standard error."""
    try:
        # The result of a click group without standalone mode is that of its command.
        status: int = repasse.main(arguments, "repasse", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail(_("interrupted; run it again"), LEFT)
    except ActionRefused as error:
        return _fail(_("refused: %(why)s", why=note_text(str(error), language)), LEFT)
    except LedgerUnavailable as error:
        return _fail(_("%(problem)s; try again", problem=error), LEFT)
    except BankError as error:
        remedy = error.remedy if isinstance(error, Rejected) else _("try again")
        return _fail(_("the bank's answer: %(answer)s; %(remedy)s", answer=error, remedy=remedy), LEFT)
    except RepasseError as error:
        return _fail(str(error), WRONG)
    except OSError as error:
        if error.filename is not None:
            raise
        # No file of ours: the output. What the command did is done.
        return _fail(_("the output cannot be written: %(why)s", why=error.strerror), LEFT)
    return status


def _fail(text: str, status: int) -> int:
    complain(text)
    return status


def run() -> None:
    """The command as it is installed: main, on the real standard streams."""
    open_standard_streams()
    # A payer's name must not end a command on a terminal that cannot write it.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())


if __name__ == "__main__":
    run()
