"""What an operator does, each recorded with who, when and why; see payments/operator/actions.py."""

from datetime import datetime

import click

from payments.operator.actions import Action
from payments.operator.health import SWITCHES
from payments.operator.perform import perform
from payments.operator.replay import replay_since
from repasse.group import DONE, command
from repasse.language import _
from repasse.opening import open_to_act
from repasse.options import Moment, WholeNumber, operator
from repasse.output import plain

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
    return _act("retry", external_id, who, reason)


@command(
    _("Never send a blocked transfer. For one that was paid manually, for instance."),
    'repasse job abandon credit-5000000000000001 --reason "paid manually"',
)
@_external_id
@operator()
def abandon(external_id: str, who: str, reason: str) -> int:
    return _act("abandon", external_id, who, reason)


@command(
    _("Record that money to claim back has come back. It was forwarded before its credit was reversed."),
    'repasse job recover 5000000000000001 --reason "returned by Pix today"',
)
@click.argument("invoice_id")
@operator()
def recover(invoice_id: str, who: str, reason: str) -> int:
    return _act("recover", invoice_id, who, reason)


@command(
    _("Mark an attention item as dealt with. NUMBER is as `repasse job attention` shows it."),
    'repasse job resolve 5 --reason "the payer was refunded"',
)
@click.argument("number", type=WholeNumber(min=1))
@operator()
def resolve(number: int, who: str, reason: str) -> int:
    return _act("resolve", str(number), who, reason)


@command(
    _("Process a stored event again, or all since a time. Harmless for those that had their effect."),
    'repasse job replay 6000000000000001 --reason "this version reads it"',
    'repasse job replay --since "02/03/2026 09:00" --reason "this version reads them"',
)
@click.argument("event", required=False)
@click.option("--since", type=Moment(), help=_("Every event received since then."))
@operator()
def replay(event: str | None, since: datetime | None, who: str, reason: str) -> int:
    if (event is None) == (since is None):
        raise click.UsageError(_("name one event, or give --since"))
    if since is None:
        return _act("replay", str(event), who, reason)
    opened, by = open_to_act(who, reason)
    done, receipts = replay_since(opened.database, since, by, opened.policy, opened.clock())
    for receipt in receipts:
        click.echo(f"{plain(receipt.event_id)}: {receipt.outcome} {plain(receipt.subject or '')}".rstrip())
    return _say(done)


@command(
    _("Stop forwarding or issuing, until resumed. In every process."),
    'repasse job pause forwarding --reason "the account is blocked"',
)
@_switch
@operator()
def pause(switch: str, who: str, reason: str) -> int:
    return _act("pause", switch, who, reason)


@command(_("Resume what was paused."), 'repasse job resume forwarding --reason "the account is open"')
@_switch
@operator()
def resume(switch: str, who: str, reason: str) -> int:
    return _act("resume", switch, who, reason)


def _act(kind: str, subject: str, who: str, reason: str) -> int:
    opened, by = open_to_act(who, reason)
    return _say(perform(opened.database, kind, subject, by, opened.policy, opened.clock()))


def _say(done: Action) -> int:
    click.echo(f"{done.kind} {plain(done.subject)}: {plain(done.result)}")
    return DONE
