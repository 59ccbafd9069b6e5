"""The whole 24-hour job in a minute, on this machine alone: bank, web process and worker as real processes.

It starts them with the commands that anyone would use, lets a day go by in accelerated time, shows it as it happens,
and lays both sides' statements next to each other. Exit status 0 only if they agree to the centavo. With --chaos the
bank is hostile and the web process is killed on the way. Everything that it starts it stops, on Ctrl-C too.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from payments.ledger.batches import read_slots, read_window
from payments.operator.statement import read_statement
from payments.storage.database import Database, open_database
from scripts.arguments import number, whole
from scripts.demo_view import (
    PICTURES,
    Kill,
    Progress,
    Record,
    View,
    print_end,
    print_line,
    read_banks_side,
    read_side,
    save,
)
from scripts.processes import DAY_SECONDS, ROOT, ProcessError, forget_proxies, quick_day, wait_until
from scripts.stack import INTERRUPTED, Stack, hear_endings, shortest, stopped_at_the_end

# Before the day: three processes start. After it: the last credits are forwarded and settled.
OPENING_SECONDS = 5.0
CLOSING_SECONDS = 6.0
SECONDS_MIN = 20.0

# A call that was cut off is looked up after its lease; with a hostile bank several times.
CHAOS_CLOSING_SECONDS_MAX = 60.0
# The web process is killed after so many slots were issued, as soon as a transfer is being sent.
KILL_AFTER_SLOTS = (2, 4, 6)
# A reversal of what was forwarded already takes money from the account: R$ 10.000,00 keep it from running dry.
CHAOS_SWITCHES = ("--preset", "hostile", "--opening-balance", "1000000")

EXACT, DIFFERENT = 0, 1


def main() -> int:
    """Run the demo; see the module."""
    arguments = _parse()
    forget_proxies()
    hear_endings()
    try:
        with _folder(keep=arguments.keep) as folder:
            day_seconds = arguments.seconds - OPENING_SECONDS - CLOSING_SECONDS
            timeout_seconds = 1.5 if arguments.chaos else 3.0
            with stopped_at_the_end(Stack(folder, quick_day(day_seconds, timeout_seconds))) as stack:
                return _run(stack, arguments, day_seconds)
    except KeyboardInterrupt:
        print("\ninterrupted: everything that was started is stopped", file=sys.stderr)
        return INTERRUPTED
    except ProcessError as error:
        print(f"demo: {error}", file=sys.stderr)
        return DIFFERENT


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="The whole 24-hour job against the emulator, in real processes."
    )
    parser.add_argument("--chaos", action="store_true", help="a hostile bank, and kill -9 of the web process")
    parser.add_argument(
        "--open", action="store_true", help="keep everything running at the end, and print where to look"
    )
    parser.add_argument(
        "--seconds",
        type=number(SECONDS_MIN, DAY_SECONDS),
        default=60.0,
        help="how long the demo takes (default 60)",
    )
    parser.add_argument("--seed", type=whole, default=None, help="makes the bank's ids and chances repeat")
    parser.add_argument(
        "--fee",
        type=whole,
        default=None,
        help="the bank's fee per credit, in centavos (default 0; hostile: 37)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the data folder: database, logs, keys")
    parser.add_argument(
        "--record",
        type=Path,
        nargs="?",
        const=PICTURES,
        metavar="FOLDER",
        help="keep the end as demo.json and demo.svg, in docs/pictures unless a folder is named",
    )
    return parser.parse_args()


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    base = ROOT / "data"
    try:
        base.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    except OSError as error:
        raise ProcessError(f"cannot write to {base} ({error.strerror}); change its rights") from None
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {shortest(folder)} (repasse.db, *.log, bank/)")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(stack: Stack, arguments: argparse.Namespace, day_seconds: float) -> int:
    began = time.monotonic()
    with View() as view:
        view.begin("starting the bank, the web process and the worker")
        stack.start_bank(*_switches(arguments, day_seconds))
        stack.start_web()
        stack.start_worker()
        database = open_database(stack.database_url)
        try:
            day = _Day(stack, database, view, day_seconds)
            day.play(KILL_AFTER_SLOTS if arguments.chaos else ())
            closing_seconds = CHAOS_CLOSING_SECONDS_MAX if arguments.chaos else CLOSING_SECONDS
            end = day.close(closing_seconds)
        finally:
            database.close()
    command = "scripts/demo --chaos" if arguments.chaos else "scripts/demo"
    record = Record(command, time.monotonic() - began, end, day.kills)
    print_end(view.console, record)
    if arguments.record is not None:
        for file in save(record, arguments.record):
            print(f"recorded: {shortest(file)}")
    exact = record.agrees and (day.kills != [] or not arguments.chaos)
    if arguments.chaos and not day.kills:
        print_line(
            view.console, "no transfer was in flight when the web process was to be killed: run it again"
        )
    _print_next(view, stack, arguments)
    if arguments.open:
        try:
            stack.wait_for_interruption()
        except KeyboardInterrupt:
            print("\nstopped")
    return EXACT if exact else DIFFERENT


def _switches(arguments: argparse.Namespace, day_seconds: float) -> list[str]:
    """The emulator's."""
    switches = ["--port", "0", "--speed", f"{DAY_SECONDS / day_seconds:.3f}"]
    if arguments.chaos:
        switches += CHAOS_SWITCHES
    if arguments.fee is not None:
        switches += ["--fee", str(arguments.fee)]
    if arguments.seed is not None:
        switches += ["--seed", str(arguments.seed)]
    return switches


def _print_next(view: View, stack: Stack, arguments: argparse.Namespace) -> None:
    if arguments.open:
        view.note("\nEverything is still running; Ctrl-C ends it.\n")
        for line in stack.addresses():
            view.note(f"  {line}")
        view.note("\nNext: sign in to the console with the token, and open a credit to see its timeline.")
    elif arguments.chaos:
        view.note(
            "\nNext: scripts/demo --chaos --open keeps it running to look at; scripts/dev starts it by hand."
        )
    else:
        view.note(
            "\nNext: scripts/demo --open keeps it running to look at; --chaos kills the web process on the way."
        )


class _Day:
    """The accelerated day: looked at, shown, and disturbed."""

    def __init__(self, stack: Stack, database: Database, view: View, day_seconds: float) -> None:
        self.kills: list[Kill] = []
        self._stack = stack
        self._database = database
        self._view = view
        self._seconds = day_seconds
        self._began_at = 0.0

    def play(self, kill_after_slots: tuple[int, ...]) -> None:
        """Let the day go by; kill the web process after each of these slots was issued."""
        window = wait_until(self._read_window, "the worker has opened the window")
        self._began_at = window.opened_at.timestamp()
        waiting = list(kill_after_slots)
        while self._share() < 1:
            self._stack.check()
            progress = self.look()
            self._view.show(progress)
            issued = sum(state == "issued" for state, _ in progress.slots.values())
            next_look_at = time.monotonic() + 0.2
            while time.monotonic() < next_look_at:
                if waiting and issued >= waiting[0]:
                    # Several in flight are worth waiting for; the next slot makes do with one.
                    at_least = 3 if issued == waiting[0] else 1
                    if self._kill_web(at_least):
                        waiting.pop(0)
                time.sleep(0.005)  # a transfer is being sent for some milliseconds

    def close(self, seconds_max: float) -> Progress:
        """No more is paid and no more faults strike; wait until everything that is under way is settled."""
        self._view.note("24:00  the day is over: no more is paid, no more faults; settling what is under way")
        self._stack.ask_bank("stop-paying", "POST")
        self._stack.ask_bank("faults", "DELETE")
        deadline = time.monotonic() + seconds_max
        while True:
            self._stack.check()
            progress = self.look()
            self._view.show(progress)
            if (progress.is_settled and progress.batches_issued == 8) or time.monotonic() > deadline:
                return progress
            time.sleep(0.1)

    def look(self) -> Progress:
        """Both sides as they are now."""
        ours = read_statement(self._database)
        activity = self._stack.ask_bank("activity")
        bank, wrong = read_banks_side(self._stack.ask_bank("statement"))
        return Progress(
            share=min(1.0, self._share()),
            slots=read_slots(self._database),
            ours=read_side(ours),
            bank=bank,
            in_flight=ours.transfers["sending"] + ours.transfers["sent"],
            in_flight_centavos=ours.in_flight_centavos,
            events_delivered=activity["events"]["delivered"],
            events_waiting=activity["events"]["undelivered"],
            faults_struck=sum(activity["faults_struck"].values()),
            balance_centavos=activity["balance_centavos"],
            attention=ours.attention,
            batches_issued=ours.batches_issued,
            is_finished=ours.is_finished,
            wrong=wrong,
        )

    def _kill_web(self, at_least: int) -> bool:
        """Kill it if so many transfers are in flight and one is being sent; start it again. True when it was killed."""
        names = ("pending", "sending", "sent")
        now = read_statement(self._database).transfers
        if not now["sending"] or sum(now[name] for name in names) < at_least:
            return False
        self._stack.kill_web()
        share = self._share()
        left = read_statement(self._database)
        queued, sending, sent = (left.transfers[name] for name in names)
        kill = Kill(share, queued, sending, sent, sum(left.transfers_centavos[name] for name in names))
        self._stack.restart_web()
        self.kills.append(kill)
        self._view.note(kill.line())
        return True

    def _share(self) -> float:
        return (time.time() - self._began_at) / self._seconds

    def _read_window(self) -> Any:
        self._stack.check()
        return read_window(self._database)


if __name__ == "__main__":
    sys.exit(main())
