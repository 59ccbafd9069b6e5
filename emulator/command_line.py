"""What all command lines of the emulator share: the program's name, refusals in one line, and how values are read."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

# Installed, it is a command; in a checkout it is started as a module.
PROGRAM = "starkbank-emulator" if Path(sys.argv[0]).stem == "starkbank-emulator" else "python -m emulator"
DEFAULT_DATA = Path("data/emulator")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def stop(message: str) -> NoReturn:
    """End with one line on stderr and status 2."""
    print(f"emulator: {message}", file=sys.stderr)
    raise SystemExit(2)


class Parser(argparse.ArgumentParser):
    """argparse that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        stop(f"{message}; see {self.prog} --help")


def checked(read: Callable[[str], Any], is_right: Callable[[Any], bool], words: str) -> Callable[[str], Any]:
    """The `type` of an argument: what `read` makes of it, refused as "is not <words>" unless it `is_right`."""

    def read_checked(text: str) -> Any:
        try:
            found = read(text)
        except ValueError:
            found = None
        if found is None or not is_right(found):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
        return found

    return read_checked


def plain(text: str) -> Any:
    """A value as it is written on a command line: a number, true, false, a range like 1:5, or a text."""
    if text in ("true", "false"):
        return text == "true"
    if ":" in text:
        return [plain(part) for part in text.split(":")]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, with the value as `plain` reads it."""
    name, value = pair(text)
    return name, plain(value)


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)", text, re.ASCII)
    return None if found is None else float(found[1]) * _UNITS[found[2]]


def digits(text: str) -> int | None:
    """The number that digits alone write; None for anything else."""
    # Python reads 1_000 too, and a Brazilian writes 1.000 for a thousand.
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def _address(text: str) -> str | None:
    # Reading the port is what finds a wrong one.
    return text if re.fullmatch(r"https?://[^\s#@]+", text, re.ASCII) and urlsplit(text).port != 0 else None


whole = checked(digits, lambda count: count <= 10**14, "a whole number, zero or more, as digits alone")
number = checked(float, lambda found: abs(found) < 1e15, "a number")
duration = checked(_seconds, lambda seconds: True, "a time such as 90, 15m, 2h or 1d")
pair = checked(lambda text: text.split("=", 1), lambda parts: len(parts) == 2, "NAME=VALUE")
address = checked(_address, lambda text: True, "an http or https address")
