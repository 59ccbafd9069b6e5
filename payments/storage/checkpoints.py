"""Copies SQLite's write-ahead log into the database file beside the commits, so that no commit waits for it.

SQLite does it in the commit that makes the log longer than sqlite.py's limit. In a large database the pages of a log
lie far apart, and the answers that wait for that commit wait 50 ms longer, several times a second under load. What is
copied already costs that commit nothing. Nothing relies on this file: without it, commits do it all.
"""

import sqlite3
from contextlib import suppress

from payments.errors import LedgerUnavailable
from payments.storage.database import Database

# A few megabytes come together in this time at the highest rate that one database holds.
CHECKPOINT_SECONDS = 0.2


def checkpoint(database: Database) -> None:
    """Copy what is committed and not copied yet. Waits for no one, and no one waits for it; on SQLite only.

    What goes wrong with the file is reported by those who read and write.
    """
    with suppress(sqlite3.Error, LedgerUnavailable), database.storage_errors():
        connection = database.readers.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
            cursor.close()
        finally:
            connection.close()
