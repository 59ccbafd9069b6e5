"""Every misbehaviour of the bank, each off until it is switched on by name.

Decides, seeded, whether a fault strikes a request, a delivery or a transfer; the places that ask do the
damage. A fault strikes `times` times, at a `rate`, or until it is cleared.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

REQUEST_FAULTS = {
    "drop_answer": "the connection is closed without an answer",
    "hang": "no answer comes; the connection is closed after `seconds` (default 60)",
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
    "duplicate_delivery": "an event is delivered `count` (default 1) more times at once",
    "reorder": "the first delivery waits up to `seconds` (default 60) emulated seconds",
    "forge_signature": "a copy with a stranger's signature is sent as well",
    "drop_delivery": "a delivery counts as made, never arrives and is recorded as badConnection",
}
TRANSFER_FAULTS = {
    "blocked_destination": "an accepted transfer fails late with `reason`",
}
FAULTS = {**REQUEST_FAULTS, **DELIVERY_FAULTS, **TRANSFER_FAULTS}

# Whether the request takes effect before the fault strikes, when `accepted` is not given.
_ACCEPTED = {"drop_answer", "cut_body", "wrong_body", "empty_page", "hang"}
_OPTIONS: dict[str, tuple[type, ...]] = {
    "accepted": (bool,),
    "seconds": (int, float),
    "retry_after": (int,),
    "count": (int,),
    "reason": (str,),
    "at_least_centavos": (int,),
    "at_most_centavos": (int,),
}


@dataclass
class Fault:
    """One switched-on misbehaviour.

    `route` selects requests ("POST transfer", "GET *", "*"), deliveries ("invoice credited", "transfer *")
    or nothing for transfers, which are selected by `at_least_centavos` and `at_most_centavos`.
    """

    number: int
    name: str
    route: str = "*"
    times: int | None = None
    rate: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    struck: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the request takes effect although its answer goes wrong."""
        return bool(self.options.get("accepted", self.name in _ACCEPTED))

    def matches(self, subject: str) -> bool:
        """Whether this fault is meant for the subject, such as `POST transfer`."""
        if self.route == "*":
            return True
        wanted, given = self.route.lower().split(), subject.lower().split()
        return len(wanted) == len(given) and all(a in ("*", b) for a, b in zip(wanted, given, strict=True))

    def to_json(self) -> dict[str, Any]:
        """As the management face shows it."""
        return {
            "id": self.number,
            "name": self.name,
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

    def add(self, request: dict[str, Any]) -> Fault:
        """Switch a fault on; ValueError says what is wrong with the request."""
        given: dict[str, Any] = dict(request)
        name = given.pop("name", None)
        route, times, rate = given.pop("route", "*"), given.pop("times", None), given.pop("rate", 1.0)
        if name not in FAULTS:
            raise ValueError(f"unknown fault {name}; known are {', '.join(FAULTS)}")
        if not isinstance(route, str) or (route != "*" and len(route.split()) != 2):
            raise ValueError('route must be "*" or two words such as "POST transfer" or "invoice credited"')
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError("times must be a whole number from 1, or absent for until cleared")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise ValueError("rate must be a number from 0 to 1")
        for option, value in given.items():
            types = _OPTIONS.get(option)
            if types is None:
                raise ValueError(f"unknown option {option}; known are {', '.join(_OPTIONS)}")
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise ValueError(f"{option} must be of type {' or '.join(each.__name__ for each in types)}")
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{option} must not be below zero")
        if name == "key_endpoint_down":
            route = "GET public-key"
        self._numbers += 1
        fault = Fault(self._numbers, name, route, times, float(rate), given)
        self._active.append(fault)
        return fault

    def active(self) -> list[Fault]:
        """The faults that can still strike."""
        return list(self._active)

    def clear(self, name: str | None = None) -> int:
        """Switch off all faults, or all of one name; returns how many."""
        kept = [fault for fault in self._active if name is not None and fault.name != name]
        cleared = len(self._active) - len(kept)
        self._active = kept
        return cleared

    def for_request(self, subject: str) -> Fault | None:
        """The first fault that strikes a request such as `POST transfer`, if any."""
        return self._strike(REQUEST_FAULTS, subject)

    def duplicate_count(self, subject: str) -> int:
        """How many extra copies of a delivery are sent."""
        fault = self._strike(("duplicate_delivery",), subject)
        return 0 if fault is None else int(fault.options.get("count", 1))

    def reorder_delay_seconds(self, subject: str) -> float:
        """How long a first delivery is held back."""
        fault = self._strike(("reorder",), subject)
        return 0.0 if fault is None else self._random.uniform(0, float(fault.options.get("seconds", 60)))

    def forges(self, subject: str) -> bool:
        """Whether a forged copy goes out as well."""
        return self._strike(("forge_signature",), subject) is not None

    def drops_delivery(self, subject: str) -> bool:
        """Whether a delivery is lost on the way."""
        return self._strike(("drop_delivery",), subject) is not None

    def refuses_transfer(self, amount_centavos: int) -> str | None:
        """Why a transfer of this amount fails late, if it does."""
        for fault in self._active:
            least = fault.options.get("at_least_centavos", 0)
            most = fault.options.get("at_most_centavos", amount_centavos)
            if fault.name in TRANSFER_FAULTS and least <= amount_centavos <= most and self._chance(fault):
                return str(fault.options.get("reason", "Destination account blocked"))
        return None

    def _strike(self, names: dict[str, str] | tuple[str, ...], subject: str) -> Fault | None:
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
