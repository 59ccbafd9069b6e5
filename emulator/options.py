"""The options of `python -m emulator`: names, allowed values, and the text of `--help`.

A wrong one ends the process with one line on stderr and exit status 2. Nothing is opened or started here.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from emulator.books.preset import PRESETS
from emulator.clock import FASTEST
from emulator.management.arguments import value_of
from emulator.management.commands import summary
from emulator.proxy.run import SUMMARY

LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_DATA = Path("data/emulator")


def stop(message: str) -> NoReturn:
    """End with one line and status 2."""
    print(f"emulator: {message}", file=sys.stderr)
    raise SystemExit(2)


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked one by one."""
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        usage="python -m emulator [switch ...]    start it\n"
        "       python -m emulator COMMAND ...    talk to one that runs",
        description="A small Stark Bank on this machine. It moves no money.",
        epilog=f"commands for a running emulator (each has --help):\n{summary()}\n  {SUMMARY}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = lambda message: stop(f"{message}; see --help")  # type: ignore[method-assign]
    _add_place(parser.add_argument_group("where it listens and what it keeps").add_argument)
    _add_habits(parser.add_argument_group("how this bank behaves").add_argument)
    return parser


def _add_place(add: Any) -> None:
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=_port, default=8900, help="port, 0 for a free one (default 8900)")
    add(
        "--proxy-port",
        type=_port,
        metavar="PORT",
        help="port of an HTTPS proxy for unchanged SDKs, 0 for a free one (default none)",
    )
    add(
        "--tls-port",
        type=_port,
        metavar="PORT",
        help="port that speaks TLS under the bank's host names, for clients that read no proxy variable",
    )
    add(
        "--pass-other-hosts", action="store_true", help="let the proxy lead to real hosts other than the bank"
    )
    add("--listen-anywhere", action="store_true", help="allow a --host that the network can reach")
    add("--data", type=Path, default=DEFAULT_DATA, help="folder of keys and project (default data/emulator)")
    add("--env-file", type=Path, metavar="FILE", help="what an app needs to know (default <data>/app.env)")
    add(
        "--state",
        type=Path,
        metavar="FILE",
        help="go on from this file when it exists, and write it at the end (default: in memory only)",
    )
    add("--log-level", choices=LOG_LEVELS, default="info", help="how much to log (default info)")


def _add_habits(add: Any) -> None:
    add("--preset", choices=tuple(PRESETS), help="habits by name (default sandbox)")
    add(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of `GET /emulator/settings`, such as pay_cluster_seconds=600; may be repeated",
    )
    add(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="NAME[:OPTION=VALUE,...]",
        help="a fault, scenario or pack from the start, such as no_balance:times=1; may be repeated",
    )
    add(
        "--magic-amounts",
        action="store_true",
        help="amounts by whose last digits things go wrong, see README",
    )
    add(
        "--rate-limit",
        type=_whole,
        metavar="N",
        help="calls that a project may make in a minute (default any)",
    )
    add("--seed", type=int, help="makes ids and chances repeat (default: different each time)")
    add("--speed", type=_speed, help="emulated seconds per real second (default 1)")
    add("--paused", action="store_true", help="start with the clock standing still")
    add("--fee", type=_centavos, help="centavos taken from each credited invoice (default 0)")
    add(
        "--paid-share",
        type=_share,
        metavar="SHARE",
        help="share of invoices that get paid, 0 to 1 (default 0.85)",
    )
    add(
        "--opening-balance",
        type=_centavos,
        default=0,
        metavar="CENTAVOS",
        help="in the account at the start (default 0)",
    )
    add("--populate", action="store_true", help="start with twelve days of rows of every kind")
    add(
        "--sandbox-key",
        action="store_true",
        help="show the real sandbox's public key as the newest: its recorded events verify, ours do not",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    value = _number(text)
    if not 0 < value <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most {FASTEST}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _centavos(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 10**14:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of centavos, zero or more")
    return int(text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, zero or more")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value_of(value)


def _fault(text: str) -> dict[str, Any]:
    name, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in options.split(",") if pair]
    if not name or not all(separator and value for _, separator, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:OPTION=VALUE,OPTION=VALUE")
    return {"name": name, **{option: value_of(value) for option, _, value in pairs}}
