"""The commands that only read: attention, show, transfers, credits, actions, statement, system, audit."""

import csv
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any

from payments.language import language_of
from payments.money import format_brl
from payments.operator import lists, timeline
from payments.operator.audit import AuditLine, read_audit
from payments.operator.lists import Page
from payments.operator.overview import read_system
from payments.operator.search import Found, search
from payments.operator.statement import (
    PeriodStatement,
    Statement,
    list_unaccounted,
    read_period,
    read_statement,
    recount_statement,
)
from payments.operator.timeline import BatchInvoices, CreditTimeline, StoredEvent
from payments.operator.wording import account_text
from payments.storage.database import Database
from scripts.job.view import csv_cell, moment, plain, table, to_json

DONE, LEFT, NOT_FOUND = 0, 1, 1


# --- lists ---


def attention(database: Database, arguments: Namespace) -> int:
    """What needs attention; with ``--all`` what ever did."""
    heads = ("number", "kind", "subject", "raised", *(("resolved",) if arguments.all else ()), "detail")
    return _list(
        arguments,
        lambda after, limit: lists.list_attentions(database, after, limit, open_only=not arguments.all),
        heads,
        lambda line: (
            *(line.id, line.kind, line.subject, moment(line.raised_at)),
            *((moment(line.resolved_at),) if arguments.all else ()),
            line.detail,
        ),
        right=(0,),
        empty="nothing needs attention",
    )


def transfers(database: Database, arguments: Namespace) -> int:
    """Transfers, of a state or all."""
    return _list(
        arguments,
        lambda after, limit: lists.list_transfers(database, arguments.state, after, limit),
        ("external id", "amount", "state", "attempts", "created", "due", "settled", "bank id", "reason"),
        lambda line: (
            *(line.external_id, format_brl(line.amount_centavos), line.shown_state, line.attempt),
            *(moment(line.created_at), moment(line.due_at), moment(line.settled_at)),
            *(line.bank_transfer_id, line.reason),
        ),
        right=(1, 3),
        empty="no transfers",
    )


def credits(database: Database, arguments: Namespace) -> int:
    """Credits, by amount and time."""
    return _list(
        arguments,
        lambda after, limit: lists.list_credits(
            database, after, arguments.amount, arguments.since, arguments.until, limit
        ),
        ("invoice", "gross", "fee", "net", "recorded", "transfer", "state", "to claim back", "recovered"),
        lambda line: (
            line.invoice_id,
            *map(format_brl, (line.gross_centavos, line.fee_centavos, line.net_centavos)),
            *(moment(line.recorded_at), line.external_id, line.transfer_state or line.disposition),
            *(
                format_brl(each) if each else None
                for each in (line.claim_back_centavos, line.recovered_centavos)
            ),
        ),
        right=(1, 2, 3),
        empty="no credits",
    )


def actions(database: Database, arguments: Namespace) -> int:
    """What operators did."""
    return _list(
        arguments,
        lambda after, limit: lists.list_actions(database, after, limit),
        ("at", "who", "action", "target", "reason", "result"),
        lambda line: (moment(line.at), line.who, line.kind, line.subject, line.reason, line.result),
        empty="no actions yet",
    )


def _list(
    arguments: Namespace,
    read: Callable[[str | None, int], Page[Any]],
    heads: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    empty: str,
    right: Sequence[int] = (),
) -> int:
    items: list[Any] = []
    after = arguments.after
    while len(items) < arguments.limit:
        page = read(after, arguments.limit - len(items))
        items += page.items
        after = page.next
        if after is None:
            break
    if arguments.json:
        print(to_json({"items": items, "next": after}))
        return DONE
    print("\n".join(table(heads, map(row, items), right)) if items else empty)
    if after is not None:
        print(f"more: --after {after}")
    return DONE


# --- one thing ---


def show(database: Database, arguments: Namespace) -> int:
    """Everything about the credit, event or batch that has this id."""
    found = search(database, arguments.id)
    if not found:
        print(f"repasse: nothing has the id {plain(arguments.id)[:100]!r}", file=sys.stderr)
        return NOT_FOUND
    kind, id_ = _page(found[0])
    others = [hit for hit in found[1:] if _page(hit) != (kind, id_)]
    others = list({(hit.kind, hit.id): hit for hit in others}.values())
    details: Any
    write: Callable[[Any], list[str]]
    match kind:
        case "credit":
            details, write = timeline.read_credit(database, id_), _write_credit
        case "batch":
            details, write = timeline.read_batch(database, int(id_)), _write_batch
        case _:
            details, write = timeline.read_stored_event(database, id_), _write_event
    if arguments.json:
        print(to_json({"kind": kind, "details": details, "others": others}))
        return DONE
    print("\n".join(write(details)))
    for hit in others:
        print(f"see also  {hit.kind} {plain(hit.id)}: {plain(hit.title)}")
    return DONE


def _page(hit: Found) -> tuple[str, str]:
    """A transfer is part of its credit's timeline."""
    return ("credit" if hit.kind == "transfer" else hit.kind, hit.id)


def _write_credit(found: CreditTimeline) -> list[str]:
    credit = found.credit
    lines = [
        f"credit    {plain(credit.invoice_id)}, recorded {moment(credit.recorded_at)}",
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
        at = moment(entry.at)
        lines.append(f"{at}  {plain(entry.title)}")
        indent = " " * len(at)
        if entry.detail:
            lines.append(f"{indent}  {plain(entry.detail)}")
        lines.append(f"{indent}  {', '.join(f'{label} {plain(id_)}' for label, id_ in entry.ids.items())}")
    return lines


def _write_event(event: StoredEvent) -> list[str]:
    line = event.line
    return [
        f"event      {plain(line.event_id)}, by {line.source}, received {moment(line.received_at)}",
        f"about      {plain(line.subscription)} {plain(line.log_type)} {plain(line.subject or '')}".rstrip(),
        f"outcome    {line.outcome}" + (f": {plain(line.reason)}" if line.reason else ""),
        f"signature  {plain(event.digital_signature or 'none: fetched by reconciliation')}",
        f"sha256     {event.sha256}",
        "",
        plain(event.body.decode("utf-8", "replace")),
    ]


def _write_batch(found: BatchInvoices) -> list[str]:
    batch = found.batch
    slot = "by hand" if batch.slot is None else f"slot {batch.slot + 1}"
    return [
        f"batch     {batch.tag}, {slot}, {batch.state}{', late' if batch.late else ''}",
        f"times     due {moment(batch.due_at)}, issued {moment(batch.issued_at)}, attempts {batch.attempt}",
        f"invoices  {batch.planned_invoices} planned, {batch.issued_invoices} issued, "
        f"{batch.credited_invoices} credited",
        *([f"reason    {plain(batch.reason)}"] if batch.reason else []),
        "",
        *table(
            ("tag", "amount", "payer", "tax id", "bank id", "state"),
            (
                (
                    *(each.tag, format_brl(each.amount_centavos), each.payer_name, each.payer_tax_id),
                    *(each.bank_invoice_id, each.became),
                )
                for each in found.invoices
            ),
            right=(1,),
        ),
    ]


# --- statement, system and audit ---


def statement(database: Database, arguments: Namespace) -> int:
    """Where every centavo is: of all credits, or of a period's."""
    read: Statement | PeriodStatement
    if arguments.since or arguments.until:
        read = read_period(database, arguments.since, arguments.until)
        heading = [f"credits recorded from {moment(read.since)} to {moment(read.until)}: {read.credits}"]
    else:
        read = recount_statement(database) if arguments.recount else read_statement(database)
        heading = [
            f"batches    {read.batches_issued} issued of {read.batches_planned} planned"
            f" ({read.batches_late} late, {read.batches_skipped} skipped)",
            f"invoices   {read.invoices} issued, {read.credits} credited",
        ]
    if arguments.json:
        print(to_json(read.to_json()))
    elif arguments.csv:
        _write_statement_csv(read)
    else:
        print("\n".join([*heading, *_money_lines(read)]))
        if arguments.recount:
            for invoice_id in list_unaccounted(database):
                print(f"unaccounted: {plain(invoice_id)}")
    return DONE if read.balanced or not arguments.recount else LEFT


def _money_lines(read: Statement | PeriodStatement) -> list[str]:
    states = ", ".join(f"{count} {state}" for state, count in read.transfers.items() if count) or "none"
    return [
        f"transfers  {states}",
        *(f"{name:<26}{format_brl(centavos):>18}" for name, _, centavos in _sums(read)),
        *([f"attention  {read.attention}"] if isinstance(read, Statement) else []),
        "balanced" if read.balanced else "NOT BALANCED: this is a bug, please report it",
    ]


def _sums(read: Statement | PeriodStatement) -> list[tuple[str, str, int]]:
    """The name for people, the name for programs, and the centavos."""
    return [
        ("credited, gross", "gross", read.gross_centavos),
        ("  fees", "fee", -read.fee_centavos),
        ("credited, net", "net", read.net_centavos),
        ("  settled", "settled", read.settled_centavos),
        ("  in flight", "in_flight", read.in_flight_centavos),
        ("  waiting", "waiting", read.unforwarded_centavos - read.dead_centavos),
        ("  dead (needs action)", "dead", read.dead_centavos - read.abandoned_centavos),
        ("  abandoned", "abandoned", read.abandoned_centavos),
        ("  reversed before sending", "reversed", read.reversed_centavos),
        ("  not to be forwarded", "not_forwarded", read.not_forwarded_centavos),
        *(
            [
                ("to claim back", "claim_back", read.claim_back_centavos),
                ("recovered", "recovered", read.recovered_centavos),
            ]
            if isinstance(read, Statement)
            else []
        ),
    ]


def _write_statement_csv(read: Statement | PeriodStatement) -> None:
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(("name", "count", "centavos"))
    for _, name, centavos in _sums(read):
        write((name, read.credits if name in ("gross", "fee", "net") else "", centavos))
    for state, count in read.transfers.items():
        write((f"transfers.{state}", count, ""))
    write(("balanced", int(read.balanced), ""))


def system(database: Database, arguments: Namespace) -> int:
    """What is running, when we last asked the bank, and what is paused."""
    read = read_system(database, datetime.fromtimestamp(time.time(), UTC), language_of("en"))
    if arguments.json:
        print(to_json(read))
        return DONE
    for finding in (read.headline, *read.headline.others):
        print(f"{finding.text}. {plain(finding.detail)}")
    print(f"\ndatabase   version {read.revision}")
    paused = ", ".join(
        f"{switch} since {moment(pause.since)} by {plain(pause.who)} ({plain(pause.reason)})"
        for switch, pause in read.paused.items()
    )
    print(f"paused     {paused or 'nothing'}\n")
    processes = [
        (
            *(row["kind"], row["host"], row["pid"], row["version"], moment(row["started_at"])),
            *(moment(row["seen_at"]), "stopped" if row["stopped_at"] else "yes" if row["alive"] else "NO"),
        )
        for row in read.processes
    ]
    heads = ("process", "host", "pid", "version", "started", "last heartbeat", "alive")
    print("\n".join(table(heads, processes)) + "\n")
    for row in read.processes:
        if row["clock_stepped_at"] is not None:
            when, seconds = moment(row["clock_stepped_at"]), row["clock_step_seconds"]
            print(f"{row['kind']} {row['pid']} noticed at {when} that a clock was set by {seconds:+,.0f} s\n")
    runs = [(moment(row["started_at"]), row["found"], row["failure"]) for row in read.reconciliations]
    print("\n".join(table(("reconciled", "found", "not answered"), runs, right=(1,))))
    return DONE


def audit(database: Database, arguments: Namespace) -> int:
    """Every credit with its transfer and times, as CSV; columns are those of AuditLine."""
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write([field.name for field in fields(AuditLine)])
    for line in read_audit(database, arguments.since, arguments.until):
        write([csv_cell(value) for value in astuple(line)])
    return DONE
