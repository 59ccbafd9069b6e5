"""The lists: what needs attention, transfers, credits, and what operators did."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from payments.money import format_brl
from payments.operator.export import to_json
from payments.operator.filters import NO_FILTER, Filter
from payments.operator.invoices import INVOICES
from payments.operator.lists import ACTIONS, ATTENTIONS, CREDITS, TRANSFERS, Listing
from repasse.group import DONE, command
from repasse.language import _
from repasse.opening import Opened, open_to_read
from repasse.options import Amount, Paging, paged, period
from repasse.output import Column, table

# A column, and what of a line stands in it.
_Columns = Sequence[tuple[Column, Callable[[Any], object]]]


@command(_("List what needs attention."), "repasse job attention", "repasse job attention --all --limit 200")
@click.option("--all", "is_all", is_flag=True, help=_("Resolved items too."))
@paged
def attention(is_all: bool, paging: Paging) -> int:
    opened = open_to_read()
    times = opened.times
    resolved: _Columns = [(Column(_("resolved")), lambda line: times.moment(line.resolved_at))]
    return _list(
        opened,
        ATTENTIONS,
        paging,
        [
            (Column(_("number"), "number"), lambda line: line.id),
            (Column(_("kind")), lambda line: line.kind),
            (Column(_("subject")), lambda line: line.subject),
            (Column(_("detail"), "text"), lambda line: line.detail),
            (Column(_("raised")), lambda line: times.moment(line.raised_at)),
            *(resolved if is_all else []),
        ],
        _("nothing needs attention"),
        choice=None if is_all else "open",
    )


@command(
    _("List transfers, newest first."),
    "repasse job transfers --state dead",
    "repasse job transfers --json | jq '.items[].external_id'",
)
@click.option(
    "--state", type=click.Choice(tuple(map(str, TRANSFERS.choices))), help=_("Only those in this state.")
)
@paged
def transfers(state: str | None, paging: Paging) -> int:
    opened = open_to_read()
    times = opened.times
    return _list(
        opened,
        TRANSFERS,
        paging,
        [
            (Column(_("external id")), lambda line: line.external_id),
            (Column(_("amount"), "number"), lambda line: format_brl(line.amount_centavos)),
            (Column(_("state"), "state"), lambda line: line.shown_state),
            (Column(_("reason"), "text"), lambda line: line.reason),
            (Column(_("created")), lambda line: times.moment(line.created_at)),
            (Column(_("attempts"), "number"), lambda line: line.attempt),
            (Column(_("due")), lambda line: times.moment(line.due_at)),
            (Column(_("settled")), lambda line: times.moment(line.settled_at)),
            (Column(_("bank id")), lambda line: line.bank_transfer_id),
        ],
        _("no transfers"),
        choice=state,
    )


@command(
    _("List credits, newest first."),
    "repasse job credits --amount 1.234,56",
    "repasse job credits --from 01/03/2026 --to 02/03/2026",
)
@click.option("--amount", type=Amount(), help=_("Gross or net, like 1.234,56."))
@period
@paged
def credits(amount: int | None, since: datetime | None, until: datetime | None, paging: Paging) -> int:
    opened = open_to_read()
    times = opened.times
    return _list(
        opened,
        CREDITS,
        paging,
        [
            (Column(_("invoice")), lambda line: line.invoice_id),
            (Column(_("net"), "number"), lambda line: format_brl(line.net_centavos)),
            (Column(_("state"), "state"), lambda line: line.transfer_state or line.disposition),
            (Column(_("recorded")), lambda line: times.moment(line.recorded_at)),
            (Column(_("gross"), "number"), lambda line: format_brl(line.gross_centavos)),
            (Column(_("fee"), "number"), lambda line: format_brl(line.fee_centavos)),
            (Column(_("transfer")), lambda line: line.external_id),
            (Column(_("to claim back"), "number"), lambda line: _if_any(line.claim_back_centavos)),
            (Column(_("recovered"), "number"), lambda line: _if_any(line.recovered_centavos)),
        ],
        _("no credits"),
        Filter(since, until, amount),
    )


@command(
    _("List invoices, newest first."),
    "repasse job invoices --state paid",
    "repasse job invoices --payer 'ana souza' --amount 1.234,56",
)
@click.option(
    "--state", type=click.Choice(tuple(map(str, INVOICES.choices))), help=_("Only those in this state.")
)
@click.option("--amount", type=Amount(), help=_("Like 1.234,56."))
@click.option("--payer", help=_("A part of the name, or a whole CPF or CNPJ."))
@period
@paged
def invoices(
    state: str | None,
    amount: int | None,
    payer: str | None,
    since: datetime | None,
    until: datetime | None,
    paging: Paging,
) -> int:
    opened = open_to_read()
    times = opened.times
    return _list(
        opened,
        INVOICES,
        paging,
        [
            (Column(_("invoice")), lambda line: line.key),
            (Column(_("amount"), "number"), lambda line: format_brl(line.amount_centavos)),
            (Column(_("state"), "state"), lambda line: line.became),
            (Column(_("payer"), "text"), lambda line: line.payer_name),
            (Column(_("recorded")), lambda line: times.moment(line.recorded_at)),
            (Column(_("due")), lambda line: times.moment(line.due_at)),
            (Column(_("paid")), lambda line: times.moment(line.paid_at)),
            (Column(_("tax id")), lambda line: line.payer_tax_id),
            (Column(_("tag")), lambda line: line.tag),
        ],
        _("no invoices"),
        Filter(since, until, amount, payer, opened.settings.tax_id_search_key),
        state,
    )


@command(_("List what operators did, newest first."), "repasse job actions --limit 200")
@paged
def actions(paging: Paging) -> int:
    opened = open_to_read()
    times = opened.times
    return _list(
        opened,
        ACTIONS,
        paging,
        [
            (Column(_("at")), lambda line: times.moment(line.at)),
            (Column(_("who"), "text"), lambda line: line.who),
            (Column(_("action")), lambda line: line.kind),
            (Column(_("target"), "text"), lambda line: line.subject),
            (Column(_("reason"), "text"), lambda line: line.reason),
            (Column(_("result"), "text"), lambda line: line.result),
        ],
        _("no actions yet"),
    )


def _if_any(centavos: int) -> str | None:
    return format_brl(centavos) if centavos else None


def _list(
    opened: Opened,
    listing: Listing[Any],
    paging: Paging,
    columns: _Columns,
    empty: str,
    where: Filter = NO_FILTER,
    choice: str | None = None,
) -> int:
    items: list[Any] = []
    after = paging.after
    while len(items) < paging.limit:
        try:
            page = listing.read(opened.database, after, where, choice, paging.limit - len(items))
        except ValueError as error:  # a cursor that no list gave
            raise click.BadParameter(str(error), param_hint="--after") from None
        items += page.items
        after = page.next
        if after is None:
            break
    if paging.as_json:
        click.echo(to_json({"items": items, "next": after}))
        return DONE
    rows = [[of(line) for _column, of in columns] for line in items]
    click.echo("\n".join(table([column for column, _of in columns], rows)) if items else empty)
    if after is not None:
        click.echo(_("more: --after %(cursor)s", cursor=after))
    return DONE
