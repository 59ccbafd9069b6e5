"""The commands that act on the books. Each act is recorded with who, when and why; see payments/operator/actions.py."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime

from payments.ledger.inbox import Receipt
from payments.operator import actions as acts
from payments.operator import replay
from payments.operator.actions import Act, Operator
from payments.settings import Settings
from payments.storage.database import Database
from scripts.job.view import plain

DONE = 0


def act(database: Database, arguments: Namespace, settings: Settings, by: Operator, now: datetime) -> int:
    """Do what was asked, and say what came of it. Raises ActRefused when it is not legal now."""
    if arguments.command == "replay":
        return _replay(database, arguments, settings, by, now)
    done = _do(database, arguments, settings, by, now)
    print(f"{done.kind} {plain(done.subject)}: {plain(done.result)}")
    return DONE


def _do(database: Database, arguments: Namespace, settings: Settings, by: Operator, now: datetime) -> Act:
    match arguments.command:
        case "retry":
            return acts.retry_transfer(database, arguments.external_id, by, settings.forwarding_policy, now)
        case "abandon":
            return acts.abandon_transfer(database, arguments.external_id, by, settings.forwarding_policy, now)
        case "resolve":
            return acts.resolve_attention(database, arguments.attention_id, by, now)
        case "pause":
            return acts.pause(database, arguments.switch, by, now)
        case _:
            return acts.resume(database, arguments.switch, by, now)


def _replay(database: Database, arguments: Namespace, settings: Settings, by: Operator, now: datetime) -> int:
    policy = settings.forwarding_policy
    news: Sequence[Receipt] = ()
    if arguments.since is None:
        done, _ = replay.replay_event(database, arguments.event_id, by, policy, now)
    else:
        done, news = replay.replay_since(database, arguments.since, by, policy, now)
    for receipt in news:
        print(f"{plain(receipt.event_id)}: {receipt.outcome} {plain(receipt.subject or '')}".rstrip())
    print(f"replay {plain(done.subject)}: {plain(done.result)}")
    return DONE
