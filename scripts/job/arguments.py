"""What scripts/run_job can be told, and how it says that it was told wrong (status 2)."""

import argparse
import getpass
import os
from datetime import UTC, datetime

from payments.money import parse_brl

# As in operator/actions.py and transfer.py, which take a tenth of a second to import; a test compares.
SWITCHES = ("forwarding", "issuing")
STATES = ("pending", "sending", "sent", "settled", "failed", "dead", "stopped")

# A screenful or two; --limit asks for more.
LINES = 50


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with status 2 and one line when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/run_job",
        description="Read the books, act on them, or do a piece of the job by hand. Times are UTC.",
        epilog="Exit status: 0 done; 1 something is left, was not found, or is not legal now; 2 wrong arguments or "
        "settings.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_reads(commands)
    _add_acts(commands)
    _add_work(commands)
    read = parser.parse_args(arguments)
    if read.command == "statement" and read.recount and (read.since or read.until):
        parser.error("--recount is of everything: leave --from and --to out")
    return read


def _add_reads(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    attention = commands.add_parser("attention", help="what waits for a person")
    attention.add_argument("--all", action="store_true", help="closed matters too")
    _add_paging(attention)

    show = commands.add_parser("show", help="the whole story of one credit, event or batch")
    show.add_argument(
        "id", metavar="ID", help="of an invoice, transfer (ours or the bank's), event, log or batch"
    )
    _add_json(show)

    transfers = commands.add_parser("transfers", help="transfers, newest first")
    transfers.add_argument("--state", choices=STATES)
    _add_paging(transfers)

    credits = commands.add_parser("credits", help="credits, newest first")
    credits.add_argument("--amount", type=_amount, metavar="R$", help="gross or net, like 1.234,56")
    _add_period(credits)
    _add_paging(credits)

    acts = commands.add_parser("acts", help="what operators did, newest first")
    _add_paging(acts)

    statement = commands.add_parser("statement", help="say where every centavo is")
    form = statement.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object")
    form.add_argument("--csv", action="store_true", help="as lines of name, count, centavos")
    statement.add_argument(
        "--recount",
        action="store_true",
        help="from every row, not from the running totals; names what is wrong",
    )
    _add_period(statement)

    system = commands.add_parser("system", help="processes, reconciliations, what is paused")
    _add_json(system)

    audit = commands.add_parser("audit", help="every credit with its transfer and times, as CSV")
    _add_period(audit)


def _add_acts(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    retry = commands.add_parser(
        "retry", help="let a dead transfer go on; do now what waits. It is looked up before it is sent"
    )
    retry.add_argument("external_id", metavar="EXTERNAL_ID")
    abandon = commands.add_parser(
        "abandon", help="give a dead transfer up for good, such as one paid by hand"
    )
    abandon.add_argument("external_id", metavar="EXTERNAL_ID")
    resolve = commands.add_parser("resolve", help="close a matter that you have dealt with")
    resolve.add_argument("attention_id", metavar="NUMBER", type=int, help="as `attention` shows it")
    replay = commands.add_parser("replay", help="read stored events again; harmless for what had its effect")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("event_id", metavar="EVENT", nargs="?")
    which.add_argument("--since", type=_moment, metavar="TIME", help="every event received since then")
    pause = commands.add_parser("pause", help="stop forwarding or issuing, in every process, until resumed")
    resume = commands.add_parser("resume", help="let it run again")
    for each in (pause, resume):
        each.add_argument("switch", choices=SWITCHES)
    for each in (retry, abandon, resolve, replay, pause, resume):
        each.add_argument("--reason", required=True, help="why; kept with the act, 3 to 500 characters")
        _add_who(each)


def _add_work(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, says in (
        ("issue", "issue one batch of invoices now, outside the window"),
        ("forward", "send every transfer that is due"),
        ("reconcile", "ask the bank what we missed, and record it"),
    ):
        work = commands.add_parser(name, help=says)
        work.add_argument("--reason", default="started by hand", help="why; kept with the act")
        _add_who(work)


def _add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--who", default=_login_name(), help="who acts; the login name (%(default)s) if not given"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _add_paging(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--limit", type=_limit, default=LINES, metavar="N", help="at most N lines (%(default)s)"
    )
    parser.add_argument("--after", metavar="CURSOR", help="go on where the last list ended")


def _add_period(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="since", type=_moment, metavar="TIME", help="recorded then or later, like 2026-03-02"
    )
    parser.add_argument("--to", dest="until", type=_moment, metavar="TIME", help="recorded before then")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-03-02 or 2026-03-02T15:00, in UTC, or with an offset like -03:00"
        ) from None


def _amount(text: str) -> int:
    try:
        return parse_brl(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 100_000 or len(text) > 6:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from 1 to 100000")
    return int(text)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
