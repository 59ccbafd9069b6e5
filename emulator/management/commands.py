"""The small commands: `python -m emulator pay INVOICE` and the like, for an emulator that is running.

Each is one call of the management API and one sentence, or `--json` for all of the answer. Exit status 0 when
it was done, 1 when the emulator refused, 2 when the command is wrong or no emulator answers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from emulator.management import command_output, state
from emulator.management.arguments import value_of
from emulator.management.remote import NoEmulator, Refused, Remote, find
from emulator.management.sentences import sentence

DONE, REFUSED, WRONG = 0, 1, 2

Act = Callable[[Remote, argparse.Namespace], dict[str, Any]]
Show = Callable[[dict[str, Any]], str]
# The names and options of one `add_argument`.
Argument = tuple[tuple[str, ...], dict[str, Any]]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def summary() -> str:
    """One line for each command."""
    return "\n".join(f"  {name:<11} {words}" for name, (words, *_) in _COMMANDS.items())


def is_command(word: str) -> bool:
    """Whether this first word means a command, and not a switch of the start."""
    return not word.startswith("-")


def main(arguments: list[str]) -> int:
    """Do one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    act, show = options.act
    try:
        answer: dict[str, Any] = act(find(options.url, options.data), options)
    except Refused as refused:
        print(f"emulator: {refused}", file=sys.stderr)
        return REFUSED
    except (NoEmulator, OSError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return WRONG
    try:
        print(json.dumps(answer, indent=2, ensure_ascii=False) if options.json else show(answer), flush=True)
    except BrokenPipeError:
        # The reader has read enough, as `head` does; the rest of the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _stop(message: str) -> NoReturn:
    print(f"emulator: {message}", file=sys.stderr)
    raise SystemExit(WRONG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulator", allow_abbrev=False)
    known = f"commands are {', '.join(_COMMANDS)}"
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (words, arguments, act, show) in _COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        command.error = lambda message, name=name: _stop(  # type: ignore[method-assign, misc]
            f"{message}; see python -m emulator {name} --help"
        )
        for names, given in arguments:
            command.add_argument(*names, **given)
        command.add_argument("--url", help="the emulator's address (default: from <data>/app.env)")
        command.add_argument("--data", type=Path, default=Path("data/emulator"), help="its data folder")
        command.add_argument("--json", action="store_true", help="print the whole answer")
        command.set_defaults(act=(act, show))
    parser.error = lambda message: _stop(f"{message.split(' (choose')[0]}; {known}")  # type: ignore[method-assign]
    return parser


# --- what commands take -------------------------------------------------------------------------------------


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, zero or more")
    return int(text)


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90, 15m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def _centavos(words: str, **options: Any) -> Argument:
    return _argument("--amount", type=_whole, metavar="CENTAVOS", help=words, **options)


_INVOICE = _argument("id", metavar="INVOICE", help="id of an invoice, or `last` for the newest")
_TRANSFER = _argument("id", metavar="TRANSFER", help="id of a transfer, or `last` for the newest")
_EVENT = _argument("id", metavar="EVENT", help="id of an event, or `last` for the newest")
_FORGED = _argument("--forged", action="store_true", help="signed with a wrong key")
_FILE = _argument("file", type=Path, metavar="FILE")
_FAULT = [
    _argument("name", metavar="NAME", help="a fault, a scenario or a pack: see `python -m emulator faults`"),
    _argument("--times", type=_whole, help="how often it strikes (default: until cleared)"),
    _argument("--rate", type=float, help="its chance, 0 to 1 (default 1)"),
    _argument("--route", help='"POST transfer", "GET *", "invoice credited" ... (default all)'),
    _argument("--only", metavar="ID", help="one invoice, transfer or event"),
    _argument("--at-least", type=_whole, metavar="CENTAVOS", dest="at_least_centavos", help="amounts from this on"),
    _argument("--at-most", type=_whole, metavar="CENTAVOS", dest="at_most_centavos", help="amounts up to this"),
    _argument("--ends-in", type=_whole, metavar="NN", help="amounts whose last two digits are these"),
    _argument("--seconds", type=_duration, help="how long, where it takes time"),
    _argument("--count", type=_whole, help="how many copies of a delivery"),
    _argument("--percent", type=_whole, help="share that an underpaying payer pays"),
    _argument("--retry-after", type=_whole, metavar="SECONDS", help="what a 429 says"),
    _argument("--reason", help="what a failed transfer's log says"),
    _argument("--accepted", choices=("true", "false"), help="whether the request takes effect all the same"),
]  # fmt: skip
_CLOCK = [
    _argument("--speed", type=float, help="emulated seconds per real second"),
    _argument("--pause", action="store_true", help="stand still"),
    _argument("--resume", action="store_true", help="go on"),
    _argument("--advance", type=_duration, metavar="TIME", help="jump ahead: 90, 15m, 2h, 1d"),
    _argument("--to", metavar="TIME", help="jump to 2026-03-02T15:00:00+00:00"),
    _argument(
        "--step", type=_whole, nargs="?", const=1, metavar="N", help="do the next N planned things (1)"
    ),
]
_HISTORY = [
    _argument("--last", type=_whole, default=20, metavar="N", help="how many (default 20)"),
    _argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="filter, may have * in it"),
    _argument("--clear", action="store_true", help="forget them instead"),
]
_PROJECT = [
    _argument(
        "id", nargs="?", metavar="PROJECT", help="an existing project to change (default: make a new one)"
    ),
    _argument("--name", help="what to call it"),
    _argument(
        "--allow", action="append", metavar="IP", help="address or network that may call; may be repeated"
    ),
    _argument("--allow-any", action="store_true", help="any address may call"),
    _argument("--limit", type=_whole, metavar="N", help="calls in a minute, 0 for any"),
    _argument("--new-key", action="store_true", help="make a new key; the old one is refused"),
]


# --- what commands do ---------------------------------------------------------------------------------------


def _post(path: str, *names: str) -> Act:
    """A POST whose body holds the options of these names that were given."""

    def act(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
        body = {name: value for name in names if (value := getattr(options, name)) is not None}
        return remote.call("POST", path.format(id=getattr(options, "id", "")), body)

    return act


def _get(path: str) -> Act:
    return lambda remote, options: remote.call("GET", path)


def _cancel(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    try:
        return remote.call("POST", f"invoices/{options.id}/cancel")
    except Refused as refused:
        if refused.code != "invalidInvoice":
            raise
    return remote.call("POST", f"transfers/{options.id}/cancel")


def _add_fault(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    names = (
        "name",
        *(given.get("dest", name[0].lstrip("-").replace("-", "_")) for name, given in _FAULT[1:-1]),
    )
    body = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.accepted is not None:
        body["accepted"] = options.accepted == "true"
    return remote.call("POST", "faults", body)


def _clear(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    if options.name is None:
        return remote.call("DELETE", "faults")
    return remote.call("POST", "faults/clear", {"id" if options.name.isdigit() else "name": options.name})


def _change_clock(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"speed": options.speed, "advance": options.advance, "to": options.to}
    body |= {"steps": options.step, "paused": True if options.pause else False if options.resume else None}
    body = {name: value for name, value in body.items() if value is not None}
    return remote.call("PATCH", "clock", body) if body else remote.call("GET", "clock")


def _history(path: str) -> Act:
    def act(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
        if options.clear:
            return remote.call("DELETE", path)
        query = {
            "limit": str(options.last),
            **dict(each.split("=", 1) for each in options.where if "=" in each),
        }
        return remote.call("GET", path, query=query)

    return act


def _redeliver(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body = {"count": options.count, "seconds": options.after, "forged": options.forged}
    return remote.call("POST", f"events/{options.id}/redeliver", body)


def _send(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body = {"forged": options.forged, **({"url": options.to} if options.to else {})}
    return remote.call("POST", f"events/{options.id}/send", body)


def _change_settings(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    pairs = [change.partition("=") for change in options.changes]
    if not all(separator for _, separator, _ in pairs):
        _stop("settings are changed by NAME=VALUE; see python -m emulator settings --help")
    body = {name: value_of(value) for name, _, value in pairs}
    return remote.call("PATCH", "settings", body) if body else remote.call("GET", "settings")


def _change_project(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"name": options.name, "allowed_ips": [] if options.allow_any else options.allow}
    body |= {"requests_per_minute": options.limit}
    body = {name: value for name, value in body.items() if value is not None}
    if options.id is None:
        return remote.call("POST", "projects", body)
    if options.new_key:
        return remote.call("POST", f"projects/{options.id}/key")
    return remote.call("PATCH", f"projects/{options.id}", body)


def _save(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    saved = remote.call("GET", "state")
    state.write(options.file, saved)
    return {"saved": str(options.file), "clock": saved["clock"]}


def _load(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    try:
        found = state.read(options.file)
    except state.BadState as error:
        raise NoEmulator(str(error)) from None
    return {"loaded": str(options.file), **remote.call("PUT", "state", found)}


_COMMANDS: dict[str, tuple[str, list[Argument], Act, Show]] = {
    "pay": (
        "a payer pays an invoice", [_INVOICE, _centavos("what is paid instead of what is asked")],
        _post("invoices/{id}/pay", "amount"), sentence,
    ),
    "underpay": (
        "a payer pays less than is asked", [_INVOICE, _centavos("what is paid (default: half)")],
        _post("invoices/{id}/underpay", "amount"), sentence,
    ),
    "credit": ("an invoice's money arrives now", [_INVOICE], _post("invoices/{id}/credit"), sentence),
    "overdue": ("an invoice's due date passes", [_INVOICE], _post("invoices/{id}/overdue"), sentence),
    "expire": ("an invoice expires", [_INVOICE], _post("invoices/{id}/expire"), sentence),
    "reverse": (
        "a payer gets money back", [_INVOICE, _centavos("what remains of it (default 0: all goes back)", default=0)],
        _post("invoices/{id}/reverse", "amount"), sentence,
    ),
    "cancel": (
        "cancel an invoice or a created transfer", [_argument("id", metavar="ID", help="invoice or transfer")],
        _cancel, sentence,
    ),
    "settle": ("a transfer arrives now", [_TRANSFER], _post("transfers/{id}/settle"), sentence),
    "fail": (
        "a transfer fails", [_TRANSFER, _argument("--reason", default="Failed by hand", help="what its log says")],
        _post("transfers/{id}/fail", "reason"), sentence,
    ),
    "deposit": (
        "a payer sends money without an invoice",
        [_centavos("how much (default 10000)", default=10_000),
         _argument("--name", default="Sample Payer", help="who sends it")],
        _post("deposits", "amount", "name"), sentence,
    ),
    "trigger": (
        "a whole story, such as invoice.credited",
        [_argument("name", metavar="STORY", help="such as invoice.credited, transfer.failed, deposit.credited"),
         _centavos("default 10000", default=10_000)],
        _post("trigger", "name", "amount"), command_output.story,
    ),
    "fault": ("switch a misbehaviour on", _FAULT, _add_fault, sentence),
    "faults": ("which misbehaviours are on, and which there are", [], _get("faults"), command_output.faults),
    "clear": (
        "switch misbehaviours off",
        [_argument("name", nargs="?", metavar="NAME", help="a fault's name or number (default: all)")],
        _clear, sentence,
    ),
    "clock": ("show, speed up, pause, step or jump the clock", _CLOCK, _change_clock, sentence),
    "statement": ("where every centavo is", [], _get("statement"), command_output.statement),
    "requests": ("which requests the bank received", _HISTORY, _history("requests"), command_output.requests),
    "deliveries": ("which events it posted to webhooks", _HISTORY, _history("deliveries"), command_output.deliveries),
    "redeliver": (
        "post an event again to all webhooks",
        [_EVENT, _argument("--count", type=_whole, default=1, help="how many copies (default 1)"),
         _argument("--after", type=_duration, default=0, metavar="TIME", help="emulated time to wait"), _FORGED],
        _redeliver, sentence,
    ),
    "send": (
        "post an event to one address and see the answer",
        [_EVENT, _argument("--to", metavar="URL", help="any address (default: the newest webhook that wants it)"),
         _FORGED],
        _send, sentence,
    ),
    "drop": ("never make the posts of an event that are planned", [_EVENT], _post("events/{id}/drop"), sentence),
    "delay": (
        "hold back an event", [_EVENT, _argument("seconds", type=_duration, metavar="TIME", help="90, 15m, 2h")],
        _post("events/{id}/delay", "seconds"), sentence,
    ),
    "settings": (
        "show or change how the bank behaves",
        [_argument("changes", nargs="*", metavar="NAME=VALUE", help="such as paid_share=0.5 or pay_delay_seconds=1:5")],
        _change_settings, command_output.settings,
    ),
    "preset": (
        "change all settings: sandbox, instant, hostile", [_argument("name", metavar="NAME")],
        _post("preset", "name"), command_output.settings,
    ),
    "projects": ("who may call, from where and how often", [], _get("projects"), command_output.projects),
    "project": ("make or change a project", _PROJECT, _change_project, command_output.project),
    "rotate": ("the bank signs with a new key", [], _post("key/rotate"), sentence),
    "save": ("write the whole state to a file", [_FILE], _save, lambda answer: f"saved to {answer['saved']}"),
    "load": ("return to a saved state", [_FILE], _load, lambda answer: f"loaded; {sentence(answer)}"),
}  # fmt: skip
