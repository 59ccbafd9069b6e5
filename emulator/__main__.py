"""`python -m emulator` or `starkbank-emulator`: start a Stark Bank on this machine, or command a running one."""

from __future__ import annotations

import sys

from emulator.management import commands
from emulator.proxy.run import run


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator, or one command for a running one; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["run"]:
        return run(words[1:])
    if words and not words[0].startswith("-"):
        return commands.main(words)
    from emulator.start import start  # the whole bank, which no command needs

    start(words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
