"""What the demo shows: a live view in a terminal, plain lines elsewhere, and both sides' statements at the end.

A finished day is a ``Record``, which also is what ``--record`` keeps: the picture in the README is drawn from it.
``python -m scripts.demo_view`` draws that picture again.
"""

import io
import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from payments.money import format_brl
from payments.operator.statement import Statement

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PICTURE_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Side:
    """One side's books, ours or the bank's."""

    invoices: int
    credits: int
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    reversed_centavos: int  # net of what was reversed before it was sent, and so is not forwarded
    not_forwarded_centavos: int  # net of credits whose fee left nothing to forward; may be less than 0
    settled: int
    settled_centavos: int
    balanced: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at both sides. ``slots`` has a batch's state and its number of invoices for each slot so far."""

    share: float
    slots: dict[int, tuple[str, int]]
    ours: Side
    bank: Side
    in_flight: int
    in_flight_centavos: int
    events_delivered: int
    events_waiting: int
    faults_struck: int
    balance_centavos: int
    attention: int
    batches_issued: int
    is_finished: bool  # nothing is left to send, to settle or to issue on our side
    wrong: dict[str, list[str]]  # on the bank's side, by kind: invoices that were not forwarded exactly once

    @property
    def is_settled(self) -> bool:
        """True when nothing is under way on either side, and both know the same credits."""
        return self.is_finished and self.ours.credits == self.bank.credits and not any(self.wrong.values())


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL of the web process, with what was in flight then, by our database."""

    share: float
    queued: int
    sending: int
    sent: int
    centavos: int

    @property
    def in_flight(self) -> int:
        """How many transfers were on their way."""
        return self.queued + self.sending + self.sent

    def line(self) -> str:
        """The sentence that is printed."""
        parts = {"being sent": self.sending, "at the bank": self.sent, "queued": self.queued}
        where = ", ".join(f"{number} {name}" for name, number in parts.items() if number)
        noun = "transfer" if self.in_flight == 1 else "transfers"
        return (
            f"{clock(self.share)}  kill -9 of the web process: {self.in_flight} {noun} in flight, "
            f"{format_brl(self.centavos)} ({where})"
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A day at its end."""

    command: str
    seconds: float
    end: Progress
    kills: list[Kill] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """True when both sides agree to the centavo, and the day was exact."""
        return all(same for *_, same in _rows(self.end)) and all(true for _, true in _claims(self.end))


class View:
    """Use as a context; show() as often as you like."""

    def __init__(self) -> None:
        self.console = Console()
        self._live: Live | None = None
        self._said: set[str] = set()

    def __enter__(self) -> "View":
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def begin(self, text: str) -> None:
        """Say what is going on before there is anything to show."""
        if self._live is not None:
            self._live.update(Text(f" {text} ..."))
        else:
            print_line(self.console, f"{text} ...")

    def note(self, text: str) -> None:
        """A line that stays: above the live view, or among the plain lines."""
        print_line(self.console, text)

    def show(self, progress: Progress) -> None:
        """Show where things stand."""
        if self._live is not None:
            self._live.update(_panel(progress))
            return
        for slot, (state, invoices) in sorted(progress.slots.items()):
            if state in ("issued", "skipped"):
                ours = progress.ours
                self._once(
                    f"slot {slot + 1} {state}",
                    f"{clock(progress.share)}  slot {slot + 1} {state}: {invoices} invoices; so far {ours.credits} "
                    f"credited ({format_brl(ours.net_centavos)}), {ours.settled} settled "
                    f"({format_brl(ours.settled_centavos)})",
                )

    def _once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self.note(text)


def read_side(ours: Statement) -> Side:
    """Our side, from our statement, which has the same names."""
    same = {each.name: getattr(ours, each.name) for each in fields(Side) if each.name != "settled"}
    return Side(**same, settled=ours.transfers["settled"])


def read_banks_side(bank: dict[str, Any]) -> tuple[Side, dict[str, list[str]]]:
    """The bank's side, from its statement with payouts; and what is wrong in it, by kind.

    A credit whose money the payer took back before it was sent is rightly not forwarded.
    """
    taken_back = {
        each["invoice_id"]: each["net_centavos"]
        for each in bank["payouts"]
        if each["verdict"] == "unpaid" and each["reversed_centavos"] == each["gross_centavos"]
    }
    arrived = bank["transfers"].get("success", {"count": 0, "centavos": 0})
    wrong = {name: bank[name] for name in ("unpaid", "in_flight", "paid_twice", "wrong_amount", "foreign")}
    wrong["unpaid"] = [invoice for invoice in wrong["unpaid"] if invoice not in taken_back]
    side = Side(
        invoices=bank["invoice_count"],
        credits=bank["credited"]["count"],
        gross_centavos=bank["credited"]["gross_centavos"],
        fee_centavos=bank["credited"]["fee_centavos"],
        net_centavos=bank["credited"]["net_centavos"],
        reversed_centavos=sum(taken_back.values()),
        not_forwarded_centavos=sum(
            each["net_centavos"] for each in bank["payouts"] if each["verdict"] == "nothing_to_forward"
        ),
        settled=arrived["count"],
        settled_centavos=arrived["centavos"],
        balanced=bank["balanced"],
    )
    return side, wrong


def print_end(console: Console, record: Record) -> None:
    """Lay the two statements side by side, with what the day claims."""
    print_line(console, f"\n{'':<24}{'repasse':>16}{'the bank':>16}")
    for name, here, there, same in _rows(record.end):
        print_line(console, f"{name:<24}{here:>16}{there:>16}  ", _mark(console, true=same))
    print_line(console, "")
    for claim, true in _claims(record.end):
        print_line(console, "", _mark(console, true=true), f" {claim}")
    for name, invoices in record.end.wrong.items():
        if invoices:
            print_line(console, f"  the bank's side, {name}: {', '.join(invoices[:5])}")
    print_line(console, f"\n24 hours in {record.seconds:.1f} s, in three processes, over real sockets")
    if record.kills:
        in_flight = sum(kill.in_flight for kill in record.kills)
        faults = f"{record.end.faults_struck} faults of the bank"
        print_line(console, f"{faults}, {len(record.kills)} kills with {in_flight} transfers in flight")


def print_line(console: Console, *parts: str | Text) -> None:
    """A line as it is: neither wrapped to the terminal's width nor read as markup."""
    console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)


def clock(share: float) -> str:
    """The time of the accelerated day."""
    minutes = int(share * 24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def save(record: Record, folder: Path) -> list[Path]:
    """Keep a record, and its picture beside it; returns both files."""
    folder.mkdir(parents=True, exist_ok=True)
    data, svg = folder / "demo.json", folder / "demo.svg"
    data.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    svg.write_text(picture(record), "utf-8")
    return [data, svg]


def load(folder: Path) -> Record:
    """The record that is kept in a folder."""
    return msgspec.json.decode((folder / "demo.json").read_bytes(), type=Record)


def picture(record: Record) -> str:
    """The terminal at the day's end as SVG: the same words that were printed, and no font of another host."""
    console = Console(
        file=io.StringIO(),
        width=PICTURE_WIDTH,
        record=True,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    print_line(console, Text(f"$ {record.command}\n", "bold"))
    for kill in record.kills:
        print_line(console, kill.line())
    console.print(_panel(record.end))
    print_end(console, record)
    svg = console.export_svg(title=record.command, unique_id="demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def _rows(end: Progress) -> list[tuple[str, str, str, bool]]:
    """A name, our side, the bank's side, and whether they are the same."""
    ours, bank = end.ours, end.bank
    rows = [
        _row("invoices issued", ours.invoices, bank.invoices, str),
        _row("invoices credited", ours.credits, bank.credits, str),
        _row("credited, gross", ours.gross_centavos, bank.gross_centavos, format_brl),
        _row("fees", ours.fee_centavos, bank.fee_centavos, format_brl),
        _row("credited, net", ours.net_centavos, bank.net_centavos, format_brl),
        _row("transfers settled", ours.settled, bank.settled, str),
        _row("forwarded", ours.settled_centavos, bank.settled_centavos, format_brl),
    ]
    for name, here, there in (
        ("reversed, not sent", ours.reversed_centavos, bank.reversed_centavos),
        ("eaten by the fee", ours.not_forwarded_centavos, bank.not_forwarded_centavos),
    ):
        if here or there:
            rows.insert(-2, _row(name, here, there, format_brl))
    return rows


def _row(name: str, here: int, there: int, text: Any) -> tuple[str, str, str, bool]:
    return name, text(here), text(there), here == there


def _claims(end: Progress) -> list[tuple[str, bool]]:
    ours = end.ours
    to_forward = ours.net_centavos - ours.reversed_centavos - ours.not_forwarded_centavos
    return [
        ("8 batches issued", end.batches_issued == 8),
        ("64 to 96 invoices", 64 <= ours.invoices <= 96),
        (
            "every credit forwarded exactly once, at amount minus fee",
            ours.settled_centavos == to_forward and not any(end.wrong.values()),
        ),
        ("both statements add up", ours.balanced and end.bank.balanced),
    ]


def _mark(console: Console, *, true: bool) -> Text:
    plain = console.encoding.replace("-", "") != "utf8"
    text = ("ok" if plain else "✓") if true else ("NO" if plain else "✗")
    return Text(text, "bold green" if true else "bold red")


def _panel(progress: Progress) -> Panel:
    ours = progress.ours
    slots = Text("  ")
    for slot in range(8):
        state, invoices = progress.slots.get(slot, ("", 0))
        text, style = {
            "issued": (f"{invoices:>2}", "bold green"),
            "skipped": ("--", "red"),
            "": (" ·", "dim"),
        }.get(state, (" …", "yellow"))
        slots.append(f" {text} ", style)
    flow = Table.grid(padding=(0, 3))
    for _ in range(4):
        flow.add_column(justify="right")
    flow.add_row("[dim]invoices[/]", "[dim]credited[/]", "[dim]in flight[/]", "[dim]settled[/]")
    flow.add_row(
        str(ours.invoices), str(ours.credits), str(progress.in_flight), f"[bold green]{ours.settled}[/]"
    )
    flow.add_row(
        "",
        format_brl(ours.net_centavos),
        format_brl(progress.in_flight_centavos),
        f"[bold green]{format_brl(ours.settled_centavos)}[/]",
    )
    notes = Text(
        f"events delivered {progress.events_delivered}, waiting {progress.events_waiting}    "
        f"balance {format_brl(progress.balance_centavos)}    attention {progress.attention}",
        "dim",
    )
    bar = Table.grid(padding=(0, 1))
    bar.add_row(clock(progress.share), ProgressBar(total=1, completed=progress.share, width=56))
    return Panel(
        Group(bar, Text("invoices per slot", "dim"), slots, Text(""), flow, Text(""), notes),
        title="repasse: one day",
        expand=False,
    )


if __name__ == "__main__":
    for file in save(load(PICTURES), PICTURES):
        print(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file, file=sys.stdout)
