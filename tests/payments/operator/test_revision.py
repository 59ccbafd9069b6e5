"""The change marker: different after each fact that an operator sees, the same while nothing happens."""

from collections.abc import Callable
from datetime import datetime, timedelta

from payments.event import read_event
from payments.invoice import Payer
from payments.ledger import batches, inbox, transfers
from payments.ledger.reconciliations import record_reconciliation
from payments.operator import processes
from payments.operator.actions import Operator, close_attention, pause
from payments.operator.processes import Process
from payments.operator.revision import read_mark
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from tests.events import invoice_event
from tests.payments.builders import NOW

BY = Operator("Ana", "to see it change")


def test_every_fact_changes_the_mark_and_a_heartbeat_does_not(
    database: Database, policy: ForwardingPolicy
) -> None:
    """One fact after the other, each noticed."""

    def accept(body: bytes, now: datetime) -> None:
        inbox.accept(database, [inbox.Arrival(read_event(body))], "webhook", policy, now)

    def claim_batch() -> None:
        assert batches.claim_batch(database, 60, NOW)

    facts: dict[str, Callable[[], object]] = {
        "an event": lambda: accept(invoice_event(log_type="created"), NOW),
        "a credit": lambda: accept(invoice_event(event_id="another"), NOW + timedelta(seconds=1)),
        "a claim": lambda: transfers.claim(database, "call-1", policy, 100, NOW + timedelta(seconds=2)),
        "an attention": lambda: accept(b"what is this", NOW + timedelta(seconds=3)),
        "its resolution": lambda: close_attention(database, 1, BY, NOW),
        "a batch": lambda: batches.plan_batch(
            database, "tag", None, [(Payer("Ana", "529.982.247-25"), 100)], NOW, late=False, now=NOW
        ),
        "its claim": claim_batch,
        "a reconciliation": lambda: record_reconciliation(database, NOW, NOW, 0, None),
        "a pause": lambda: pause(database, "issuing", BY, NOW),
    }
    seen = [read_mark(database)]
    for name, happens in facts.items():
        happens()
        mark = read_mark(database)
        assert mark not in seen, name
        seen.append(mark)
    web = Process("1", "web", "here", 1, "1")
    processes.record_alive(database, web, NOW)
    seen.append(read_mark(database))
    processes.record_alive(database, web, NOW + timedelta(seconds=15), NOW, ("accepted", NOW))
    assert read_mark(database) == seen[-1] != seen[-2]
    processes.record_alive(database, web, NOW + timedelta(seconds=30), NOW, ("unclear", NOW))
    assert read_mark(database) not in seen
