"""The small commands: `python -m emulator pay INVOICE` and the like, for an emulator that is running.

Each is one call of the management face and one sentence, or `--json` for all of the answer. Exit status 0 when
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
        # Whoever reads has read enough, as `head` does; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _stop(message: str) -> NoReturn:
    print(f"emulator: {message}", file=sys.stderr)
    raise SystemExit(WRONG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulator", allow_abbrev=False)
    known = f"commands are {', '.join(_COMMANDS)}"
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (words, describe, act, show) in _COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        command.error = lambda message, name=name: _stop(  # type: ignore[method-assign, misc]
            f"{message}; see python -m emulator {name} --help"
        )
        describe(command.add_argument)
        command.add_argument("--url", help="the emulator's address (default: from <data>/app.env)")
        command.add_argument("--data", type=Path, default=Path("data/emulator"), help="its data folder")
        command.add_argument("--json", action="store_true", help="print the whole answer")
        command.set_defaults(act=(act, show))
    parser.error = lambda message: _stop(f"{message.split(' (choose')[0]}; {known}")  # type: ignore[method-assign]
    return parser


# --- what commands take -------------------------------------------------------------------------------------


def _nothing(add: Any) -> None:
    pass


def _one(metavar: str, words: str) -> Callable[[Any], None]:
    def describe(add: Any) -> None:
        add("id", metavar=metavar, help=words)

    return describe


_INVOICE = "id of an invoice, or `last` for the newest"
_TRANSFER = "id of a transfer, or `last` for the newest"
_EVENT = "id of an event, or `last` for the newest"


def _payment(add: Any) -> None:
    add("id", metavar="INVOICE", help=_INVOICE)
    add("--amount", type=_whole, metavar="CENTAVOS", help="what is paid instead of what is asked")


def _reversal(add: Any) -> None:
    add("id", metavar="INVOICE", help=_INVOICE)
    add(
        "--amount",
        type=_whole,
        default=0,
        metavar="CENTAVOS",
        help="what remains of it (default 0: all goes back)",
    )


def _failure(add: Any) -> None:
    add("id", metavar="TRANSFER", help=_TRANSFER)
    add("--reason", default="Failed by hand", help="what its log says")


def _deposit(add: Any) -> None:
    add("--amount", type=_whole, default=10_000, metavar="CENTAVOS", help="how much (default 10000)")
    add("--name", default="Sample Payer", help="who sends it")


def _story(add: Any) -> None:
    add("name", metavar="STORY", help="such as invoice.credited, transfer.failed, deposit.credited")
    add("--amount", type=_whole, default=10_000, metavar="CENTAVOS", help="default 10000")


def _fault(add: Any) -> None:
    add("name", metavar="NAME", help="a fault, a scenario or a pack: see `python -m emulator faults`")
    add("--times", type=_whole, help="how often it strikes (default: until cleared)")
    add("--rate", type=float, help="its chance, 0 to 1 (default 1)")
    add("--route", help='"POST transfer", "GET *", "invoice credited" ... (default all)')
    add("--only", metavar="ID", help="one invoice, transfer or event")
    add("--at-least", type=_whole, metavar="CENTAVOS", dest="at_least_centavos", help="amounts from this on")
    add("--at-most", type=_whole, metavar="CENTAVOS", dest="at_most_centavos", help="amounts up to this")
    add("--ends-in", type=_whole, metavar="NN", help="amounts whose last two digits are these")
    add("--seconds", type=_duration, help="how long, where it takes time")
    add("--count", type=_whole, help="how many copies of a delivery")
    add("--percent", type=_whole, help="share that an underpaying payer pays")
    add("--retry-after", type=_whole, metavar="SECONDS", help="what a 429 says")
    add("--reason", help="what a failed transfer's log says")
    accepted = "whether the request takes effect although its answer goes wrong"
    add("--accepted", choices=("true", "false"), help=accepted)


def _clearing(add: Any) -> None:
    add("name", nargs="?", metavar="NAME", help="a fault's name or number (default: all)")


def _clock(add: Any) -> None:
    add("--speed", type=float, help="emulated seconds per real second")
    add("--pause", action="store_true", help="stand still")
    add("--resume", action="store_true", help="go on")
    add("--advance", type=_duration, metavar="TIME", help="jump ahead: 90, 15m, 2h, 1d")
    add("--to", metavar="TIME", help="jump to 2026-03-02T15:00:00+00:00")
    add(
        "--step",
        type=_whole,
        nargs="?",
        const=1,
        metavar="N",
        help="do the next N things that are planned (1)",
    )


def _list(add: Any) -> None:
    add("--last", type=_whole, default=20, metavar="N", help="how many (default 20)")
    add("--where", action="append", default=[], metavar="FIELD=VALUE", help="filter, may have * in it")
    add("--clear", action="store_true", help="forget them instead")


def _redelivery(add: Any) -> None:
    add("id", metavar="EVENT", help=_EVENT)
    add("--count", type=_whole, default=1, help="how many copies (default 1)")
    add("--after", type=_duration, default=0, metavar="TIME", help="emulated time to wait")
    add("--forged", action="store_true", help="signed by a stranger")


def _sending(add: Any) -> None:
    add("id", metavar="EVENT", help=_EVENT)
    add("--to", metavar="URL", help="any address (default: the newest webhook that wants it)")
    add("--forged", action="store_true", help="signed by a stranger")


def _delaying(add: Any) -> None:
    add("id", metavar="EVENT", help=_EVENT)
    add("seconds", type=_duration, metavar="TIME", help="90, 15m, 2h")


def _settings(add: Any) -> None:
    add("changes", nargs="*", metavar="NAME=VALUE", help="such as paid_share=0.5 or pay_delay_seconds=1:5")


def _project(add: Any) -> None:
    add("id", nargs="?", metavar="PROJECT", help="an existing project to change (default: make a new one)")
    add("--name", help="what to call it")
    add("--allow", action="append", metavar="IP", help="address or network that may call; may be repeated")
    add("--allow-any", action="store_true", help="any address may call")
    add("--limit", type=_whole, metavar="N", help="calls in a minute, 0 for any")
    add("--new-key", action="store_true", help="make a new key; the old one is refused")


def _file(add: Any) -> None:
    add("file", type=Path, metavar="FILE")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, zero or more")
    return int(text)


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90, 15m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


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


_FAULT_OPTIONS = (
    "name", "times", "rate", "route", "only", "at_least_centavos", "at_most_centavos", "ends_in", "seconds",
    "count", "percent", "retry_after", "reason",
)  # fmt: skip


def _add_fault(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body = {name: value for name in _FAULT_OPTIONS if (value := getattr(options, name)) is not None}
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


_Command = tuple[str, Callable[[Any], None], Act, Show]

_COMMANDS: dict[str, _Command] = {
    "pay": ("a payer pays an invoice", _payment, _post("invoices/{id}/pay", "amount"), sentence),
    "underpay": ("a payer pays less than is asked", _payment, _post("invoices/{id}/underpay", "amount"), sentence),
    "credit": (
        "an invoice's money arrives now", _one("INVOICE", _INVOICE), _post("invoices/{id}/credit"), sentence,
    ),
    "overdue": ("an invoice's due passes", _one("INVOICE", _INVOICE), _post("invoices/{id}/overdue"), sentence),
    "expire": ("an invoice expires", _one("INVOICE", _INVOICE), _post("invoices/{id}/expire"), sentence),
    "reverse": ("a payer gets money back", _reversal, _post("invoices/{id}/reverse", "amount"), sentence),
    "cancel": ("cancel an invoice or a scheduled transfer", _one("ID", "invoice or transfer"), _cancel, sentence),
    "settle": ("a transfer arrives now", _one("TRANSFER", _TRANSFER), _post("transfers/{id}/settle"), sentence),
    "fail": ("a transfer fails", _failure, _post("transfers/{id}/fail", "reason"), sentence),
    "deposit": ("somebody sends money", _deposit, _post("deposits", "amount", "name"), sentence),
    "trigger": (
        "a whole story, such as invoice.credited", _story, _post("trigger", "name", "amount"), command_output.story,
    ),
    "fault": ("switch a misbehaviour on", _fault, _add_fault, sentence),
    "faults": ("which misbehaviours are on, and which there are", _nothing, _get("faults"), command_output.faults),
    "clear": ("switch misbehaviours off", _clearing, _clear, sentence),
    "clock": ("show, speed up, pause, step or jump the clock", _clock, _change_clock, sentence),
    "statement": ("where every centavo is", _nothing, _get("statement"), command_output.statement),
    "requests": ("what was asked of the bank", _list, _history("requests"), command_output.requests),
    "deliveries": ("what the bank posted to webhooks", _list, _history("deliveries"), command_output.deliveries),
    "redeliver": ("post an event again to all webhooks", _redelivery, _redeliver, sentence),
    "send": ("post an event to one address and see the answer", _sending, _send, sentence),
    "drop": ("lose what is still to be posted of an event", _one("EVENT", _EVENT), _post("events/{id}/drop"), sentence),
    "delay": ("hold back an event", _delaying, _post("events/{id}/delay", "seconds"), sentence),
    "settings": ("show or change the bank's habits", _settings, _change_settings, command_output.settings),
    "preset": (
        "change all habits: sandbox, instant, hostile",
        lambda add: add("name", metavar="NAME"), _post("preset", "name"), command_output.settings,
    ),
    "projects": ("who may call, from where and how often", _nothing, _get("projects"), command_output.projects),
    "project": ("make or change a project", _project, _change_project, command_output.project),
    "rotate": ("the bank signs with a new key", _nothing, _post("key/rotate"), sentence),
    "save": ("write the whole state to a file", _file, _save, lambda answer: f"saved to {answer['saved']}"),
    "load": ("go back to a saved state", _file, _load, lambda answer: f"loaded; {sentence(answer)}"),
}  # fmt: skip
