"""Everything about one invoice, credit, event or batch."""

from collections.abc import Callable
from typing import Any

import click

from payments.money import format_brl
from payments.operator.export import to_json
from payments.operator.invoices import InvoicePage, explain, read_invoice
from payments.operator.search import Found, search
from payments.operator.timeline import (
    BatchInvoices,
    CreditTimeline,
    StoredEvent,
    read_batch,
    read_credit,
    read_stored_event,
)
from payments.operator.wording import account_text
from repasse.group import DONE, LEFT, command
from repasse.language import _, language
from repasse.opening import open_to_read
from repasse.options import json_option
from repasse.output import Column, Times, plain, styled, table


@command(
    _(
        "Show everything about one invoice, credit, event or batch. ID is of an invoice, transfer (ours or the "
        "bank's), event, log or batch, or its first digits; or a payer's name, CPF or CNPJ, or an amount."
    ),
    "repasse job show 5000000000000001",
    "repasse job show credit-5000000000000001 --json",
)
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> int:
    opened = open_to_read()
    database = opened.database
    found = search(database, id, opened.settings.tax_id_search_key)
    if not found:
        click.echo(f"repasse: {_('nothing has the id %(id)s', id=repr(plain(id)[:100]))}", err=True)
        return LEFT
    kind, id_ = _page(found[0])
    others = [hit for hit in found[1:] if _page(hit) != (kind, id_)]
    others = list({(hit.kind, hit.id): hit for hit in others}.values())
    details: Any
    write: Callable[[Any, Times], list[str]]
    match kind:
        case "credit":
            details, write = read_credit(database, id_), _write_credit
        case "invoice":
            details, write = read_invoice(database, id_), _write_invoice
        case "batch":
            details, write = read_batch(database, int(id_)), _write_batch
        case _:
            details, write = read_stored_event(database, id_), _write_event
    if as_json:
        click.echo(to_json({"kind": kind, "details": details, "others": others}))
        return DONE
    click.echo("\n".join(write(details, opened.times)))
    for hit in others:
        amount = format_brl(hit.amount_centavos) if hit.amount_centavos else None
        about = ", ".join(filter(None, (hit.name, amount, hit.state)))
        click.echo("\n".join(_facts((_("see also"), f"{hit.kind} {plain(hit.id)}: {plain(about)}"))))
    return DONE


def _page(hit: Found) -> tuple[str, str]:
    """A transfer is part of its credit's timeline."""
    return ("credit" if hit.kind == "transfer" else hit.kind, hit.id)


def _write_credit(found: CreditTimeline, times: Times) -> list[str]:
    credit = found.credit
    lines = _facts(
        (
            _("credit"),
            _("%(id)s, recorded %(at)s", id=plain(credit.invoice_id), at=times.moment(credit.recorded_at)),
        ),
        (
            _("money"),
            _(
                "%(gross)s gross, %(fee)s fee, %(net)s net; %(owed)s to forward",
                gross=format_brl(credit.gross_centavos),
                fee=format_brl(credit.fee_centavos),
                net=format_brl(credit.net_centavos),
                owed=format_brl(found.owed_centavos),
            ),
        ),
        (_("payer"), found.payer_end_to_end_id and f"Pix {found.payer_end_to_end_id}"),
    )
    for each in found.transfers:
        about = f"{plain(each.external_id)}: {format_brl(each.amount_centavos)}, {each.shown_state}"
        bank_id = each.bank_transfer_id and _("bank id %(id)s", id=plain(each.bank_transfer_id))
        to = _("to %(account)s", account=plain(account_text(each.destination, language)))
        lines += _facts((_("transfer"), about), ("", bank_id), ("", to))
    lines.append("")
    for entry in found.entries:
        at = times.moment(entry.at)
        lines.append(f"{at}  {styled(plain(entry.title), bold=True)}")
        indent = " " * len(at)
        if entry.detail:
            lines.append(f"{indent}  {plain(entry.detail)}")
        lines.append(f"{indent}  {', '.join(f'{label} {plain(id_)}' for label, id_ in entry.ids.items())}")
    return lines


def _write_invoice(found: InvoicePage, times: Times) -> list[str]:
    invoice = found.invoice
    dates = _(
        "issued %(issued)s, due %(due)s, paid %(paid)s",
        issued=times.moment(invoice.issued_at),
        due=times.moment(invoice.due_at),
        paid=times.moment(invoice.paid_at),
    )
    return [
        *_facts(
            (_("invoice"), f"{plain(invoice.key)}, {format_brl(invoice.amount_centavos)}, {invoice.state}"),
            (_("payer"), f"{plain(invoice.payer_name or '-')}, {invoice.payer_tax_id or '-'}"),
            (_("times"), dates),
            (_("batch"), found.batch_tag and f"{found.batch_tag}, {found.batch_state}"),
            (_("tags"), plain(", ".join(found.tags))),
            (_("link"), plain(found.link or "")),
            *(
                (
                    _("event"),
                    f"{plain(each.event_id)}: {plain(each.log_type)}, {times.moment(each.received_at)}",
                )
                for each in found.events
            ),
        ),
        "",
        *map(plain, explain(found, language, times.moment)),
    ]


def _write_event(event: StoredEvent, times: Times) -> list[str]:
    line = event.line
    received = _(
        "%(id)s, by %(source)s, received %(at)s",
        id=plain(line.event_id),
        source=line.source,
        at=times.moment(line.received_at),
    )
    return [
        *_facts(
            (_("event"), received),
            (
                _("about"),
                f"{plain(line.subscription)} {plain(line.log_type)} {plain(line.subject or '')}".rstrip(),
            ),
            (_("outcome"), f"{line.outcome}: {plain(line.reason)}" if line.reason else line.outcome),
            (_("signature"), plain(event.digital_signature or _("none: fetched by reconciliation"))),
            ("sha256", event.sha256),
        ),
        "",
        plain(event.body.decode("utf-8", "replace")),
    ]


def _write_batch(found: BatchInvoices, times: Times) -> list[str]:
    batch = found.batch
    slot = _("by hand") if batch.slot is None else _("slot %(number)d", number=batch.slot + 1)
    dates = _(
        "due %(due)s, issued %(issued)s, attempts %(attempts)d",
        due=times.moment(batch.due_at),
        issued=times.moment(batch.issued_at),
        attempts=batch.attempt,
    )
    counts = _(
        "%(planned)d planned, %(issued)d issued, %(credited)d credited",
        planned=batch.planned_invoices,
        issued=batch.issued_invoices,
        credited=batch.credited_invoices,
    )
    return [
        *_facts(
            (_("batch"), ", ".join([batch.tag, slot, batch.state, *([_("late")] if batch.late else [])])),
            (_("times"), dates),
            (_("invoices"), counts),
            (_("reason"), plain(batch.reason or "")),
        ),
        "",
        *table(
            (
                Column(_("tag"), lambda line: line.tag),
                Column(_("amount"), lambda line: format_brl(line.amount_centavos), "number"),
                Column(_("state"), lambda line: line.became, "state"),
                Column(_("payer"), lambda line: line.payer_name, "text"),
                Column(_("tax id"), lambda line: line.payer_tax_id),
                Column(_("bank id"), lambda line: line.bank_invoice_id),
            ),
            found.invoices,
            times,
        ),
    ]


def _facts(*facts: tuple[str, str | None]) -> list[str]:
    """A line for each fact that there is, under its name."""
    return [f"{name:<14}{text}" for name, text in facts if text]
