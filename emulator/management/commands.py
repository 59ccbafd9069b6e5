"""The small commands: `pay INVOICE` and the like, for an emulator that is running.

Each is one call of the management API and one sentence, or `--json` for all of the answer. Exit status 0 when
it was done, 1 when the emulator refused, 2 when the command is wrong or no emulator answers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.command_line import (
    DEFAULT_DATA,
    PROGRAM,
    Parser,
    address,
    duration,
    number,
    pair,
    plain,
    setting,
    whole,
)
from emulator.management.actions import ACTIONS, Action
from emulator.management.listen import listen
from emulator.management.remote import NoEmulator, Refused, Remote, find
from emulator.management.sentences import sentence

DONE, REFUSED, WRONG = 0, 1, 2

Act = Callable[[Remote, argparse.Namespace], dict[str, Any]]
# The names and options of one `add_argument`; its destination is the name of the field in the call.
Argument = tuple[tuple[str, ...], dict[str, Any]]


def summary() -> str:
    """One line for each command."""
    return "\n".join(f"  {name:<11} {words}" for name, (words, *_) in _COMMANDS.items())


def main(arguments: list[str]) -> int:
    """Do one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        answer: dict[str, Any] = options.act(find(options.emulator, options.data), options)
    except Refused as refused:
        print(f"emulator: {refused}", file=sys.stderr)
        return REFUSED
    except (NoEmulator, OSError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return WRONG
    shown = json.dumps(answer, indent=2, ensure_ascii=False) if options.json else sentence(answer)
    try:
        print(shown, flush=True)
    except BrokenPipeError:
        # The reader has read enough, as `head` does; the rest of the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (words, arguments, act) in _COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        for names, given in arguments:
            command.add_argument(*names, **given)
        command.add_argument(
            "--url", type=address, dest="emulator", help="its address (default: from <data>/app.env)"
        )
        command.add_argument("--data", type=Path, default=DEFAULT_DATA, help="its data folder")
        command.add_argument("--json", action="store_true", help="print the whole answer")
        command.set_defaults(act=act)
    return parser


# --- what commands take -------------------------------------------------------------------------------------


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


def _centavos(words: str, **options: Any) -> Argument:
    return _argument("--amount", type=whole, metavar="CENTAVOS", help=words, **options)


_FORGED = _argument("--forged", action="store_true", help="signed with a wrong key")
_FILE = _argument("file", type=Path, metavar="FILE")
_FAULT = [
    _argument("name", metavar="NAME", help=f"a fault, a scenario or a pack: see `{PROGRAM} faults`"),
    _argument("--times", type=whole, help="how often it strikes (default: until cleared)"),
    _argument("--rate", type=number, help="its chance, 0 to 1 (default 1)"),
    _argument("--route", help='"POST transfer", "GET *", "invoice credited" ... (default all)'),
    _argument("--only", metavar="ID", help="one invoice, transfer or event"),
    _argument("--at-least", type=whole, metavar="CENTAVOS", dest="at_least_centavos", help="amounts from this on"),
    _argument("--at-most", type=whole, metavar="CENTAVOS", dest="at_most_centavos", help="amounts up to this"),
    _argument("--ends-in", type=whole, metavar="NN", help="amounts whose last two digits are these"),
    _argument("--seconds", type=duration, help="how long, where it takes time"),
    _argument("--count", type=whole, help="how many copies of a delivery"),
    _argument("--percent", type=whole, help="share that an underpaying payer pays"),
    _argument("--retry-after", type=whole, metavar="SECONDS", help="what a 429 says"),
    _argument("--reason", help="what a failed transfer's log says"),
    _argument("--accepted", type=plain, choices=(True, False), metavar="true|false",
              help="whether the request takes effect all the same"),
]  # fmt: skip
_CLOCK = [
    _argument("--speed", type=number, help="emulated seconds per real second"),
    _argument("--pause", action="store_const", const=True, dest="paused", help="stand still"),
    _argument("--resume", action="store_const", const=False, dest="paused", help="go on"),
    _argument("--advance", type=duration, metavar="TIME", help="jump ahead: 90, 15m, 2h, 1d"),
    _argument("--to", metavar="TIME", help="jump to 2026-03-02T15:00:00+00:00"),
    _argument("--step", type=whole, nargs="?", const=1, metavar="N", dest="steps",
              help="do the next N planned things (1)"),
]  # fmt: skip
_HISTORY = [
    _argument("--last", type=whole, default=20, metavar="N", help="how many (default 20)"),
    _argument("--where", type=pair, action="append", default=[], metavar="FIELD=VALUE",
              help="filter, may have * in it"),
    _argument("--clear", action="store_true", help="forget them instead"),
]  # fmt: skip
_PROJECT = [
    _argument("id", nargs="?", metavar="PROJECT", help="an existing project to change (default: make a new one)"),
    _argument("--name", help="what to call it"),
    _argument("--allow", action="append", metavar="IP", dest="allowed_ips",
              help="address or network that may call; may be repeated"),
    _argument("--allow-any", action="store_const", const=[], dest="allowed_ips", help="any address may call"),
    _argument("--limit", type=whole, metavar="N", dest="requests_per_minute", help="calls in a minute, 0 for any"),
    _argument("--new-key", action="store_true", help="make a new key; the old one is refused"),
]  # fmt: skip


# --- what commands do ---------------------------------------------------------------------------------------


def _body(options: argparse.Namespace) -> dict[str, Any]:
    """What was given of a command's own arguments, but the id, which belongs to the path."""
    common = ("id", "new_key", "emulator", "data", "json", "act")
    return {name: value for name, value in vars(options).items() if name not in common and value is not None}


def _get(path: str) -> Act:
    return lambda remote, options: remote.call("GET", path)


def _post(path: str) -> Act:
    return lambda remote, options: remote.call("POST", path.format(**vars(options)), _body(options))


def _cancel(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    try:
        return remote.call("POST", f"invoices/{options.id}/cancel")
    except Refused as refused:
        if refused.code != "invalidInvoice":
            raise
    return remote.call("POST", f"transfers/{options.id}/cancel")


def _clear(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    if options.name is None:
        return remote.call("DELETE", "faults")
    return remote.call("POST", "faults/clear", {"id" if options.name.isdigit() else "name": options.name})


def _change_clock(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body = _body(options)
    return remote.call("PATCH", "clock", body) if body else remote.call("GET", "clock")


def _change_settings(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    body = dict(options.changes)
    return remote.call("PATCH", "settings", body) if body else remote.call("GET", "settings")


def _change_project(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    if options.id is None:
        return remote.call("POST", "projects", _body(options))
    if options.new_key:
        return remote.call("POST", f"projects/{options.id}/key")
    return remote.call("PATCH", f"projects/{options.id}", _body(options))


def _history(path: str) -> Act:
    def act(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
        if options.clear:
            return remote.call("DELETE", path)
        return remote.call("GET", path, query={"limit": str(options.last), **dict(options.where)})

    return act


def _save(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    from emulator.management import state  # the books, which no other command needs

    saved = remote.call("GET", "state")
    state.write(options.file, saved)
    return {"saved": str(options.file), "clock": saved["clock"]}


def _load(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    from emulator.management import state

    try:
        found = state.read(options.file)
    except state.BadState as error:
        raise NoEmulator(str(error)) from None
    return {"loaded": str(options.file), **remote.call("PUT", "state", found)}


Command = tuple[str, list[Argument], Act]


def _row(kind: str) -> Argument:
    return _argument("id", metavar=kind.upper(), help=f"id of the {kind}, or `last` for the newest")


# The option for each field of an action.
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "amount": ("--amount", {"type": whole, "metavar": "CENTAVOS"}),
    "reason": ("--reason", {}),
    "count": ("--count", {"type": whole}),
    "seconds": ("--after", {"type": duration, "metavar": "TIME", "dest": "seconds"}),
    "forged": ("--forged", {"action": "store_true"}),
}


def _action_command(action: Action) -> Command:
    """The command that does something to one row."""
    arguments = [_row(action.kind)]
    for name, (option, given) in _OPTIONS.items():
        if name in action.fields:
            arguments.append(
                _argument(option, **given, help=_lowered(action.fields[name].schema.get("description", "")))
            )
    return _lowered(action.words), arguments, _post(f"{action.kind}s/{{id}}/{action.name}")


def _lowered(words: str) -> str:
    return words[:1].lower() + words[1:].removesuffix(".")


_COMMANDS: dict[str, Command] = {
    **{action.name: _action_command(action) for action in ACTIONS},
    "cancel": (
        "cancel an invoice or a created transfer", [_argument("id", metavar="ID", help="invoice or transfer")], _cancel,
    ),
    "delay": (
        "hold back what is planned of an event",
        [_row("event"), _argument("seconds", type=duration, metavar="TIME", help="90, 15m, 2h")],
        _post("events/{id}/delay"),
    ),
    "send": (
        "post an event to one address and see the answer",
        [_row("event"), _argument("--to", metavar="URL", dest="url",
                                  help="any address (default: the newest webhook that wants it)"),
         _FORGED],
        _post("events/{id}/send"),
    ),
    "deposit": (
        "a payer sends money without an invoice",
        [_centavos("how much (default 10000)", default=10_000), _argument("--name", help="who sends it")],
        _post("deposits"),
    ),
    "trigger": (
        "a whole story, such as invoice.credited",
        [_argument("name", metavar="STORY", help="such as invoice.credited, transfer.failed, deposit.credited"),
         _centavos("default 10000")],
        _post("trigger"),
    ),
    "listen": (
        "post each event to an address, and print it with the answer",
        [_argument("--forward", type=address, required=True, metavar="URL", help="where your app takes webhooks"),
         _argument("--events", default="invoice,transfer,deposit", metavar="NAMES", dest="subscriptions",
                   help="which (default invoice,transfer,deposit)")],
        listen,
    ),
    "fault": ("switch a misbehaviour on", _FAULT, _post("faults")),
    "faults": ("which misbehaviours are on, and which there are", [], _get("faults")),
    "clear": (
        "switch misbehaviours off",
        [_argument("name", nargs="?", metavar="NAME", help="a fault's name or number (default: all)")], _clear,
    ),
    "clock": ("show, speed up, pause, step or jump the clock", _CLOCK, _change_clock),
    "statement": ("where every centavo is", [], _get("statement")),
    "requests": ("which requests the bank received", _HISTORY, _history("requests")),
    "deliveries": ("which events it posted to webhooks", _HISTORY, _history("deliveries")),
    "settings": (
        "show or change how the bank behaves",
        [_argument("changes", nargs="*", type=setting, metavar="NAME=VALUE",
                   help="such as paid_share=0.5 or pay_delay_seconds=1:5")],
        _change_settings,
    ),
    "preset": (
        "change all settings: sandbox, instant, hostile", [_argument("name", metavar="NAME")], _post("preset"),
    ),
    "projects": ("who may call, from where and how often", [], _get("projects")),
    "project": ("make or change a project", _PROJECT, _change_project),
    "rotate": ("the bank signs with a new key", [], _post("key/rotate")),
    "save": ("write the whole state to a file", [_FILE], _save),
    "load": ("return to a saved state", [_FILE], _load),
}  # fmt: skip
