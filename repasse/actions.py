"""What an operator does, each recorded with who, when and why; see payments/operator/actions.py."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from repasse.group import DONE, command
from repasse.language import _
from repasse.opening import open_to_act
from repasse.options import Moment, WholeNumber, operator
from repasse.output import plain

if TYPE_CHECKING:
    from payments.ledger.inbox import Receipt
    from payments.ledger.pauses import Pausable
    from payments.operator.actions import Action

# As in ledger/pauses.py, which takes a tenth of a second to import; a test compares.
SWITCHES = ("forwarding", "issuing")

# A transfer is named by its external_id.
_external_id = click.argument("external_id")
_switch = click.argument("switch", type=click.Choice(SWITCHES))


@command(
    _("Retry a blocked transfer, or one that waits. The bank is asked for it before anything is sent."),
    'repasse job retry credit-5000000000000001 --reason "the account is open again"',
)
@_external_id
@operator()
def retry(external_id: str, who: str, reason: str) -> int:
    from payments.operator.actions import retry_transfer

    opened = open_to_act(who, reason)
    return _say(retry_transfer(opened.database, external_id, opened.by, opened.policy, opened.clock()))


@command(
    _("Never send a blocked transfer. For one that was paid manually, for instance."),
    'repasse job abandon credit-5000000000000001 --reason "paid manually"',
)
@_external_id
@operator()
def abandon(external_id: str, who: str, reason: str) -> int:
    from payments.operator.actions import abandon_transfer

    opened = open_to_act(who, reason)
    return _say(abandon_transfer(opened.database, external_id, opened.by, opened.policy, opened.clock()))


@command(
    _("Record that money to claim back has come back. It was forwarded before its credit was reversed."),
    'repasse job recover 5000000000000001 --reason "returned by Pix today"',
)
@click.argument("invoice_id")
@operator()
def recover(invoice_id: str, who: str, reason: str) -> int:
    from payments.operator.recovery import recover_credit

    opened = open_to_act(who, reason)
    return _say(recover_credit(opened.database, invoice_id, opened.by, opened.policy, opened.clock()))


@command(
    _("Mark an attention item as dealt with. NUMBER is as `repasse job attention` shows it."),
    'repasse job resolve 5 --reason "the payer was refunded"',
)
@click.argument("number", type=WholeNumber(min=1))
@operator()
def resolve(number: int, who: str, reason: str) -> int:
    from payments.operator.actions import close_attention

    opened = open_to_act(who, reason)
    return _say(close_attention(opened.database, number, opened.by, opened.clock()))


@command(
    _("Process a stored event again, or all since a time. Harmless for those that had their effect."),
    'repasse job replay 6000000000000001 --reason "this version reads it"',
    'repasse job replay --since "02/03/2026 09:00" --reason "this version reads them"',
)
@click.argument("event", required=False)
@click.option("--since", type=Moment(), help=_("Every event received since then."))
@operator()
def replay(event: str | None, since: datetime | None, who: str, reason: str) -> int:
    from payments.operator.replay import replay_event, replay_since

    if (event is None) == (since is None):
        raise click.UsageError(_("name one event, or give --since"))
    opened = open_to_act(who, reason)
    if since is None:
        done, _receipt = replay_event(opened.database, str(event), opened.by, opened.policy, opened.clock())
        return _say(done)
    done, receipts = replay_since(opened.database, since, opened.by, opened.policy, opened.clock())
    return _say(done, receipts)


@command(
    _("Stop forwarding or issuing, until resumed. In every process."),
    'repasse job pause forwarding --reason "the account is blocked"',
)
@_switch
@operator()
def pause(switch: "Pausable", who: str, reason: str) -> int:
    from payments.operator import actions

    opened = open_to_act(who, reason)
    return _say(actions.pause(opened.database, switch, opened.by, opened.clock()))


@command(_("Resume what was paused."), 'repasse job resume forwarding --reason "the account is open"')
@_switch
@operator()
def resume(switch: "Pausable", who: str, reason: str) -> int:
    from payments.operator import actions

    opened = open_to_act(who, reason)
    return _say(actions.resume(opened.database, switch, opened.by, opened.clock()))


def _say(done: "Action", receipts: "Sequence[Receipt]" = ()) -> int:
    for receipt in receipts:
        click.echo(f"{plain(receipt.event_id)}: {receipt.outcome} {plain(receipt.subject or '')}".rstrip())
    click.echo(f"{done.kind} {plain(done.subject)}: {plain(done.result)}")
    return DONE
