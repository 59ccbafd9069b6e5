"""The bank, the web process and the worker at one speed, until Ctrl-C: to look at, and to develop against.

Everything is kept in one folder, and the next start goes on from there. Neither ``.env`` nor the environment's settings
are read, and no file is overwritten but those that the emulator made there itself.
"""

import argparse
import os
import secrets
import sys
from pathlib import Path

from scripts.arguments import number, whole
from scripts.processes import DAY_SECONDS, ROOT, ProcessError, forget_proxies, quick_day
from scripts.stack import Stack, hear_endings, shortest, stopped_at_the_end

SPEED_MAX = 3_600.0  # a day in 24 s


def main() -> int:
    """Run until Ctrl-C; see the module."""
    arguments = _parse()
    folder: Path = arguments.data.resolve()
    forget_proxies()
    hear_endings()
    try:
        with stopped_at_the_end(Stack(folder, _settings(folder, arguments.speed))) as stack:
            stack.start_bank(*_switches(folder, arguments))
            stack.start_web(arguments.port)
            stack.start_worker()
            _print_where(stack, arguments.speed)
            stack.wait_for_interruption()
    except KeyboardInterrupt:
        print(f"\nstopped; {shortest(folder)} is kept, and the next start goes on from there")
    except (ProcessError, OSError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/dev",
        description="The emulator, the web process and the worker at one speed, until Ctrl-C.",
    )
    parser.add_argument(
        "--speed", type=number(1, SPEED_MAX), default=60.0, help="60 (default): an hour takes a minute"
    )
    parser.add_argument("--port", type=whole, default=8000, help="of the web process (default 8000)")
    parser.add_argument("--bank-port", type=whole, default=8900, help="of the emulator (default 8900)")
    parser.add_argument("--preset", default="sandbox", help="the bank's: sandbox (default), instant, hostile")
    words = "where everything is kept (default data/dev); another folder is another start"
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "dev", metavar="FOLDER", help=words)
    return parser.parse_args()


def _settings(folder: Path, speed: float) -> dict[str, str]:
    day = quick_day(DAY_SECONDS / speed, bank_timeout_seconds=15)
    reconcile = {"RECONCILE_INTERVAL_SECONDS": f"{max(1.0, 300 / speed):g}"}
    return {**day, **reconcile, "OPERATOR_TOKEN": _token(folder)}


def _token(folder: Path) -> str:
    """The folder's own, so that a browser stays signed in from one start to the next."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "operator-token"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(12))
    return path.read_text("utf-8").strip()


def _switches(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The emulator's."""
    given = {"port": arguments.bank_port, "speed": arguments.speed, "preset": arguments.preset}
    switches = {**given, "state": folder / "bank.json"}
    return [word for name, value in switches.items() for word in (f"--{name}", str(value))]


def _print_where(stack: Stack, speed: float) -> None:
    for line in stack.addresses():
        print(line)
    print(f"statement DATABASE_URL={stack.database_url} scripts/repasse job statement")
    print(
        f'\nA batch every {10_800 / speed:g} s, eight in all; the console\'s button "Issue a batch now" makes more. '
        "Ctrl-C ends all three.",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
