"""The lists: what needs attention, transfers, credits, and what operators did."""

from collections.abc import Sequence
from dataclasses import replace
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
from repasse.opening import open_to_read
from repasse.options import Amount, Paging, paged, period
from repasse.output import Column, table


@command(_("List what needs attention."), "repasse job attention", "repasse job attention --all --limit 200")
@click.option("--all", "is_all", is_flag=True, help=_("Resolved items too."))
@paged
def attention(is_all: bool, paging: Paging) -> int:
    resolved = Column(_("resolved"), lambda line: line.resolved_at)
    return _list(
        ATTENTIONS,
        paging,
        [
            Column(_("number"), lambda line: line.id, "number"),
            Column(_("kind"), lambda line: line.kind),
            Column(_("subject"), lambda line: line.subject),
            Column(_("detail"), lambda line: line.detail, "text"),
            Column(_("raised"), lambda line: line.raised_at),
            *([resolved] if is_all else []),
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
    return _list(
        TRANSFERS,
        paging,
        [
            Column(_("external id"), lambda line: line.external_id),
            Column(_("amount"), lambda line: format_brl(line.amount_centavos), "number"),
            Column(_("state"), lambda line: line.shown_state, "state"),
            Column(_("reason"), lambda line: line.reason, "text"),
            Column(_("created"), lambda line: line.created_at),
            Column(_("attempts"), lambda line: line.attempt, "number"),
            Column(_("due"), lambda line: line.due_at),
            Column(_("settled"), lambda line: line.settled_at),
            Column(_("bank id"), lambda line: line.bank_transfer_id),
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
    return _list(
        CREDITS,
        paging,
        [
            Column(_("invoice"), lambda line: line.invoice_id),
            Column(_("net"), lambda line: format_brl(line.net_centavos), "number"),
            Column(_("state"), lambda line: line.transfer_state or line.disposition, "state"),
            Column(_("recorded"), lambda line: line.recorded_at),
            Column(_("gross"), lambda line: format_brl(line.gross_centavos), "number"),
            Column(_("fee"), lambda line: format_brl(line.fee_centavos), "number"),
            Column(_("transfer"), lambda line: line.external_id),
            Column(_("to claim back"), lambda line: _if_any(line.claim_back_centavos), "number"),
            Column(_("recovered"), lambda line: _if_any(line.recovered_centavos), "number"),
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
    return _list(
        INVOICES,
        paging,
        [
            Column(_("invoice"), lambda line: line.key),
            Column(_("amount"), lambda line: format_brl(line.amount_centavos), "number"),
            Column(_("state"), lambda line: line.became, "state"),
            Column(_("payer"), lambda line: line.payer_name, "text"),
            Column(_("recorded"), lambda line: line.recorded_at),
            Column(_("due"), lambda line: line.due_at),
            Column(_("paid"), lambda line: line.paid_at),
            Column(_("tax id"), lambda line: line.payer_tax_id),
            Column(_("tag"), lambda line: line.tag),
        ],
        _("no invoices"),
        Filter(since, until, amount, payer),
        state,
    )


@command(_("List what operators did, newest first."), "repasse job actions --limit 200")
@paged
def actions(paging: Paging) -> int:
    return _list(
        ACTIONS,
        paging,
        [
            Column(_("at"), lambda line: line.at),
            Column(_("who"), lambda line: line.who, "text"),
            Column(_("action"), lambda line: line.kind),
            Column(_("target"), lambda line: line.subject, "text"),
            Column(_("reason"), lambda line: line.reason, "text"),
            Column(_("result"), lambda line: line.result, "text"),
        ],
        _("no actions yet"),
    )


def _if_any(centavos: int) -> str | None:
    return format_brl(centavos) if centavos else None


def _list(
    listing: Listing[Any],
    paging: Paging,
    columns: Sequence[Column],
    empty: str,
    where: Filter = NO_FILTER,
    choice: str | None = None,
) -> int:
    opened = open_to_read()
    where = replace(where, tax_id_key=opened.settings.tax_id_search_key)
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
    click.echo("\n".join(table(columns, items, opened.times)) if items else empty)
    if after is not None:
        click.echo(_("more: --after %(cursor)s", cursor=after))
    return DONE
