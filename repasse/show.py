"""Everything about one invoice, credit, event or batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from payments.language import language_of
from payments.money import format_brl
from repasse.group import DONE, LEFT, command
from repasse.opening import open_to_read, read_tax_id_key
from repasse.options import json_option
from repasse.output import Column, Times, plain, styled, table, to_json

if TYPE_CHECKING:
    from payments.operator.invoices import InvoicePage
    from payments.operator.search import Found
    from payments.operator.timeline import BatchInvoices, CreditTimeline, StoredEvent


@command(
    "Show everything about one invoice, credit, event or batch. ID is of an invoice, transfer (ours or the bank's), "
    "event, log or batch, or its first digits; or a payer's name, CPF or CNPJ, or an amount.",
    "repasse job show 5000000000000001",
    "repasse job show credit-5000000000000001 --json",
)
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> int:
    from payments.operator import timeline
    from payments.operator.invoices import read_invoice
    from payments.operator.search import search

    database, times = open_to_read(), Times()
    found = search(database, id, read_tax_id_key())
    if not found:
        click.echo(f"repasse: nothing has the id {plain(id)[:100]!r}", err=True)
        return LEFT
    kind, id_ = _page(found[0])
    others = [hit for hit in found[1:] if _page(hit) != (kind, id_)]
    others = list({(hit.kind, hit.id): hit for hit in others}.values())
    details: Any
    write: Callable[[Any, Times], list[str]]
    match kind:
        case "credit":
            details, write = timeline.read_credit(database, id_), _write_credit
        case "invoice":
            details, write = read_invoice(database, id_), _write_invoice
        case "batch":
            details, write = timeline.read_batch(database, int(id_)), _write_batch
        case _:
            details, write = timeline.read_stored_event(database, id_), _write_event
    if as_json:
        click.echo(to_json({"kind": kind, "details": details, "others": others}))
        return DONE
    click.echo("\n".join(write(details, times)))
    for hit in others:
        click.echo(f"see also  {hit.kind} {plain(hit.id)}: {plain(hit.title)}")
    return DONE


def _page(hit: "Found") -> tuple[str, str]:
    """A transfer is part of its credit's timeline."""
    return ("credit" if hit.kind == "transfer" else hit.kind, hit.id)


def _write_credit(found: "CreditTimeline", times: Times) -> list[str]:
    from payments.operator.wording import account_text

    credit = found.credit
    lines = [
        f"credit    {plain(credit.invoice_id)}, recorded {times.moment(credit.recorded_at)}",
        f"money     {format_brl(credit.gross_centavos)} gross, {format_brl(credit.fee_centavos)} fee, "
        f"{format_brl(credit.net_centavos)} net; {format_brl(found.owed_centavos)} to forward",
        *([f"payer     Pix {found.payer_end_to_end_id}"] if found.payer_end_to_end_id else []),
        *(
            f"transfer  {plain(each.external_id)}: {format_brl(each.amount_centavos)}, {each.shown_state}"
            + (f", bank id {plain(each.bank_transfer_id)}" if each.bank_transfer_id else "")
            + f"\n          to {plain(account_text(each.destination, language_of('en')))}"
            for each in found.transfers
        ),
        "",
    ]
    for entry in found.entries:
        at = times.moment(entry.at)
        lines.append(f"{at}  {styled(plain(entry.title), bold=True)}")
        indent = " " * len(at)
        if entry.detail:
            lines.append(f"{indent}  {plain(entry.detail)}")
        lines.append(f"{indent}  {', '.join(f'{label} {plain(id_)}' for label, id_ in entry.ids.items())}")
    return lines


def _write_invoice(found: "InvoicePage", times: Times) -> list[str]:
    from payments.operator.invoices import explain

    invoice = found.invoice
    return [
        f"invoice   {plain(invoice.key)}, {format_brl(invoice.amount_centavos)}, {invoice.state}",
        f"payer     {plain(invoice.payer_name or '-')}, {invoice.payer_tax_id or '-'}",
        f"times     issued {times.moment(invoice.issued_at)}, due {times.moment(invoice.due_at)}, "
        f"paid {times.moment(invoice.paid_at)}",
        *([f"batch     {found.batch_tag}, {found.batch_state}"] if found.batch_tag else []),
        *([f"tags      {plain(', '.join(found.tags))}"] if found.tags else []),
        *([f"link      {plain(found.link)}"] if found.link else []),
        *(
            f"event     {plain(each.event_id)}: {plain(each.log_type)}, {times.moment(each.received_at)}"
            for each in found.events
        ),
        "",
        *map(plain, explain(found, language_of("en"), times.moment)),
    ]


def _write_event(event: "StoredEvent", times: Times) -> list[str]:
    line = event.line
    return [
        f"event      {plain(line.event_id)}, by {line.source}, received {times.moment(line.received_at)}",
        f"about      {plain(line.subscription)} {plain(line.log_type)} {plain(line.subject or '')}".rstrip(),
        f"outcome    {line.outcome}" + (f": {plain(line.reason)}" if line.reason else ""),
        f"signature  {plain(event.digital_signature or 'none: fetched by reconciliation')}",
        f"sha256     {event.sha256}",
        "",
        plain(event.body.decode("utf-8", "replace")),
    ]


def _write_batch(found: "BatchInvoices", times: Times) -> list[str]:
    batch = found.batch
    slot = "by hand" if batch.slot is None else f"slot {batch.slot + 1}"
    return [
        f"batch     {batch.tag}, {slot}, {batch.state}{', late' if batch.late else ''}",
        f"times     due {times.moment(batch.due_at)}, issued {times.moment(batch.issued_at)}, attempts {batch.attempt}",
        f"invoices  {batch.planned_invoices} planned, {batch.issued_invoices} issued, "
        f"{batch.credited_invoices} credited",
        *([f"reason    {plain(batch.reason)}"] if batch.reason else []),
        "",
        *table(
            (
                *(Column("tag"), Column("amount", "number"), Column("state", "state")),
                *(Column("payer", "text"), Column("tax id"), Column("bank id")),
            ),
            (
                (
                    *(each.tag, format_brl(each.amount_centavos), each.became),
                    *(each.payer_name, each.payer_tax_id, each.bank_invoice_id),
                )
                for each in found.invoices
            ),
        ),
    ]
