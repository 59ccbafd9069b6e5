"""Does an action by its name, as the console and the command line have it."""

from datetime import datetime
from typing import cast

from payments.ledger.pauses import Pausable
from payments.operator import actions
from payments.operator.actions import Action, Operator
from payments.operator.recovery import recover_credit
from payments.operator.replay import replay_event
from payments.policy import ForwardingPolicy
from payments.storage.database import Database


def perform(
    database: Database, kind: str, subject: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Action:
    """Do one action and return its record. Raises ActionRefused when it is not allowed now.

    ``subject`` is an external_id to retry or abandon, an invoice id to recover, an event id to replay, the number of an
    attention to resolve, what to pause or resume (one of health.SWITCHES), or the tag of a batch to issue.
    """
    match kind:
        case "retry":
            return actions.retry_transfer(database, subject, by, policy, now)
        case "abandon":
            return actions.abandon_transfer(database, subject, by, policy, now)
        case "recover":
            return recover_credit(database, subject, by, policy, now)
        case "replay":
            return replay_event(database, subject, by, policy, now)[0]
        case "resolve":
            number = int(subject) if subject.isascii() and subject.isdigit() else 0
            return actions.close_attention(database, number, by, now)
        case "pause":
            return actions.pause(database, cast(Pausable, subject), by, now)
        case "resume":
            return actions.resume(database, cast(Pausable, subject), by, now)
        case "issue":
            return actions.request_batch(database, subject, by, now)
    raise ValueError(f"{kind!r} is no action of the database")
