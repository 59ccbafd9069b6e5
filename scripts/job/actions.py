"""The commands of an operator's actions, each recorded with who, when and why; see payments/operator/actions.py."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime

from payments.ledger.inbox import Receipt
from payments.operator import actions, recovery, replay
from payments.operator.actions import Operator
from payments.settings import Settings
from payments.storage.database import Database
from scripts.job.view import plain

DONE = 0


def act(database: Database, arguments: Namespace, settings: Settings, by: Operator, now: datetime) -> int:
    """Do it and print the result. Raises ActionRefused when it is not allowed now."""
    policy = settings.forwarding_policy
    receipts: Sequence[Receipt] = ()
    match arguments.command:
        case "retry":
            done = actions.retry_transfer(database, arguments.external_id, by, policy, now)
        case "abandon":
            done = actions.abandon_transfer(database, arguments.external_id, by, policy, now)
        case "recover":
            done = recovery.recover_credit(database, arguments.invoice_id, by, policy, now)
        case "resolve":
            done = actions.close_attention(database, arguments.attention_id, by, now)
        case "pause":
            done = actions.pause(database, arguments.switch, by, now)
        case "resume":
            done = actions.resume(database, arguments.switch, by, now)
        case _ if arguments.since is None:
            done, _ = replay.replay_event(database, arguments.event_id, by, policy, now)
        case _:
            done, receipts = replay.replay_since(database, arguments.since, by, policy, now)
    for receipt in receipts:
        print(f"{plain(receipt.event_id)}: {receipt.outcome} {plain(receipt.subject or '')}".rstrip())
    print(f"{done.kind} {plain(done.subject)}: {plain(done.result)}")
    return DONE
