"""The lists: what needs attention, transfers, credits, and what operators did."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from payments.money import format_brl
from repasse.group import DONE, command
from repasse.language import _
from repasse.opening import open_to_read, read_tax_id_key
from repasse.options import Amount, paged, period
from repasse.output import Column, Times, table, to_json

if TYPE_CHECKING:
    from payments.operator.lists import Page

# As in transfer.py, which takes a tenth of a second to import; a test compares.
INVOICE_STATES = ("planned", "open", "overdue", "expired", "canceled", "paid", "credited")
STATES = ("pending", "sending", "sent", "settled", "failed", "dead", "stopped", "abandoned")


@command(_("List what needs attention."), "repasse job attention", "repasse job attention --all --limit 200")
@click.option("--all", "is_all", is_flag=True, help=_("Resolved items too."))
@paged
def attention(is_all: bool, limit: int, after: str | None, as_json: bool) -> int:
    from payments.operator.lists import list_attentions

    database, times = open_to_read(), Times()
    return _list(
        lambda cursor, number: list_attentions(database, cursor, number, open_only=not is_all),
        limit,
        after,
        as_json,
        (
            *(
                Column(_("number"), "number"),
                Column(_("kind")),
                Column(_("subject")),
                Column(_("detail"), "text"),
            ),
            *(Column(_("raised")), *([Column(_("resolved"))] if is_all else [])),
        ),
        lambda line: (
            *(line.id, line.kind, line.subject, line.detail, times.moment(line.raised_at)),
            *((times.moment(line.resolved_at),) if is_all else ()),
        ),
        _("nothing needs attention"),
    )


@command(
    _("List transfers, newest first."),
    "repasse job transfers --state dead",
    "repasse job transfers --json | jq '.items[].external_id'",
)
@click.option("--state", type=click.Choice(STATES), help=_("Only those in this state."))
@paged
def transfers(state: str | None, limit: int, after: str | None, as_json: bool) -> int:
    from payments.operator.lists import list_transfers

    database, times = open_to_read(), Times()
    return _list(
        lambda cursor, number: list_transfers(database, cursor, state=state, limit=number),
        limit,
        after,
        as_json,
        (
            *(Column(_("external id")), Column(_("amount"), "number"), Column(_("state"), "state")),
            *(Column(_("reason"), "text"), Column(_("created")), Column(_("attempts"), "number")),
            *(Column(_("due")), Column(_("settled")), Column(_("bank id"))),
        ),
        lambda line: (
            *(line.external_id, format_brl(line.amount_centavos), line.shown_state, line.reason),
            *(times.moment(line.created_at), line.attempt, times.moment(line.due_at)),
            *(times.moment(line.settled_at), line.bank_transfer_id),
        ),
        _("no transfers"),
    )


@command(
    _("List credits, newest first."),
    "repasse job credits --amount 1.234,56",
    "repasse job credits --from 01/03/2026 --to 02/03/2026",
)
@click.option("--amount", type=Amount(), help=_("Gross or net, like 1.234,56."))
@period
@paged
def credits(
    amount: int | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> int:
    from payments.operator.filters import Filter
    from payments.operator.lists import list_credits

    database, times = open_to_read(), Times()
    return _list(
        lambda cursor, number: list_credits(database, cursor, Filter(since, until, amount), limit=number),
        limit,
        after,
        as_json,
        (
            *(
                Column(_("invoice")),
                Column(_("net"), "number"),
                Column(_("state"), "state"),
                Column(_("recorded")),
            ),
            *(Column(_("gross"), "number"), Column(_("fee"), "number"), Column(_("transfer"))),
            *(Column(_("to claim back"), "number"), Column(_("recovered"), "number")),
        ),
        lambda line: (
            *(line.invoice_id, format_brl(line.net_centavos), line.transfer_state or line.disposition),
            *(times.moment(line.recorded_at), format_brl(line.gross_centavos), format_brl(line.fee_centavos)),
            line.external_id,
            *(
                format_brl(each) if each else None
                for each in (line.claim_back_centavos, line.recovered_centavos)
            ),
        ),
        _("no credits"),
    )


@command(
    _("List invoices, newest first."),
    "repasse job invoices --state paid",
    "repasse job invoices --payer 'ana souza' --amount 1.234,56",
)
@click.option("--state", type=click.Choice(INVOICE_STATES), help=_("Only those in this state."))
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
    limit: int,
    after: str | None,
    as_json: bool,
) -> int:
    from payments.operator.filters import Filter
    from payments.operator.invoices import list_invoices

    database, times = open_to_read(), Times()
    where = Filter(since, until, amount, payer, read_tax_id_key())
    return _list(
        lambda cursor, number: list_invoices(database, cursor, where, state, limit=number),
        limit,
        after,
        as_json,
        (
            *(
                Column(_("invoice")),
                Column(_("amount"), "number"),
                Column(_("state"), "state"),
                Column(_("payer"), "text"),
            ),
            *(
                Column(_("recorded")),
                Column(_("due")),
                Column(_("paid")),
                Column(_("tax id")),
                Column(_("tag")),
            ),
        ),
        lambda line: (
            *(line.key, format_brl(line.amount_centavos), line.became, line.payer_name),
            *(times.moment(line.recorded_at), times.moment(line.due_at), times.moment(line.paid_at)),
            *(line.payer_tax_id, line.tag),
        ),
        _("no invoices"),
    )


@command(_("List what operators did, newest first."), "repasse job actions --limit 200")
@paged
def actions(limit: int, after: str | None, as_json: bool) -> int:
    from payments.operator.lists import list_actions

    database, times = open_to_read(), Times()
    return _list(
        lambda cursor, number: list_actions(database, cursor, limit=number),
        limit,
        after,
        as_json,
        (
            *(Column(_("at")), Column(_("who"), "text"), Column(_("action")), Column(_("target"), "text")),
            *(Column(_("reason"), "text"), Column(_("result"), "text")),
        ),
        lambda line: (times.moment(line.at), line.who, line.kind, line.subject, line.reason, line.result),
        _("no actions yet"),
    )


def _list(
    read: Callable[[str | None, int], "Page[Any]"],
    limit: int,
    after: str | None,
    as_json: bool,
    columns: Sequence[Column],
    row: Callable[[Any], Sequence[object]],
    empty: str,
) -> int:
    items: list[Any] = []
    while len(items) < limit:
        try:
            page = read(after, limit - len(items))
        except ValueError as error:  # a cursor that no list gave
            raise click.BadParameter(str(error), param_hint="--after") from None
        items += page.items
        after = page.next
        if after is None:
            break
    if as_json:
        click.echo(to_json({"items": items, "next": after}))
        return DONE
    click.echo("\n".join(table(columns, map(row, items))) if items else empty)
    if after is not None:
        click.echo(_("more: --after %(cursor)s", cursor=after))
    return DONE
