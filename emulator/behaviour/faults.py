"""Every misbehaviour of the bank, each off until it is switched on by name.

Decides, seeded, whether a fault strikes a request, a delivery, a transfer or a payer; the caller then does the
damage. A fault strikes `times` times, at a `rate`, by a rule on amount, or until it is cleared. Scenarios
are the same faults under the names that people look for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from emulator.books.fields import Field, Fields, flag, pattern, read, typed, whole
from emulator.books.refusal import Refusal

# The code of every refusal here.
WRONG = "invalidRequest"

REQUEST_FAULTS = {
    "drop_answer": "the connection is closed without an answer",
    "hang": "no answer comes; the connection is closed after `seconds` (default 60)",
    "slow_answer": "the answer comes after `seconds` (default 5)",
    "error_500": "answers 500",
    "error_502": "answers 502",
    "error_503": "answers 503",
    "throttle_429": "answers 429, with Retry-After when `retry_after` is given",
    "cut_body": "answers 200 and cuts the body in half",
    "wrong_body": "answers 200 with a body that is not JSON",
    "empty_page": "a list is answered with no rows and no cursor",
    "key_endpoint_down": "GET public-key answers 503",
}
DELIVERY_FAULTS = {
    "duplicate_delivery": "an event is delivered `count` (default 1) more times immediately",
    "reorder": "the first delivery waits up to `seconds` (default 60) emulated seconds",
    "forge_signature": "a copy signed with a wrong key is sent as well",
    "drop_delivery": "a delivery counts as made, never arrives and is recorded as badConnection",
    "lose_event": "an event is never posted, nor tried again; only a list of undelivered events shows it",
}
TRANSFER_FAULTS = {
    "blocked_destination": "an accepted transfer fails late with `reason`",
    "slow_transfer": "a transfer arrives `seconds` (default 3600) emulated seconds late",
}
PAYER_FAULTS = {
    "never_paid": "an invoice that would be paid is not",
    "underpaid": "the payer pays `percent` (default 50) of the amount",
    "credited_first": "the event of `credited` is sent before that of `paid`",
    "taken_back": "a credited invoice is reversed in full after `seconds` (default 60) emulated seconds",
}
FAULTS = {**REQUEST_FAULTS, **DELIVERY_FAULTS, **TRANSFER_FAULTS, **PAYER_FAULTS}

# The names that people look for, each a fault with its options; the options of a request win over these.
SCENARIOS: dict[str, dict[str, Any]] = {
    "no_balance": {"name": "blocked_destination", "reason": "Insufficient balance"},
    "blocked_account": {"name": "blocked_destination", "reason": "Destination account blocked"},
    "duplicated_transfer": {"name": "blocked_destination", "reason": "Duplicated transfer"},
    "timeout": {"name": "hang", "accepted": True},
    "timeout_before": {"name": "hang", "accepted": False},
    "lost_answer": {"name": "drop_answer", "accepted": True},
    "bank_error": {"name": "error_500"},
    "maintenance": {"name": "error_503"},
    "throttled": {"name": "throttle_429", "retry_after": 5},
    "duplicate_storm": {"name": "duplicate_delivery", "count": 10},
    "late_webhook": {"name": "reorder", "seconds": 3600},
    "lost_webhook": {"name": "lose_event"},
    "forged_webhook": {"name": "forge_signature"},
    "credited_before_paid": {"name": "credited_first"},
    "chargeback": {"name": "taken_back"},
}

# Several faults under one name. A rate of a few in a hundred: often enough to meet each within a day of 80
# invoices, seldom enough that a client with retries still gets its work done.
PACKS: dict[str, list[dict[str, Any]]] = {
    # Our own invention: the bank documents no magic value. Off unless asked for.
    "magic_amounts": [
        {"name": "no_balance", "ends_in": 13},
        {"name": "blocked_account", "ends_in": 14},
        {"name": "slow_transfer", "ends_in": 15},
        {"name": "never_paid", "ends_in": 21},
        {"name": "underpaid", "ends_in": 22},
        {"name": "credited_before_paid", "ends_in": 23},
        {"name": "chargeback", "ends_in": 24},
        {"name": "lost_webhook", "ends_in": 31},
        {"name": "duplicate_storm", "ends_in": 32},
        {"name": "late_webhook", "ends_in": 33},
    ],
    "hostile": [
        {"name": "error_500", "rate": 0.02},
        {"name": "error_503", "rate": 0.02, "accepted": True},
        {"name": "drop_answer", "rate": 0.03},
        {"name": "drop_answer", "rate": 0.02, "accepted": False},
        {"name": "hang", "rate": 0.01, "seconds": 20},
        {"name": "cut_body", "rate": 0.01},
        {"name": "throttled", "rate": 0.03},
        {"name": "duplicate_delivery", "rate": 0.1, "count": 2},
        {"name": "reorder", "rate": 0.1, "seconds": 600},
        {"name": "forge_signature", "rate": 0.05},
        {"name": "drop_delivery", "rate": 0.1},
        {"name": "lost_webhook", "rate": 0.02},
        {"name": "blocked_account", "rate": 0.03},
        {"name": "slow_transfer", "rate": 0.05},
        {"name": "underpaid", "rate": 0.02},
        {"name": "chargeback", "rate": 0.01},
    ],
}

# Whether the request takes effect before the fault strikes, when `accepted` is not given.
_ACCEPTED = {"drop_answer", "cut_body", "wrong_body", "empty_page", "hang", "slow_answer"}


def _name(value: Any) -> str:
    names = (*SCENARIOS, *PACKS, *FAULTS)
    if value not in names:
        raise Refusal.of(WRONG, f"unknown fault {str(value)[:100]}; known are {', '.join(names)}")
    return str(value)


def _seconds(value: float) -> float:
    return int(value) if value.is_integer() else value


def _whole(name: str, at_most: int, at_least: int = 0) -> Field:
    return whole(WRONG, f"{name} must be a whole number from {at_least} to {at_most}", at_least, at_most)


def _words(name: str) -> Field:
    return typed(str, WRONG, f"{name} must be a text")


# Limits: a year, as many copies as a machine can take, and the ranges of a percentage and of two digits.
_YEAR_SECONDS = 31_622_400
# What a request to switch a fault, a scenario or a pack on may hold.
FAULT: Fields = {
    "name": Field(_name, {"enum": [*SCENARIOS, *PACKS, *FAULTS]}).needed,
    "route": pattern(
        r"\*|\S+ \S+", WRONG, 'route must be "*" or two words such as "POST transfer" or "invoice credited"'
    ).such_as("POST transfer").defaulting("*"),
    # Null for until it is cleared.
    "times": _whole("times", 10**15, at_least=1),
    "rate": typed(Annotated[float, Meta(ge=0, le=1)], WRONG, "rate must be a number from 0 to 1").defaulting(1.0),
    "accepted": flag(WRONG, "accepted must be true or false"),
    "seconds": typed(
        Annotated[float, Meta(ge=0, le=_YEAR_SECONDS)], WRONG, "seconds must be a number from 0 to a year", _seconds
    ),
    "retry_after": _whole("retry_after", _YEAR_SECONDS),
    "count": _whole("count", 1_000),
    "reason": _words("reason"),
    "at_least_centavos": _whole("at_least_centavos", 10**15),
    "at_most_centavos": _whole("at_most_centavos", 10**15),
    "ends_in": _whole("ends_in", 99),
    "percent": _whole("percent", 100),
    "only": _words("only"),
}  # fmt: skip
# The option that says how much of a fault there is, and what is usual.
_MEASURES: dict[str, tuple[str, Any]] = {
    # A hanging answer ends, so that forgotten faults do not keep connections forever.
    "hang": ("seconds", 60),
    # Long enough to be noticed and shorter than the SDKs' timeout of 15 s.
    "slow_answer": ("seconds", 5),
    "throttle_429": ("retry_after", None),
    "duplicate_delivery": ("count", 1),
    "reorder": ("seconds", 60),
    "blocked_destination": ("reason", "Destination account blocked"),
    "slow_transfer": ("seconds", 3600),
    "underpaid": ("percent", 50),
    "taken_back": ("seconds", 60),
}
_AMOUNT_RULES = {"at_least_centavos", "at_most_centavos", "ends_in"}


@dataclass(frozen=True)
class Subject:
    """What a fault may strike: a request, a delivery, a transfer or a payment.

    `words` name it ("POST transfer", "invoice credited"); `amounts_centavos` and `ids` are those it is about.
    """

    words: str
    amounts_centavos: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: str, row: dict[str, Any]) -> Subject:
        """An invoice or a transfer, by the amount that was asked for: one that was paid by another keeps its magic."""
        return cls(words, (row.get("nominalAmount", row["amount"]),), (row["id"],))


@dataclass
class Fault:
    """One switched-on misbehaviour.

    `route` selects requests ("POST transfer", "GET *", "*") and deliveries ("invoice credited", "transfer *").
    The options `at_least_centavos`, `at_most_centavos` and `ends_in` (the last two digits) select by amount,
    `only` by the id of an invoice, a transfer or an event.
    """

    number: int
    name: str
    route: str = "*"
    times: int | None = None
    rate: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    struck: int = 0
    scenario: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the request takes effect although its answer goes wrong."""
        return bool(self.options.get("accepted", self.name in _ACCEPTED))

    @property
    def measure(self) -> Any:
        """How much of it there is: its seconds, copies, percent or reason."""
        option, usual = _MEASURES[self.name]
        return self.options.get(option, usual)

    @property
    def has_amount_rule(self) -> bool:
        """Whether amounts decide."""
        return not _AMOUNT_RULES.isdisjoint(self.options)

    def matches(self, subject: Subject) -> bool:
        """Whether this fault applies to the subject."""
        return (
            self._is_on_route(subject.words)
            and ("only" not in self.options or self.options["only"] in subject.ids)
            and (not self.has_amount_rule or any(map(self._is_meant_for, subject.amounts_centavos)))
        )

    def _is_on_route(self, words: str) -> bool:
        if self.route == "*":
            return True
        wanted, given = self.route.lower().split(), words.lower().split()
        return len(wanted) == len(given) and all(a in ("*", b) for a, b in zip(wanted, given, strict=True))

    def _is_meant_for(self, centavos: int) -> bool:
        options: dict[str, int] = self.options
        return (
            options.get("at_least_centavos", 0) <= centavos <= options.get("at_most_centavos", centavos)
            and options.get("ends_in", centavos % 100) == centavos % 100
        )

    def to_json(self) -> dict[str, Any]:
        """As the management API shows it."""
        return {
            "id": self.number,
            "name": self.name,
            **({"scenario": self.scenario} if self.scenario else {}),
            "route": self.route,
            "times": self.times,
            "rate": self.rate,
            **self.options,
            "struck": self.struck,
        }


class Faults:
    """The faults that are switched on, and the one seeded source of their chances."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}:faults")
        self._active: list[Fault] = []
        self._numbers = 0
        self.struck: dict[str, int] = {}

    def add(self, request: dict[str, Any]) -> list[Fault]:
        """Switch a fault, a scenario or a pack on; returns what is on for it. Refuses what makes no sense."""
        asked = read(request, "the fault", FAULT, WRONG)
        word = asked.pop("name")
        if word in PACKS:
            if asked:
                raise Refusal.of(WRONG, f"{word} is a pack, which takes nothing but its name")
            return [fault for each in PACKS[word] for fault in self.add(each)]
        given = {**SCENARIOS.get(word, {"name": word}), **asked}
        name, times = given.pop("name"), given.pop("times", None)
        route, rate = given.pop("route", "*"), given.pop("rate", 1.0)
        if name == "key_endpoint_down":
            route = "GET public-key"
        elif name not in REQUEST_FAULTS and name not in DELIVERY_FAULTS:
            # These strike what the bank does without a request, so they have no route.
            route = "*"
        self._numbers += 1
        scenario = word if word in SCENARIOS else None
        fault = Fault(self._numbers, name, route, times, rate, given, scenario=scenario)
        self._active.append(fault)
        return [fault]

    def active(self) -> list[Fault]:
        """The faults that can still strike."""
        return list(self._active)

    def clear(self, name: str | None = None, number: int | None = None) -> int:
        """Switch off all faults, those of one name (fault or scenario) or a single one; returns how many."""

        def is_meant(fault: Fault) -> bool:
            return (name is None or name in (fault.name, fault.scenario)) and number in (None, fault.number)

        kept = [fault for fault in self._active if not is_meant(fault)]
        cleared = len(self._active) - len(kept)
        self._active = kept
        return cleared

    @property
    def look_at_amounts(self) -> bool:
        """Whether a fault for requests has a rule on amount, so that bodies are worth reading for it."""
        return any(fault.name in REQUEST_FAULTS and fault.has_amount_rule for fault in self._active)

    def for_request(self, subject: Subject) -> Fault | None:
        """The first fault that strikes a request such as `POST transfer`, if any."""
        return self._strike(REQUEST_FAULTS, subject)

    def strikes(self, name: str, subject: Subject) -> bool:
        """Whether this fault strikes a delivery, a transfer or a payment now."""
        return self._strike((name,), subject) is not None

    def measure(self, name: str, subject: Subject) -> Any:
        """How much of this fault strikes now, such as its seconds; None when it does not strike."""
        fault = self._strike((name,), subject)
        return None if fault is None else fault.measure

    def reorder_delay_seconds(self, subject: Subject) -> float:
        """How long a first delivery is held back."""
        at_most_seconds = self.measure("reorder", subject)
        return 0.0 if at_most_seconds is None else self._random.uniform(0, at_most_seconds)

    def _strike(self, names: Iterable[str], subject: Subject) -> Fault | None:
        for fault in self._active:
            if fault.name in names and fault.matches(subject) and self._chance(fault):
                return fault
        return None

    def _chance(self, fault: Fault) -> bool:
        if fault.rate < 1 and self._random.random() >= fault.rate:
            return False
        fault.struck += 1
        self.struck[fault.name] = self.struck.get(fault.name, 0) + 1
        if fault.times is not None and fault.struck >= fault.times:
            self._active.remove(fault)
        return True
