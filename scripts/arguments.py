"""How the arguments of our scripts are read."""

import argparse
import re


def whole(text: str) -> int:
    """The type of a whole number: digits alone, since Python also reads 1_000 and a Brazilian writes 1.000."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number: write its digits alone")
    return int(text)
