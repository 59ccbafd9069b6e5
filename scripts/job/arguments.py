"""The arguments of scripts/run_job; wrong ones end it with status 2."""

import argparse
import getpass
import os
from datetime import MAXYEAR, MINYEAR, UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from payments.money import parse_brl

# As in ledger/pauses.py and transfer.py, which take a tenth of a second to import; a test compares.
SWITCHES = ("forwarding", "issuing")
STATES = ("pending", "sending", "sent", "settled", "failed", "dead", "stopped", "abandoned")

# A screenful or two; --limit asks for more.
LINES = 50

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with status 2 and one line when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/run_job",
        description="Read the database, act on it, or do a piece of the job by hand. Times are in the zone of the "
        "setting TIME_ZONE; in JSON and CSV in UTC.",
        epilog="Exit status: 0 done; 1 something is left, was not found, or is not allowed now; 2 wrong arguments or "
        "settings.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_reads(commands)
    _add_actions(commands)
    _add_work(commands)
    read = parser.parse_args(arguments)
    if read.command == "acts":  # its name until 0.2
        read.command = "actions"
    if read.command == "statement" and read.recount and (read.since or read.until):
        parser.error("--recount is of everything: leave --from and --to out")
    return read


def _add_reads(commands: "_Commands") -> None:
    attention = commands.add_parser("attention", help="what needs attention")
    attention.add_argument("--all", action="store_true", help="resolved items too")
    _add_paging(attention)

    show = commands.add_parser("show", help="everything about one credit, event or batch")
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

    actions = commands.add_parser("actions", aliases=["acts"], help="what operators did, newest first")
    _add_paging(actions)

    statement = commands.add_parser("statement", help="where every centavo is")
    form = statement.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object")
    form.add_argument("--csv", action="store_true", help="as lines of name, count, centavos")
    statement.add_argument(
        "--recount",
        action="store_true",
        help="check each credit by itself as well, and name those that are not accounted for",
    )
    _add_period(statement)

    system = commands.add_parser("system", help="processes, reconciliations, what is paused")
    _add_json(system)

    audit = commands.add_parser("audit", help="every credit with its transfer and times, as CSV")
    _add_period(audit)


def _add_actions(commands: "_Commands") -> None:
    retry = commands.add_parser(
        "retry", help="retry a dead transfer, or one that waits; repasse checks with the bank before sending"
    )
    retry.add_argument("external_id", metavar="EXTERNAL_ID")
    abandon = commands.add_parser(
        "abandon", help="never send a dead transfer, such as one that was paid manually"
    )
    abandon.add_argument("external_id", metavar="EXTERNAL_ID")
    recover = commands.add_parser(
        "recover", help="record that money forwarded before its credit was reversed came back"
    )
    recover.add_argument("invoice_id", metavar="INVOICE_ID")
    resolve = commands.add_parser("resolve", help="mark an attention as dealt with")
    resolve.add_argument("attention_id", metavar="NUMBER", type=int, help="as `attention` shows it")
    replay = commands.add_parser(
        "replay", help="process stored events again; harmless for those that had their effect"
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("event_id", metavar="EVENT", nargs="?")
    which.add_argument("--since", type=_moment, metavar="TIME", help="every event received since then")
    pause = commands.add_parser("pause", help="stop forwarding or issuing, in every process, until resumed")
    resume = commands.add_parser("resume", help="run it again")
    for each in (pause, resume):
        each.add_argument("switch", choices=SWITCHES)
    for each in (retry, abandon, recover, resolve, replay, pause, resume):
        each.add_argument("--reason", required=True, help="why; saved in the audit log, 3 to 500 characters")
        _add_who(each)


def _add_work(commands: "_Commands") -> None:
    for name, says in (
        ("issue", "issue one batch of invoices now, outside the window"),
        ("forward", "send every transfer that is due"),
        ("reconcile", "ask the bank for anything we missed, and record it"),
    ):
        work = commands.add_parser(name, help=says)
        work.add_argument("--reason", default="started by hand", help="why; saved in the audit log")
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
    parser.add_argument("--after", metavar="CURSOR", help="continue where the last list ended")


def _add_period(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="since", type=_moment, metavar="TIME", help="recorded then or later, like 2026-03-02"
    )
    parser.add_argument("--to", dest="until", type=_moment, metavar="TIME", help="recorded before then")


def localize(arguments: argparse.Namespace, zone: tzinfo) -> None:
    """Give the times that were typed without an offset this zone; a day then begins at midnight there."""
    for name in ("since", "until"):
        moment = getattr(arguments, name, None)
        if moment is not None and moment.tzinfo is None:
            setattr(arguments, name, moment.replace(tzinfo=zone).astimezone(UTC))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if not MINYEAR < moment.year < MAXYEAR:  # in another zone it may not exist
            raise ValueError
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: write 2026-03-02 or 2026-03-02T15:00, in the zone TIME_ZONE, or with an "
            "offset like -03:00"
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
