"""The standard streams of a process, which may be closed, or point at a full disk, from the start.

A descriptor that is closed is given to the next file that is opened, such as the database, and what is printed would be
written into it. So each of the three is opened at the start, and what cannot be written at the end is dropped.
"""

import atexit
import os
import sys
from contextlib import suppress


def open_standard_streams() -> None:
    """Open those that are closed; writing to one of them still fails, as writing to a full disk does."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one. Opened for reading, so that nothing is written in silence.
            os.open(os.devnull, os.O_RDONLY)
    # Python has none for a descriptor that was closed when it started.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    atexit.register(_drop_unwritten)


def complain(text: str) -> None:
    """One line on standard error, where it can be written."""
    with suppress(OSError, ValueError):
        print(f"repasse: {text}", file=sys.stderr, flush=True)


def _drop_unwritten() -> None:
    """Drop what cannot be written, at which Python's own end would fail with a status of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
