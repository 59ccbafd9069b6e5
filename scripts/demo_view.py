"""What the demo shows: a live view in a terminal, plain lines elsewhere, and the two statements at the end."""

import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from payments.money import format_brl
from payments.operator.statement import Statement


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at both sides. ``slots`` has a batch's state and its number of invoices for each slot so far."""

    share: float
    slots: dict[int, tuple[str, int]]
    ours: Statement
    bank: dict[str, Any]
    bank_summary: dict[str, Any]

    @property
    def is_settled(self) -> bool:
        """True when nothing is under way on either side, and both have heard of the same credits."""
        return (
            self.ours.is_finished
            and self.ours.credits == self.bank_summary["credited"]["count"]
            and not self.bank_summary["in_flight"]
            and not self.bank_summary["unpaid"]
        )


class View:
    """Use as a context; show() as often as you like."""

    def __init__(self, day_seconds: float) -> None:
        self._console = Console()
        self._day_seconds = day_seconds
        self._live: Live | None = None
        self._said: dict[str, object] = {}

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Say what is going on before there is anything to show."""
        if self._live is not None:
            self._live.update(Text(f" {text} ..."))
        else:
            print(f"{text} ...", flush=True)

    def show(self, progress: Progress) -> None:
        """Show where things stand."""
        if self._live is not None:
            self._live.update(_panel(progress))
        else:
            self._print_news(progress)

    def _print_news(self, progress: Progress) -> None:
        """One line for each slot that was issued, with where the money stands by then."""
        for slot, (state, invoices) in sorted(progress.slots.items()):
            if state in ("issued", "skipped") and self._said.get(f"slot {slot}") != state:
                self._said[f"slot {slot}"] = state
                ours = progress.ours
                print(
                    f"{_clock(progress.share)}  slot {slot + 1} {state}: {invoices} invoices; so far {ours.credits} "
                    f"credited ({format_brl(ours.net_centavos)}), {ours.transfers['settled']} settled "
                    f"({format_brl(ours.settled_centavos)})",
                    flush=True,
                )
        if progress.share >= 1 and "end" not in self._said:
            self._said["end"] = True
            print(f"{_clock(progress.share)}  the day is over; settling what is under way", flush=True)


def compare(ours: Statement, bank: dict[str, Any]) -> tuple[list[str], bool]:
    """Lay the two statements side by side; the second value is True when they agree and the day was exact."""
    credited = bank["credited"]
    arrived = bank["transfers"].get("success", {"count": 0, "centavos": 0})
    rows: list[tuple[str, str, str, bool]] = [
        _row("invoices issued", ours.invoices, bank["invoice_count"], str),
        _row("invoices credited", ours.credits, credited["count"], str),
        _row("credited, gross", ours.gross_centavos, credited["gross_centavos"], format_brl),
        _row("fees", ours.fee_centavos, credited["fee_centavos"], format_brl),
        _row("credited, net", ours.net_centavos, credited["net_centavos"], format_brl),
        _row("transfers settled", ours.transfers["settled"], arrived["count"], str),
        _row("forwarded", ours.settled_centavos, arrived["centavos"], format_brl),
    ]
    claims = [
        ("8 batches issued", ours.batches_issued == 8),
        ("64 to 96 invoices", 64 <= ours.invoices <= 96),
        (
            "every credit forwarded exactly once, at amount minus fee",
            # a credit whose fee is as large as itself leaves nothing to forward, or less
            bool(bank["exact"]) and ours.settled_centavos + ours.not_forwarded_centavos == ours.net_centavos,
        ),
        ("both statements add up", ours.balanced and bool(bank["balanced"])),
    ]
    lines = ["", f"{'':<20}{'repasse':>18}{'the bank':>18}"]
    lines += [f"{name:<20}{here:>18}{there:>18}  {_mark(same)}" for name, here, there, same in rows]
    lines += ["", *(f"{_mark(true)} {claim}" for claim, true in claims)]
    if nothing := len(bank["nothing_to_forward"]):
        lines.append(f"  of {nothing} credits the fee left nothing to forward")
    for name in ("unpaid", "in_flight", "paid_twice", "wrong_amount", "foreign"):
        if bank[name]:
            lines.append(f"  the bank's side, {name}: {', '.join(bank[name][:5])}")
    return lines, all(same for *_, same in rows) and all(true for _, true in claims)


def _row(name: str, here: int, there: int, text: Any) -> tuple[str, str, str, bool]:
    return name, text(here), text(there), here == there


def _mark(true: bool) -> str:
    plain = sys.stdout.encoding.lower().replace("-", "") != "utf8"
    return ("ok" if plain else "✓") if true else ("NO" if plain else "✗")


def _clock(share: float) -> str:
    minutes = int(share * 24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _panel(progress: Progress) -> Panel:
    ours, bank = progress.ours, progress.bank
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
    flow.add_row("[dim]invoices[/]", "[dim]credited[/]", "[dim]sent[/]", "[dim]settled[/]")
    flow.add_row(
        str(ours.invoices),
        str(ours.credits),
        str(ours.transfers["sent"]),
        f"[bold green]{ours.transfers['settled']}[/]",
    )
    flow.add_row(
        "",
        format_brl(ours.net_centavos),
        format_brl(ours.in_flight_centavos),
        f"[bold green]{format_brl(ours.settled_centavos)}[/]",
    )
    events = bank["events"]
    notes = Text(
        f"events delivered {events['delivered']}, waiting {events['undelivered']}    "
        f"balance at the bank {format_brl(bank['balance_centavos'])}    attention {ours.attention}",
        "dim",
    )
    bar = Table.grid(padding=(0, 1))
    bar.add_row(_clock(progress.share), ProgressBar(total=1, completed=progress.share, width=56))
    return Panel(
        Group(bar, Text("invoices per slot", "dim"), slots, Text(""), flow, Text(""), notes),
        title="repasse: one day",
        expand=False,
    )
