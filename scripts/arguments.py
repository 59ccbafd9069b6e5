"""How the arguments of our scripts are read."""

import argparse
import re
from collections.abc import Callable


def whole(text: str) -> int:
    """The type of a whole number: digits alone, since Python also reads 1_000 and a Brazilian writes 1.000."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number: write its digits alone")
    return int(text)


def positive(text: str) -> int:
    """The type of a whole number above 0."""
    if not (number := whole(text)):
        raise argparse.ArgumentTypeError("put a whole number above 0")
    return number


def number(least: float, most: float) -> Callable[[str], float]:
    """The type of a number between these two, or one of them."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = least - 1
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from {least:g} to {most:g}")
        return found

    return read
