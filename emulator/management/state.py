"""The whole bank as JSON and back: books, agenda, chances, faults, settings, clock and projects.

It follows the objects that hang from a `Bank` and saves what they hold, so a new book needs no code here; a value
that it cannot save is a TypeError, which a test sees. Private keys and histories are not saved. A state is tried on
a fresh bank first, so a bad one changes nothing.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import Fault
from emulator.books.accounts import OutOfBalance
from emulator.books.book import Credited, Reversal
from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from emulator.clock import Clock
from emulator.management.statement import statement
from emulator.protocol.credentials import Credentials
from emulator.protocol.deliveries import Deliveries

VERSION = 1


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
        "books": _Writer(bank).books,
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
    """What a component holds itself: neither other components nor functions."""
    return {
        name: value
        for name, value in vars(component).items()
        if not (_is_component(value) or callable(value) or _holds_functions(value))
    }


def _holds_functions(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(callable(each) for each in value.values())


# --- values that JSON does not know -------------------------------------------------------------------------

# Each by its mark: the type, what is written for it, and how it is read. Nothing else is ever built from a file.
_VALUES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "$tuple": (tuple, list, tuple),
    "$time": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$set": (set, sorted, set),
    "$random": (random.Random, random.Random.getstate, lambda state: (state[0], tuple(state[1]), state[2])),
}
_OBJECTS: dict[str, type] = {each.__name__: each for each in (Credited, Reversal, Fault)}


class _Writer:
    """Turns contents into JSON. A row that is held in two places (a log, in its book and in an event) stays one."""

    def __init__(self, bank: Bank) -> None:
        held = {path: _contents(component) for path, component in _components(bank).items()}
        self._held: Counter[int] = Counter()
        self._labels: dict[int, int] = {}
        self._count(held)
        self.books = {
            path: {name: self._write(value) for name, value in contents.items()}
            for path, contents in held.items()
        }

    def _count(self, value: Any) -> None:
        if isinstance(value, dict):
            self._held[id(value)] += 1
            if self._held[id(value)] == 1:
                for each in value.values():
                    self._count(each)
        elif isinstance(value, list | tuple):
            for each in value:
                self._count(each)

    def _write(self, value: Any) -> Any:
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, dict):
            return self._write_dict(value)
        if isinstance(value, list):
            return [self._write(each) for each in value]
        for mark, (kind, written, _) in _VALUES.items():
            if isinstance(value, kind):
                return {mark: self._write(written(value)) if mark != "$random" else written(value)}
        if type(value) in _OBJECTS.values():
            return {"$object": type(value).__name__, "fields": self._write(dict(vars(value)))}
        raise TypeError(f"a {type(value).__name__} cannot be saved")

    def _write_dict(self, value: dict[Any, Any]) -> Any:
        if self._held[id(value)] < 2:
            return self._write_keys(value)
        if id(value) in self._labels:
            return {"$same": self._labels[id(value)]}
        self._labels[id(value)] = len(self._labels)
        return {"$label": self._labels[id(value)], "value": self._write_keys(value)}

    def _write_keys(self, value: dict[Any, Any]) -> Any:
        # A client may send any keys, also ones like ours.
        if any(key.startswith("$") for key in value):
            return {"$pairs": [[key, self._write(each)] for key, each in value.items()]}
        return {key: self._write(each) for key, each in value.items()}


class _Reader:
    """The way back from JSON."""

    def __init__(self) -> None:
        self._labeled: dict[int, Any] = {}

    def read(self, written: Any) -> Any:
        if isinstance(written, list):
            return [self.read(each) for each in written]
        if not isinstance(written, dict):
            return written
        mark = next((key for key in written if key.startswith("$")), None)
        if mark is None:
            return {key: self.read(each) for key, each in written.items()}
        value = written[mark]
        if mark in _VALUES:
            return _VALUES[mark][2](self.read(value))
        if mark == "$same":
            return self._labeled[value]
        if mark == "$label":
            self._labeled[value] = self.read(written["value"])
            return self._labeled[value]
        if mark == "$pairs":
            return {key: self.read(each) for key, each in value}
        if mark == "$object" and value in _OBJECTS:
            return _OBJECTS[value](**self.read(written["fields"]))
        raise BadState(f"it holds {mark} {value}, which is no value of this emulator")


def _restore(bank: Bank, books: dict[str, Any]) -> None:
    reader = _Reader()
    known = _components(bank)
    if set(known) != set(books):
        raise BadState("it has other books than this emulator: it was written by another version")
    # In the order of the writing, so that a label comes before its uses.
    for path, saved in books.items():
        component = known[path]
        contents = _contents(component)
        missing = {name for name, value in contents.items() if value is not None} - set(saved)
        unknown = set(saved) - set(vars(component))
        if missing or unknown:
            names = ", ".join(sorted(missing | unknown))
            raise BadState(f"its {path or 'bank'} differs in {names}: it was written by another version")
        for name, written in saved.items():
            if not callable(getattr(component, name)):
                _put(component, name, reader.read(written))


def _put(component: Any, name: str, value: Any) -> None:
    """Set an attribute; containers and sources of chance keep their identity, since others hold on to them."""
    current = getattr(component, name)
    if isinstance(current, random.Random):
        current.setstate(value)
        return
    if current is not None and value is not None and not _is_same_kind(current, value):
        raise BadState(f"{name} must be a {type(current).__name__}, not a {type(value).__name__}")
    if isinstance(current, dict | set):
        current.clear()
        current.update(value)
    elif isinstance(current, list):
        current[:] = value
    else:
        setattr(component, name, value)


def _is_same_kind(current: Any, value: Any) -> bool:
    numbers = isinstance(current, int | float) and isinstance(value, int | float)
    return type(current) is type(value) or (
        numbers and not isinstance(current, bool) and not isinstance(value, bool)
    )
