"""The habits of the bank: shares, delays and switches of its own life.

One dataclass whose defaults are what was seen at the real sandbox. It only holds values; `life` and the
books act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from emulator.books.fields import Schema

# A limit that no delay reaches, so that sums of dates stay inside a calendar.
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
# Shortest and longest.
Range = Annotated[tuple[Seconds, ...], Meta(min_length=2, max_length=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Whole = Annotated[int, Meta(ge=0, le=10**14)]


@dataclass
class Preset:
    """How the bank behaves; times in emulated seconds, as (shortest, longest)."""

    paying: bool = True
    # Observed: 66/78 (RG), 54/69 (GC), 7/8 (GE), 28/28 (BP) of the sandbox's invoices were paid.
    paid_share: Share = 0.85
    # Observed: typically 2-15 minutes.
    pay_delay_seconds: Range = (120.0, 900.0)
    # Observed: payments come just after round ten-minute marks. Inferred: a batch job; 600 imitates it, 0
    # does not, since most tests want payments spread.
    pay_cluster_seconds: Seconds = 0.0
    # Observed: paid, then credited, seconds apart.
    credit_delay_seconds: Range = (1.5, 6.0)
    # Observed: `credited` was delivered before `paid` in 4 of 11 (GC).
    credited_first_share: Share = 4 / 11
    # Observed: `created` events arrive 10-60 s after the invoice.
    created_event_delay_seconds: Range = (10.0, 60.0)
    # Observed: an event is created 0.3-70 s after its log; the long tail is left to `created` events above.
    event_delay_seconds: Range = (0.3, 10.0)
    # Observed: 6.6 s from created to success (recording of 2023), of which some 2.7 s until `sending`.
    process_delay_seconds: Range = (1.4, 2.7)
    success_delay_seconds: Range = (3.0, 4.5)
    # Guess: how long each step of a reversal takes.
    reversal_step_seconds: Seconds = 1.0
    # Observed: 0 in the sandbox; above zero in production.
    invoice_fee_centavos: Whole = 0
    transfer_fee_centavos: Whole = 0
    # Documented: three more tries, after 5, 30 and 120 minutes. Guess: each is counted from the try before
    # it.
    retry_delays_seconds: tuple[Seconds, ...] = (300.0, 1800.0, 7200.0)
    # Unknown at the bank; burning is the harsher guess and so the better teacher.
    failed_transfer_burns_external_id: bool = True
    # Observed (GC, RF, FB): duplicates and low balances are refused late. True: in the answer to the POST.
    refuse_transfers_early: bool = False
    # Inferred: attempts name event and webhook, so one event goes to all webhooks. True: one event for each.
    event_per_webhook: bool = False
    # Unknown: the bank's limit, if it has one. Calls that one project may make in a real minute; 0 for no
    # limit. A project's own limit wins.
    requests_per_minute: Whole = 0

    def change(self, changes: dict[str, Any]) -> None:
        """Set fields by name from JSON; ValueError names what is wrong and nothing is changed then."""
        clean: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in _TYPES:
                raise ValueError(f"unknown setting {name}; known are {', '.join(_TYPES)}")
            clean[name] = _fitted(name, value)
        for name, value in clean.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: getattr(self, name) for name in _TYPES}


_TYPES = get_type_hints(Preset, include_extras=True)
SETTINGS_SCHEMA: Schema = {
    "type": "object",
    "properties": {name: msgspec.json.schema(kind) for name, kind in _TYPES.items()},
    "additionalProperties": False,
}
_WORDS = (
    (bool, "true or false"),
    (Share, "a number from 0 to 1"),
    (Whole, "a whole number, zero or more"),
    (Seconds, "a number of seconds, zero or more"),
    (Range, "[shortest, longest] in seconds"),
    (tuple[Seconds, ...], "a list of seconds, none below zero"),
)


def _fitted(name: str, value: Any) -> Any:
    kind = _TYPES[name]
    try:
        fitted = msgspec.convert(value, kind)
        if kind == Range and fitted[0] > fitted[1]:
            raise ValueError("the longest is shorter than the shortest")
    except (msgspec.ValidationError, ValueError):
        raise ValueError(f"{name} must be {next(words for each, words in _WORDS if each == kind)}") from None
    return fitted


AT_ONCE: Range = (0.0, 0.0)

# Presets by name: what each changes of the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    # What was seen at the real sandbox.
    "sandbox": {},
    # Everything is paid and nothing takes time: for tests that do not care about waiting.
    "instant": {
        "paid_share": 1.0,
        "pay_delay_seconds": AT_ONCE,
        "credit_delay_seconds": AT_ONCE,
        "credited_first_share": 0.0,
        "created_event_delay_seconds": AT_ONCE,
        "event_delay_seconds": AT_ONCE,
        "process_delay_seconds": AT_ONCE,
        "success_delay_seconds": AT_ONCE,
        "reversal_step_seconds": 0.0,
    },
    # The sandbox on a bad day; the pack of faults of the same name belongs to it.
    "hostile": {
        "paid_share": 0.8,
        "pay_cluster_seconds": 600.0,
        "credited_first_share": 0.5,
        "event_delay_seconds": (0.3, 70.0),
        "success_delay_seconds": (3.0, 60.0),
        "invoice_fee_centavos": 37,
    },
}


def preset(name: str) -> Preset:
    """The preset of this name; ValueError when there is none."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name}; known are {', '.join(PRESETS)}")
    made = Preset()
    made.change(PRESETS[name])
    return made
