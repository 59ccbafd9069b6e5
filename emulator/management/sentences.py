"""One sentence for each answer of the management API: for the page and for the command line.

Sentences are made from the answers of the management API, so both say the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Note:
    """One thing that was done, or refused."""

    at: datetime
    words: str
    is_good: bool


class Notes:
    """The newest notes."""

    def __init__(self) -> None:
        # As many as a person looks back at.
        self._notes: deque[Note] = deque(maxlen=5)

    def add(self, at: datetime, words: str, *, is_good: bool) -> None:
        """Keep one."""
        self._notes.append(Note(at, words, is_good))

    def newest(self) -> list[Note]:
        """Newest first."""
        return list(reversed(self._notes))


def sentence(answer: dict[str, Any]) -> str:
    """What an answer of the management API says, in words."""
    if "reversed_centavos" in answer:
        row, back = answer["invoice"], money(answer["reversed_centavos"])
        return f"invoice {row['id']}: {back} goes back to the payer, {money(row['amount'])} remains"
    for kind, say in _SAYINGS.items():
        if kind in answer:
            return str(say(answer[kind]))
    return "done"


def money(centavos: int) -> str:
    """An amount as people in Brazil write it."""
    sign, digits = "-" if centavos < 0 else "", f"{abs(centavos) // 100:,}".replace(",", ".")
    return f"{sign}R$ {digits},{abs(centavos) % 100:02}"


def _entity(kind: str, row: dict[str, Any]) -> str:
    return f"{kind} {row['id']} over {money(row['amount'])} is {row['status']}"


def fault_rules(fault: dict[str, Any]) -> str:
    """When a fault strikes and what it does, where that is not the usual."""
    usual = {"times": None, "route": "*", "rate": 1.0}
    return ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in fault.items()
        if key not in ("id", "name", "scenario", "struck") and not (key in usual and value == usual[key])
    )


def _fault(fault: dict[str, Any]) -> str:
    rules = fault_rules(fault)
    name = fault.get("scenario") or fault["name"]
    return f"fault {fault['id']}, {name}, is on" + (f" ({rules})" if rules else "")


def _delivery(entry: dict[str, Any]) -> str:
    outcome = f"answered {entry['status']}" if entry["status"] is not None else entry["message"]
    return f"event {entry['event']} to {entry['url']}: {outcome} in {entry['ms']:.0f} ms"


def _repeat(made: dict[str, Any]) -> str:
    outcome = f"answered {made['status']}" if made["status"] is not None else made["message"]
    return f"{made['method']} {made['url']}: {outcome} in {made['ms']:.0f} ms"


def _deliveries(found: Any) -> str:
    count = found if isinstance(found, int) else len(found)
    return "1 delivery is on its way" if count == 1 else f"{count} deliveries are on their way"


def _clock(clock: dict[str, Any]) -> str:
    pace = "paused" if clock["paused"] else f"at speed {clock['speed']:g}"
    upcoming = f"; {clock['planned']} planned, the next at {clock['next_at']}" if clock["next_at"] else ""
    return f"it is {clock['now']}, {pace}{upcoming}"


_SAYINGS: dict[str, Any] = {
    "errors": lambda errors: "; ".join(each["message"] for each in errors),
    "invoice": lambda row: _entity("invoice", row),
    "transfer": lambda row: _entity("transfer", row),
    "deposit": lambda row: _entity("deposit", row),
    "webhook": lambda row: f"{row['url']} is subscribed to {', '.join(row['subscriptions'])}",
    "fault": _fault,
    "faults": lambda faults: f"{len(faults)} faults are on",
    "cleared": lambda count: f"{count} cleared",
    "delivery": _delivery,
    "repeat": _repeat,
    "deliveries": _deliveries,
    "dropped": lambda count: f"{count} planned deliveries dropped",
    "delayed": lambda count: f"{count} planned deliveries delayed",
    "clock": _clock,
    "public_key": lambda key: "the bank signs with a new key",
    "project": lambda project: f"project {project['id']} ({project['name']})",
    "settings": lambda settings: "settings changed",
}
