"""Growth: what ingest, claims, the statement and the console's questions cost with few and with many credits."""

import sqlite3
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from payments.event import read_event
from payments.ledger import inbox, transfers
from payments.operator import lists, overview, search
from payments.operator import timeline as stories
from payments.operator.statement import read_statement
from payments.settings import load_settings
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.transfer import BankTransfer
from tests.benchmarks.events import bodies

ROUNDS = 15
GROUP = 100

# Storing is measured by its mean: one commit in some carries a checkpoint, which a median would hide. It needs more
# rounds, so that their number is about the same for every size.
INGEST_ROUNDS = 60


def measure(folder: Path, sizes: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Milliseconds by question and number of credits on the books; sizes take turns in every round.

    Means of what is stored, medians of everything else.
    """
    books = {}
    for size in sizes:
        path = folder / f"{size}.db"
        database = open_database(f"sqlite:///{path}")
        migrate(database)
        fill(path, size)
        books[size] = database
    asks = {size: _Asks(database, size) for size, database in books.items()}
    costs: dict[str, dict[int, list[float]]] = {}
    for number in range(INGEST_ROUNDS):
        for size in sizes:
            questions = asks[size].stored() | (asks[size].others() if number < ROUNDS else {})
            for name, ask in questions.items():
                began = time.perf_counter()
                ask()
                costs.setdefault(name, {}).setdefault(size, []).append((time.perf_counter() - began) * 1000)
    for database in books.values():
        database.close()
    stored = asks[sizes[0]].stored()
    return {
        name: {
            size: statistics.mean(each) if name in stored else statistics.median(each)
            for size, each in by_size.items()
        }
        for name, by_size in costs.items()
    }


class _Asks:
    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        self._policy = load_settings(needs_bank=False).forwarding_policy
        self._bodies = bodies(10**9, size)
        self._random = Random(size)  # the bank's ids are random
        self._claims: list[transfers.Claim] = []
        self._invoice_id = lists.list_credits(database, None, limit=1).items[0].invoice_id

    def stored(self) -> dict[str, Callable[[], object]]:
        return {
            "ingest 1 event (mean)": lambda: self._ingest(1),
            f"ingest {GROUP} events (mean)": lambda: self._ingest(GROUP),
        }

    def others(self) -> dict[str, Callable[[], object]]:
        now = datetime.now(UTC)
        return {
            f"claim {GROUP} transfers": self._claim,
            f"record {GROUP} as sent": self._record,
            "statement": lambda: read_statement(self._database),
            "overview": lambda: overview.read_overview(self._database, now, timedelta(days=1), 48),
            "list of credits": lambda: lists.list_credits(self._database, None),
            "list of settled": lambda: lists.list_transfers(self._database, "settled", None),
            "search": lambda: search.search(self._database, self._invoice_id),
            "one credit's story": lambda: stories.read_credit(self._database, self._invoice_id),
        }

    def _ingest(self, count: int) -> None:
        arrivals = [
            inbox.Arrival(read_event(body), "s" * 96)
            for _, body in zip(range(count), self._bodies, strict=False)
        ]
        inbox.accept(self._database, arrivals, "webhook", self._policy, datetime.now(UTC))

    def _claim(self) -> None:
        self._claims = transfers.claim(self._database, "call-bench", 60, GROUP, datetime.now(UTC))

    def _record(self) -> None:
        accepted = {
            claim.external_id: BankTransfer(
                str(self._random.randrange(4 * 10**15, 7 * 10**15)),
                claim.external_id,
                "created",
                claim.amount_centavos,
                "",
                "",
                "",
                "",
                (),
            )
            for claim in self._claims
        }
        transfers.record_sent(self._database, self._claims, accepted, self._policy, datetime.now(UTC))


def fill(path: Path, credits: int) -> None:
    """Put settled credits on the books, with random ids as the bank's, by SQL (an hour's work otherwise)."""
    with sqlite3.connect(path, isolation_level=None) as books:
        books.execute("PRAGMA synchronous = OFF")
        books.execute("BEGIN")
        books.execute("CREATE TEMP TABLE n (i INTEGER PRIMARY KEY, k TEXT, t TEXT)")
        books.execute(
            "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < ?) "
            "INSERT INTO n SELECT i, 4000000000000000 + abs(random()) % 3000000000000000, "
            "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-31 days', (i % 2500000) || ' seconds') FROM s",
            (credits,),
        )
        for statement in _FILL:
            books.execute(statement)
        books.execute("COMMIT")
        books.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_FILL = (
    "INSERT INTO destinations (bank_code, branch_code, account_number, account_type, name, tax_id) "
    "VALUES ('1', '1', '1', 'payment', 'x', 'y')",
    "INSERT INTO inbox_events (event_id, source, subscription, log_type, subject, outcome, digital_signature, "
    "body, received_at) SELECT k, 'webhook', 'invoice', 'credited', k, 'credit', 's', "
    "zeroblob(1500), t FROM n",
    "INSERT INTO credits (number, invoice_id, log_id, event_id, gross_centavos, fee_centavos, net_centavos, "
    "withheld_centavos, disposition, credited_at, recorded_at) "
    "SELECT i, k, k, k, 1000, 50, 950, 0, 'forward', t, t FROM n",
    "INSERT INTO bank_transfers (bank_transfer_id, credit_number, external_id, status, amount_centavos, seen_at) "
    "SELECT k, i, 'credit-' || k, 'success', 950, t FROM n",
    "INSERT INTO transfers (credit_number, invoice_id, generation, external_id, amount_centavos, destination_id, "
    "state, attempt, calls, due_at, bank_transfer_id, created_at, sent_at, settled_at) "
    "SELECT i, k, 1, 'credit-' || k, 950, 1, 'settled', 1, 1, t, k, t, t, t FROM n",
    "INSERT INTO transfer_history (transfer_id, at, fact, state, attempt) "
    "SELECT id, sent_at, 'settled', 'settled', 1 FROM transfers",
    "INSERT INTO totals (name, shard, number, centavos) SELECT 'transfers.settled', 0, count(*), 950 * count(*) FROM n",
    *(
        f"INSERT INTO totals (name, shard, number, centavos) SELECT '{name}', 0, count(*), {centavos} * count(*) FROM n"
        for name, centavos in (("credits.gross", 1000), ("credits.fee", 50), ("credits.net", 950))
    ),
)
