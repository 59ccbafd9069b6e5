"""The pauses by which an operator stops forwarding or issuing in every process. Read here; set by operator/actions.py.

They are read inside the transactions that claim or plan, so a pause holds for every claim that begins afterwards, in
every process and after every restart. What was claimed before is finished.
"""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, exists, select

from payments.storage.database import Database
from payments.storage.schema import pauses

Pausable = Literal["forwarding", "issuing"]


# A condition of the statements that claim transfers: nothing is claimed while forwarding is paused.
FORWARDING_IS_ON = ~exists().where(pauses.c.name == "forwarding", pauses.c.paused_at.is_not(None))


def is_paused(connection: Connection, name: Pausable) -> bool:
    """Whether an operator has paused it, as this transaction sees it."""
    query = select(pauses.c.paused_at).where(pauses.c.name == name, pauses.c.paused_at.is_not(None))
    return connection.execute(query).first() is not None


def paused(database: Database) -> dict[Pausable, datetime]:
    """What is paused, and since when."""
    with database.reading() as connection:
        return paused_in(connection)


def paused_in(connection: Connection) -> dict[Pausable, datetime]:
    """The same, as this transaction sees it."""
    query = select(pauses.c.name, pauses.c.paused_at).where(pauses.c.paused_at.is_not(None))
    return {row.name: row.paused_at for row in connection.execute(query)}
