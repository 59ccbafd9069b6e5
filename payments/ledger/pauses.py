"""The switches by which an operator stops forwarding or issuing in every process. Reading them; acts.py turns them.

They are read inside the transactions that claim or plan, so a switch that was turned off holds for every claim that
begins afterwards, in every process and after every restart. What was claimed before is finished.
"""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, bindparam, select

from payments.storage.database import Database
from payments.storage.prepared import Prepared
from payments.storage.schema import pauses

Switch = Literal["forwarding", "issuing"]


def is_paused(connection: Connection, switch: Switch) -> bool:
    """Tell whether an operator has stopped it, as this transaction sees it."""
    return bool(_PAUSED_SINCE.run(connection, {"name": switch}))


def paused(database: Database) -> dict[Switch, datetime]:
    """The switches that are off, and since when."""
    with database.reading() as connection:
        return paused_in(connection)


def paused_in(connection: Connection) -> dict[Switch, datetime]:
    """The same, as this transaction sees it."""
    return {row.name: row.paused_at for row in _ALL_PAUSED.run(connection, {})}


_PAUSED_SINCE = Prepared(
    select(pauses.c.paused_at).where(pauses.c.name == bindparam("name"), pauses.c.paused_at.is_not(None))
)
_ALL_PAUSED = Prepared(select(pauses.c.name, pauses.c.paused_at).where(pauses.c.paused_at.is_not(None)))
