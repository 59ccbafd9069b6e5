"""The switches that start the emulator: names, allowed values, and the text of `--help`. Nothing is opened here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from emulator.books.preset import PRESETS
from emulator.clock import FASTEST
from emulator.command_line import DEFAULT_DATA, PROGRAM, Parser, checked, digits, plain, setting, whole
from emulator.management.commands import summary
from emulator.proxy.run import SUMMARY

LOG_LEVELS = ("debug", "info", "warning", "error")

_port = checked(digits, lambda number: number <= 65_535, "a port from 0 to 65535")
_speed = checked(float, lambda speed: 0 < speed <= FASTEST, f"a number above 0 and at most {FASTEST}")
_share = checked(float, lambda share: 0 <= share <= 1, "a number from 0 to 1")


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The options; a wrong one ends the process with one line on stderr and status 2."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [switch ...]    start it\n       {PROGRAM} COMMAND ...    talk to one that runs",
        description="A small Stark Bank on this machine. It moves no money.",
        epilog=f"commands for a running emulator (each has --help):\n{summary()}\n  {SUMMARY}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_place(parser.add_argument_group("where it listens and what it keeps").add_argument)
    _add_habits(parser.add_argument_group("how this bank behaves").add_argument)
    return parser.parse_args(arguments)


def _add_place(add: Any) -> None:
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=_port, default=8900, help="port, 0 for a free one (default 8900)")
    words = "port of an HTTPS proxy for unchanged SDKs, 0 for a free one (default none)"
    add("--proxy-port", type=_port, metavar="PORT", help=words)
    words = "port that speaks TLS under the bank's host names, for clients that read no proxy variable"
    add("--tls-port", type=_port, metavar="PORT", help=words)
    words = "let the proxy lead to real hosts other than the bank"
    add("--pass-other-hosts", action="store_true", help=words)
    add("--listen-anywhere", action="store_true", help="allow a --host that the network can reach")
    add(
        "--data", type=Path, default=DEFAULT_DATA, help=f"folder of keys and project (default {DEFAULT_DATA})"
    )
    add("--env-file", type=Path, metavar="FILE", help="what an app needs to know (default <data>/app.env)")
    words = "go on from this file when it exists, and write it at the end (default: in memory only)"
    add("--state", type=Path, metavar="FILE", help=words)
    add("--log-level", choices=LOG_LEVELS, default="info", help="how much to log (default info)")


def _add_habits(add: Any) -> None:
    many: dict[str, Any] = {"action": "append", "default": []}
    add("--preset", choices=tuple(PRESETS), help="habits by name (default sandbox)")
    words = "one setting of `GET /emulator/settings`, such as pay_cluster_seconds=600; may be repeated"
    add("--set", type=setting, metavar="NAME=VALUE", help=words, **many)
    words = "a fault, scenario or pack from the start, such as no_balance:times=1; may be repeated"
    add("--fault", type=_fault, metavar="NAME[:OPTION=VALUE,...]", help=words, **many)
    words = "amounts by whose last digits things go wrong, see README"
    add("--magic-amounts", action="store_true", help=words)
    words = "calls that a project may make in a minute (default any)"
    add("--rate-limit", type=whole, dest="requests_per_minute", metavar="N", help=words)
    add("--seed", type=whole, help="makes ids and chances repeat (default: different each time)")
    add("--speed", type=_speed, help="emulated seconds per real second (default 1)")
    add("--paused", action="store_true", help="start with the clock standing still")
    words = "centavos taken from each credited invoice (default 0)"
    add("--fee", type=whole, dest="invoice_fee_centavos", metavar="CENTAVOS", help=words)
    add("--paid-share", type=_share, metavar="SHARE", help="share of invoices that get paid (default 0.85)")
    words = "in the account at the start (default 0)"
    add("--opening-balance", type=whole, default=0, metavar="CENTAVOS", help=words)
    add("--populate", action="store_true", help="start with twelve days of rows of every kind")
    words = "show the real sandbox's public key as the newest: its recorded events verify, ours do not"
    add("--sandbox-key", action="store_true", help=words)


def _fault(text: str) -> dict[str, Any]:
    name, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in options.split(",") if pair]
    if not name or not all(separator and value for _, separator, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:OPTION=VALUE,OPTION=VALUE")
    return {"name": name, **{option: plain(value) for option, _, value in pairs}}
