"""The pauses by which an operator stops forwarding or issuing in every process. Read here; set by operator/actions.py.

They are read inside the transactions that claim or plan, so a pause holds for every claim that begins afterwards, in
every process and after every restart. What was claimed before is finished.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, exists, select

from payments.storage.database import Database
from payments.storage.schema import pauses

Pausable = Literal["forwarding", "issuing"]


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when something is paused, who paused it, and why."""

    since: datetime
    who: str
    reason: str


# A condition of the statements that claim transfers: nothing is claimed while forwarding is paused.
FORWARDING_IS_ON = ~exists().where(pauses.c.name == "forwarding", pauses.c.paused_at.is_not(None))


def is_paused(connection: Connection, name: Pausable) -> bool:
    """Whether an operator has paused it, as this transaction sees it."""
    query = select(pauses.c.paused_at).where(pauses.c.name == name, pauses.c.paused_at.is_not(None))
    return connection.execute(query).first() is not None


def paused(database: Database) -> dict[Pausable, Pause]:
    """What is paused."""
    with database.reading() as connection:
        return paused_in(connection)


def paused_in(connection: Connection) -> dict[Pausable, Pause]:
    """The same, as this transaction sees it."""
    rows = connection.execute(select(pauses).where(pauses.c.paused_at.is_not(None)))
    return {row.name: Pause(row.paused_at, row.paused_by, row.reason) for row in rows}
