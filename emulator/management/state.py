"""The whole bank as JSON and back: books, agenda, chances, faults, settings, clock and projects.

It follows the objects that hang from a `Bank` and saves what they hold, so a new book needs no code here but the types
that JSON does not have; a value that it cannot save is a TypeError, which a test sees. Private keys and histories are
not saved. A state is tried on a fresh bank first, so a bad one changes nothing.
"""

from __future__ import annotations

import json
import os
import random
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import Fault, Faults
from emulator.behaviour.life import Life
from emulator.books.accounts import OutOfBalance
from emulator.books.book import Credited, Reversal, ReversibleBook
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Table
from emulator.clock import Agenda, Clock
from emulator.management.statement import statement
from emulator.protocol.credentials import Credentials
from emulator.protocol.deliveries import Deliveries

VERSION = 2


class BadState(ValueError):
    """A state that cannot be loaded; the text says why in one line."""


def save(bank: Bank, clock: Clock, credentials: Credentials, posts: Deliveries | None) -> dict[str, Any]:
    """Everything there is to know to go on exactly from here."""
    bank.step(clock.now())
    opened = [] if posts is None else posts.open_deliveries()
    return {
        "emulator_state": VERSION,
        "clock": {"now": time_text(clock.now()), "speed": clock.speed, "paused": clock.paused},
        "projects": [project.to_json() for project in credentials.projects()],
        # Posts without an outcome are made again: an event may arrive twice at any time (documented).
        "open_deliveries": [
            [each.event_id, each.webhook_id, each.attempt, each.forged] for each in opened if each.webhook_id
        ],
        "books": _written(bank),
    }


def load(state: Any, bank: Bank, clock: Clock, credentials: Credentials) -> None:
    """Put the bank, its clock and its callers into a saved state; `BadState` and no change when it is bad."""
    now = _tried(state)
    _restore(bank, state["books"])
    for event_id, webhook_id, attempt, forged in state["open_deliveries"]:
        bank.agenda.push(now, "event.deliver", event_id, webhook_id, attempt, forged)
    credentials.take_projects(state["projects"])
    saved = state["clock"]
    # A clock of a simulation has no pace of its own, and such a state asks for none.
    if (clock.speed, clock.paused) != (saved["speed"], saved["paused"]):
        clock.set_pace(saved["speed"], paused=saved["paused"])
    clock.set_back_to(now)


def seed_of(state: Any) -> int:
    """The seed of a state that was read from a file."""
    seed: int = state["books"][""]["seed"]
    return seed


def read(path: Path) -> Any:
    """The state in a file, tried; `BadState` says what is wrong, in one line."""
    try:
        state = json.loads(path.read_bytes())
    except OSError as error:
        raise BadState(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadState(f"{path} is not JSON, or was cut short") from None
    try:
        _tried(state)
    except BadState as error:
        raise BadState(f"{path}: {error}") from None
    return state


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a state, whole or not at all; names and tax IDs of payers are in it, so only its owner may read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(state))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _tried(state: Any) -> datetime:
    """Load a state into a fresh bank and look whether it makes sense; returns its time."""
    if not isinstance(state, dict) or "emulator_state" not in state:
        raise BadState("it is not a saved state of the emulator")
    if state["emulator_state"] != VERSION:
        raise BadState(f"it is of version {state['emulator_state']!r}; this emulator reads version {VERSION}")
    try:
        now = datetime.fromisoformat(state["clock"]["now"])
        if (
            now.tzinfo is None
            or not float(state["clock"]["speed"]) > 0
            or type(state["clock"]["paused"]) is not bool
        ):
            raise BadState("its clock makes no sense")
        bank = Bank(seed=int(state["books"][""]["seed"]), opened_at=now)
        _restore(bank, state["books"])
        for event_id, webhook_id, _, _ in state["open_deliveries"]:
            bank.events.rows.find(event_id)
            if not isinstance(webhook_id, str):
                raise BadState("a delivery goes nowhere")
        for at, name, _ in bank.agenda.entries():
            if not bank.agenda.knows(name) or at.tzinfo is None:
                raise BadState(f"the agenda does not know how to {name}")
        bank.accounts.check()
        statement(bank, details=True)
        Credentials.check_projects(state["projects"])
    except BadState:
        raise
    except OutOfBalance as error:
        raise BadState(f"its books do not balance: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise BadState(
            f"it was changed, or written by another version ({type(error).__name__}: {error})"
        ) from None
    except (Refusal, RecursionError) as error:
        raise BadState(f"it contradicts itself ({error})") from None
    return now.astimezone(UTC)


# --- the objects that hang from a bank ----------------------------------------------------------------------


def _components(bank: Bank) -> dict[str, Any]:
    """Every object of the emulator that hangs from the bank, once, by its dotted path; the bank's is empty."""
    found: dict[str, Any] = {}
    waiting: deque[tuple[str, Any]] = deque([("", bank)])
    while waiting:
        path, component = waiting.popleft()
        if any(component is each for each in found.values()):
            continue
        found[path] = component
        waiting += [
            (f"{path}.{name}".lstrip("."), value)
            for name, value in vars(component).items()
            if _is_component(value)
        ]
    return found


def _is_component(value: Any) -> bool:
    return type(value).__module__.startswith("emulator.") and not callable(value)


def _contents(component: Any) -> dict[str, Any]:
    """What a component holds itself: neither other components nor functions, of which there may be none yet."""
    return {
        name: value
        for name, value in vars(component).items()
        if not (value is None or _is_component(value) or callable(value) or _holds_functions(value))
    }


def _holds_functions(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(callable(each) for each in value.values())


# --- what they hold ---------------------------------------------------------------------------------------------

# Where JSON has another type than the emulator; everything else comes back as the type that is there now.
_TYPES: dict[tuple[type, str], Any] = {
    (Bank, "opened_at"): datetime,
    (Agenda, "_heap"): list[tuple[datetime, int, str, tuple[Any, ...]]],
    (Table, "_created"): list[datetime],
    (Ids, "_used"): set[int],
    (Life, "_credited_first"): set[str],
    (Faults, "_active"): list[Fault],
    (ReversibleBook, "credited"): dict[str, Credited],
    (ReversibleBook, "reversals"): dict[str, Reversal],
}


def _written(bank: Bank) -> dict[str, dict[str, Any]]:
    """The contents of each component as JSON."""
    books = {
        path: {name: _builtins(value) for name, value in _contents(component).items()}
        for path, component in _components(bank).items()
    }
    # An event holds the log that is in its book: one row, which is written and kept once.
    for row in filter(None, books["events.rows"]["_rows"]):
        row["log"] = row["log"]["id"]
    return books


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(sorted(value) if isinstance(value, set) else value, enc_hook=_state_of_chance)


def _state_of_chance(value: Any) -> Any:
    if isinstance(value, random.Random):
        return value.getstate()
    raise TypeError(f"a {type(value).__name__} cannot be saved")


def _restore(bank: Bank, books: dict[str, Any]) -> None:
    known = _components(bank)
    if set(known) != set(books):
        raise BadState("it has other books than this emulator: it was written by another version")
    # A copy: the bank goes on with what it is given.
    for path, saved in msgspec.json.decode(msgspec.json.encode(books)).items():
        contents = _contents(known[path])
        if set(saved) != set(contents):
            names = ", ".join(sorted(set(saved) ^ set(contents)))
            raise BadState(f"its {path or 'bank'} differs in {names}: it was written by another version")
        for name, value in saved.items():
            _put(known[path], name, value)
    logs = {row["id"]: row for book in bank.books for row in book.logs.all()}
    for row in bank.events.rows.all():
        row["log"] = logs[row["log"]]


def _put(component: Any, name: str, saved: Any) -> None:
    """Set an attribute; containers and sources of chance keep their identity, since others hold on to them."""
    current = getattr(component, name)
    if isinstance(current, random.Random):
        version, internal, gauss = saved
        current.setstate((version, tuple(internal), gauss))
        return
    fitting = (
        kind for (owner, each), kind in _TYPES.items() if each == name and isinstance(component, owner)
    )
    try:
        value = msgspec.convert(saved, next(fitting, type(current)))
    except msgspec.ValidationError as error:
        raise BadState(f"{name} must be what it was: {error}") from None
    if isinstance(current, dict | set):
        current.clear()
        current.update(value)
    elif isinstance(current, list):
        current[:] = value
    else:
        setattr(component, name, value)
