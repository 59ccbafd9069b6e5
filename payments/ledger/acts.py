"""What an operator may do, each recorded with who, when and why. One public function, one transaction.

An act that is not legal in the present state is refused with the state and the reason (ActRefused) and leaves
nothing behind. Two operators at once cannot both do it: the second is refused, because the state has changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from payments.ledger.database import Database
from payments.ledger.inbox import Receipt
from payments.policy import ForwardingPolicy

Switch = Literal["forwarding", "issuing"]


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts and why. ``who`` has 1 to 64 characters, ``reason`` 3 to 500 (else ActRefused)."""

    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Act:
    """One act as it stands in the books. ``subject`` is an external_id, event id, attention id or switch."""

    id: int
    at: datetime
    who: str
    kind: str  # retry, abandon, replay, resolve, pause, resume, reconcile, forward, issue
    subject: str
    reason: str
    result: str


def retry_transfer(
    database: Database, external_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Act:
    """Make a dead transfer pending, due now; make a pending one that waits due now.

    It is looked up before it is sent, since it was claimed before. When its reissues were used up it gets one more.
    Refused in every other state, and when the credit is paid or reversed.
    """
    raise NotImplementedError


def abandon_transfer(database: Database, external_id: str, by: Operator, now: datetime) -> Act:
    """Give a dead transfer up for good: it stays dead, its matter is closed, nothing will send it.

    For credits that were paid by hand or given back. Refused in every other state, and when abandoned already.
    """
    raise NotImplementedError


def resolve_attention(database: Database, attention_id: int, by: Operator, now: datetime) -> Act:
    """Close a matter that a person has dealt with. Refused when it is closed already or unknown."""
    raise NotImplementedError


def replay_event(
    database: Database, event_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Act, Receipt]:
    """Read a stored event's bytes again with this program's readers, and record what follows from it.

    Harmless for what was recorded before. Refused for an unknown event and for one whose bytes were archived.
    """
    raise NotImplementedError


def replay_since(
    database: Database, since: datetime, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Act, Sequence[Receipt]]:
    """Replay every event received since then, oldest first; in groups of 100, each its own transaction."""
    raise NotImplementedError


def pause(database: Database, switch: Switch, by: Operator, now: datetime) -> Act:
    """Stop claiming transfers, or planning and claiming batches, in every process, until resumed."""
    raise NotImplementedError


def resume(database: Database, switch: Switch, by: Operator, now: datetime) -> Act:
    """Let it run again. Refused when it is not paused."""
    raise NotImplementedError


def paused(database: Database) -> dict[Switch, datetime]:
    """The switches that are off, and since when."""
    raise NotImplementedError


def record_act(database: Database, kind: str, subject: str, result: str, by: Operator, now: datetime) -> Act:
    """Record an act whose work runs elsewhere: reconcile, forward or issue now."""
    raise NotImplementedError
