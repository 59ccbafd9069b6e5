"""Moves the bodies of old events out of the books into compressed files. Rows stay, and money rows are not touched.

An event's body is what makes the inbox big: it is kept for audit and replay, and nothing reads it once the event has
had its effect. A group of events is first durable in its file and read back, then emptied in the books; a crash in
between leaves both, and the next run does it again.
"""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, func, select, tuple_, update

from payments.errors import BooksRefused
from payments.ledger.inbox import Outcome
from payments.storage.database import Database
from payments.storage.prepared import Prepared
from payments.storage.schema import inbox_events
from payments.upkeep.backup import sync

# One file's worth. Bounded in bytes too, since an event may have a mebibyte: this much is in memory at once.
_EVENTS_A_FILE = 10_000
_BYTES_A_FILE = 32 * 2**20

# Rows emptied in one transaction: some 10 ms, so that events which come in meanwhile hardly wait.
_ROWS_A_TRANSACTION = 500

# These wait for a person, who needs the bytes.
_KEPT = (Outcome.UNREADABLE, Outcome.SECOND_CREDIT)

MANIFEST = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Archived:
    """What a run did: events and files, and the bytes that bodies and signatures took in the books."""

    events: int
    files: int
    bytes: int


def archive(
    database: Database, before: datetime, folder: Path, now: datetime, progress: Callable[[int], None]
) -> Archived:
    """Archive the bodies and signatures of events received before a moment, in groups. Each group is its own commits.

    ``progress`` is told how many events are done. Raises BooksRefused when the folder cannot be written, and
    LedgerUnavailable; what was done before stays done, and a second run goes on.
    """
    events = files = freed = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for group in _groups(database, before):
            _write(folder, group)
            _empty(database, group, now)
            events += len(group)
            files += 1
            freed += sum(_size(row) for row in group)
            progress(events)
    except OSError as error:
        raise BooksRefused(
            f"the archive {folder} cannot be written: {error.strerror}; {events} events are archived, the others are "
            "as they were"
        ) from None
    return Archived(events, files, freed)


def read_archive(file: Path) -> Iterator[tuple[str, bytes, str | None]]:
    """Each event of an archive file: its id, its body byte for byte, its signature."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            body = (
                base64.b64decode(found["body_base64"]) if "body_base64" in found else found["body"].encode()
            )
            yield found["event_id"], body, found["digital_signature"]


# --- which ---


def _groups(database: Database, before: datetime) -> Iterator[list[Any]]:
    place = (datetime.min.replace(tzinfo=before.tzinfo), "")
    while group := _read_group(database, before, place):
        yield group
        # Not from the start again: what is archived by then would be read over and over.
        place = (group[-1].received_at, group[-1].event_id)


def _read_group(database: Database, before: datetime, place: tuple[datetime, str]) -> list[Any]:
    events = inbox_events.c
    key = tuple_(events.received_at, events.event_id)
    chosen = (
        select(
            *(events.event_id, events.source, events.subscription, events.log_type, events.subject),
            *(events.outcome, events.received_at, events.digital_signature, events.body),
        )
        .where(
            events.received_at < before,
            events.archived_at.is_(None),
            events.outcome.not_in(_KEPT),
            key
            > tuple_(
                *(bindparam(None, value, type_=column.type) for value, column in zip(place, key, strict=True))
            ),
        )
        .order_by(events.received_at, events.event_id)
        .limit(_EVENTS_A_FILE)
    )
    group: list[Any] = []
    size = 0
    with (
        database.reading() as connection,
        connection.execute(chosen, execution_options={"yield_per": 100}) as found,
    ):
        for row in found:
            group.append(row)
            size += _size(row)
            if size >= _BYTES_A_FILE:
                break
    return group


def _size(row: Any) -> int:
    return len(row.body) + len(row.digital_signature or "")


# --- the file ---


def _write(folder: Path, group: Sequence[Any]) -> None:
    content = gzip.compress(b"".join(_line(row) for row in group), mtime=0)  # equal events make equal files
    digest = hashlib.sha256(content).hexdigest()
    name = f"inbox-{group[0].received_at:%Y-%m-%d}-{digest[:12]}.jsonl.gz"
    partial = folder / f".{name}.partial"
    partial.unlink(missing_ok=True)  # left behind by a run that was killed
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    sync(partial)
    os.rename(partial, folder / name)
    _note(folder, digest, name)
    sync(folder)
    # Read back before anything is emptied: what was never read is no archive.
    found = [event_id for event_id, _, _ in read_archive(folder / name)]
    if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest or found != [
        row.event_id for row in group
    ]:
        raise BooksRefused(
            f"{folder / name} does not hold what was written; look at the disk. Nothing was emptied"
        )


def _line(row: Any) -> bytes:
    try:
        body = {"body": row.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(row.body).decode()}
    fields = {
        "event_id": row.event_id,
        "received_at": row.received_at.isoformat(),
        "source": row.source,
        "subscription": row.subscription,
        "log_type": row.log_type,
        "subject": row.subject,
        "outcome": row.outcome,
        "digital_signature": row.digital_signature,
        **body,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _note(folder: Path, digest: str, name: str) -> None:
    """Add the file to the manifest, which ``sha256sum -c`` reads; once, however often a run is repeated."""
    line = f"{digest}  {name}\n"
    manifest = folder / MANIFEST
    known = manifest.read_text("utf-8") if manifest.exists() else ""
    if line in known:
        return
    # a line that a crash cut short must not swallow this one
    gap = "\n" if known and not known.endswith("\n") else ""
    with os.fdopen(os.open(manifest, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "w") as file:
        file.write(gap + line)
    sync(manifest)


# --- the books ---


def _empty(database: Database, group: Sequence[Any], now: datetime) -> None:
    for start in range(0, len(group), _ROWS_A_TRANSACTION):
        with database.transaction() as connection:
            for row in group[start : start + _ROWS_A_TRANSACTION]:
                # Guarded: another run may have archived it meanwhile, into a file of its own.
                _EMPTY.run(connection, {"event": row.event_id, "now": now, "nothing": b""})


def oldest_body_at(database: Database) -> datetime | None:
    """When the oldest event was received whose body is still here; None when there is none."""
    with database.reading() as connection:
        return connection.execute(
            select(func.min(inbox_events.c.received_at)).where(inbox_events.c.archived_at.is_(None))
        ).scalar()


_EMPTY = Prepared(
    update(inbox_events)
    .where(inbox_events.c.event_id == bindparam("event"), inbox_events.c.archived_at.is_(None))
    .values(body=bindparam("nothing"), digital_signature=None, archived_at=bindparam("now"))
)
