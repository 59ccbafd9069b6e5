"""The commands that only read the books: attention, show, transfers, credits, acts, statement, audit."""

import csv
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from payments.money import format_brl
from payments.operator.statement import Statement, read_statement, recount_statement
from payments.storage.database import Database
from scripts.job.view import csv_cell, moment, plain, table, to_json

if TYPE_CHECKING:
    from payments.operator.list_rows import Page
    from payments.operator.period import PeriodStatement
    from payments.operator.timeline import BatchStory, CreditStory, StoredEvent

DONE, LEFT, NOT_FOUND = 0, 1, 1


# --- lists ---


def attention(database: Database, arguments: Namespace) -> int:
    """What waits for a person."""
    from payments.operator.lists import list_attentions

    heads = ("number", "kind", "subject", "raised", "closed", "detail")
    return _list(
        arguments,
        lambda after, limit: list_attentions(database, not arguments.all, after, limit),
        heads if arguments.all else tuple(head for head in heads if head != "closed"),
        lambda line: (
            *(line.id, line.kind, line.subject, moment(line.raised_at)),
            *((moment(line.resolved_at),) if arguments.all else ()),
            line.detail,
        ),
        right=(0,),
        empty="nothing waits for a person",
    )


def transfers(database: Database, arguments: Namespace) -> int:
    """Transfers, of a state or all."""
    from payments.operator.lists import list_transfers

    return _list(
        arguments,
        lambda after, limit: list_transfers(database, arguments.state, after, limit),
        ("external id", "amount", "state", "attempts", "created", "due", "settled", "bank's id", "reason"),
        lambda line: (
            *(line.external_id, format_brl(line.amount_centavos), line.state, line.attempt),
            *(moment(line.created_at), moment(line.due_at), moment(line.settled_at)),
            *(line.bank_transfer_id, line.reason),
        ),
        right=(1, 3),
        empty="no transfers",
    )


def credits(database: Database, arguments: Namespace) -> int:
    """Credits, by amount and time."""
    from payments.operator.lists import list_credits

    return _list(
        arguments,
        lambda after, limit: list_credits(
            database, after, arguments.amount, arguments.since, arguments.until, limit
        ),
        ("invoice", "gross", "fee", "net", "recorded", "transfer", "state"),
        lambda line: (
            line.invoice_id,
            *map(format_brl, (line.gross_centavos, line.fee_centavos, line.net_centavos)),
            *(moment(line.recorded_at), line.external_id, line.transfer_state or line.disposition),
        ),
        right=(1, 2, 3),
        empty="no credits",
    )


def acts(database: Database, arguments: Namespace) -> int:
    """What operators did."""
    from payments.operator.lists import list_acts

    return _list(
        arguments,
        lambda after, limit: list_acts(database, after, limit),
        ("at", "who", "act", "subject", "reason", "result"),
        lambda act: (moment(act.at), act.who, act.kind, act.subject, act.reason, act.result),
        empty="no acts",
    )


def _list(
    arguments: Namespace,
    read: "Callable[[str | None, int], Page[Any]]",
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
    """The whole story of whatever has this id."""
    from payments.operator.search import search

    found = search(database, arguments.id)
    if not found:
        print(f"repasse: nothing has the id {plain(arguments.id)[:100]!r}", file=sys.stderr)
        return NOT_FOUND
    first = found[0]
    others = {(hit.kind, hit.id): hit for hit in found[1:] if _page(hit) != _page(first)}
    story = _read(database, *_page(first))
    if arguments.json:
        print(to_json({"kind": _page(first)[0], "story": story, "others": list(others.values())}))
        return DONE
    print("\n".join(_WRITERS[_page(first)[0]](story)))
    for hit in others.values():
        print(f"see also  {hit.kind} {plain(hit.id)}: {plain(hit.title)}")
    return DONE


def _page(hit: Any) -> tuple[str, str]:
    """A transfer's story is that of its credit."""
    return ("credit" if hit.kind == "transfer" else hit.kind, hit.id)


def _read(database: Database, kind: str, id_: str) -> Any:
    from payments.operator import timeline as stories

    if kind == "credit":
        return stories.read_credit(database, id_)
    if kind == "batch":
        return stories.read_batch(database, int(id_))
    return stories.read_event(database, id_)


def _write_credit(story: "CreditStory") -> list[str]:
    credit = story.credit
    lines = [
        f"credit    {plain(credit.invoice_id)}, recorded {moment(credit.recorded_at)}",
        f"money     {format_brl(credit.gross_centavos)} gross, {format_brl(credit.fee_centavos)} fee, "
        f"{format_brl(credit.net_centavos)} net; {format_brl(story.owed_centavos)} to be forwarded",
        *(
            f"transfer  {plain(each.external_id)}: {format_brl(each.amount_centavos)}, {each.state}"
            + (f", the bank's id {plain(each.bank_transfer_id)}" if each.bank_transfer_id else "")
            for each in story.transfers
        ),
        "",
    ]
    for entry in story.entries:
        lines.append(f"{moment(entry.at)}  {plain(entry.title)}")
        indent = " " * len(moment(entry.at))
        if entry.detail:
            lines.append(f"{indent}  {plain(entry.detail)}")
        lines.append(f"{indent}  {', '.join(f'{label} {plain(id_)}' for label, id_ in entry.ids.items())}")
    return lines


def _write_event(event: "StoredEvent") -> list[str]:
    line = event.line
    return [
        f"event      {plain(line.event_id)}, by {line.source}, received {moment(line.received_at)}",
        f"about      {plain(line.subscription)} {plain(line.log_type)} {plain(line.subject or '')}".rstrip(),
        f"outcome    {line.outcome}" + (f": {plain(line.reason)}" if line.reason else ""),
        f"signature  {plain(event.digital_signature or 'none: reconciliation fetched it')}",
        f"sha256     {event.sha256}",
        "",
        plain(event.body.decode("utf-8", "replace")),
    ]


def _write_batch(story: "BatchStory") -> list[str]:
    batch = story.batch
    slot = "by hand" if batch.slot is None else f"slot {batch.slot + 1}"
    return [
        f"batch     {batch.tag}, {slot}, {batch.state}{', late' if batch.late else ''}",
        f"times     due {moment(batch.due_at)}, issued {moment(batch.issued_at)}, attempts {batch.attempt}",
        f"invoices  {batch.planned_invoices} planned, {batch.issued_invoices} at the bank, "
        f"{batch.credited_invoices} credited",
        *([f"reason    {plain(batch.reason)}"] if batch.reason else []),
        "",
        *table(
            ("tag", "amount", "payer", "tax id", "the bank's id", "became"),
            (
                (
                    *(each.tag, format_brl(each.amount_centavos), each.payer_name, each.payer_tax_id),
                    *(each.bank_invoice_id, each.became),
                )
                for each in story.invoices
            ),
            right=(1,),
        ),
    ]


_WRITERS: dict[str, Callable[[Any], list[str]]] = {
    "credit": _write_credit,
    "event": _write_event,
    "batch": _write_batch,
}


# --- statement and audit ---


def statement(database: Database, arguments: Namespace) -> int:
    """Where every centavo is: of all, or of a period's credits."""
    read: Statement | PeriodStatement
    if arguments.recount:
        from payments.operator.period import read_unaccounted

        read = recount_statement(database)
        wrong = [f"unaccounted: {plain(line.invoice_id)}" for line in read_unaccounted(database)]
        lines = [*_batch_lines(read), *_money_lines(read), *wrong]
    elif arguments.since is None and arguments.until is None:
        read = read_statement(database)
        lines = [*_batch_lines(read), *_money_lines(read)]
    else:
        from payments.operator.period import read_period

        read = read_period(database, arguments.since, arguments.until)
        lines = [f"credits recorded from {moment(read.since)} to {moment(read.until)}: {read.credits}"]
        lines += _money_lines(read)
    if arguments.json:
        print(to_json(read.to_json()))
    elif arguments.csv:
        _write_statement_csv(read)
    else:
        print("\n".join(lines))
    return DONE if read.balanced or not arguments.recount else LEFT


def system(database: Database, arguments: Namespace) -> int:
    """Who is alive, when we last asked the bank, and what is paused."""
    from payments.operator.overview import read_system

    read = read_system(database, datetime.fromtimestamp(time.time(), UTC))
    if arguments.json:
        print(to_json(read))
        return DONE
    print(f"database   version {read.revision}")
    paused = ", ".join(f"{switch} since {moment(at)}" for switch, at in read.paused.items())
    print(f"paused     {paused or 'nothing'}")
    print()
    living = [
        (
            *(row["kind"], row["host"], row["pid"], row["version"], moment(row["started_at"])),
            *(moment(row["seen_at"]), "stopped" if row["stopped_at"] else "yes" if row["alive"] else "NO"),
        )
        for row in read.processes
    ]
    print("\n".join(table(("process", "host", "pid", "version", "started", "last seen", "alive"), living)))
    print()
    runs = [(moment(row["started_at"]), row["found"], row["failure"]) for row in read.reconciliations]
    print("\n".join(table(("reconciled", "found", "not answered"), runs, right=(1,))))
    return DONE


def _batch_lines(read: Statement) -> list[str]:
    return [
        f"batches    {read.batches_issued} issued of {read.batches_planned} planned"
        f" ({read.batches_late} late, {read.batches_skipped} skipped)",
        f"invoices   {read.invoices} issued, {read.credits} credited",
    ]


def _money_lines(read: "Statement | PeriodStatement") -> list[str]:
    states = ", ".join(f"{count} {state}" for state, count in read.transfers.items() if count) or "none"
    return [
        f"transfers  {states}",
        *(f"{name:<26}{format_brl(centavos):>18}" for name, _, centavos in _sums(read)),
        *([f"attention  {read.attention}"] if isinstance(read, Statement) else []),
        "balanced" if read.balanced else "NOT BALANCED: this is a bug, please report it",
    ]


def _sums(read: "Statement | PeriodStatement") -> list[tuple[str, str, int]]:
    """What people read, what programs read, and the centavos."""
    return [
        ("credited, gross", "gross", read.gross_centavos),
        ("  fees", "fee", -read.fee_centavos),
        ("credited, net", "net", read.net_centavos),
        ("  settled", "settled", read.settled_centavos),
        ("  in flight", "in_flight", read.in_flight_centavos),
        ("  waiting", "waiting", read.unforwarded_centavos - read.dead_centavos),
        ("  dead", "dead", read.dead_centavos),
        ("  reversed before sending", "reversed", read.reversed_centavos),
        ("  not to be forwarded", "not_forwarded", read.not_forwarded_centavos),
        *([("to claim back", "claim_back", read.claim_back_centavos)] if isinstance(read, Statement) else []),
    ]


def _write_statement_csv(read: "Statement | PeriodStatement") -> None:
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(("name", "count", "centavos"))
    for _, name, centavos in _sums(read):
        write((name, read.credits if name in ("gross", "fee", "net") else "", centavos))
    for state, count in read.transfers.items():
        write((f"transfers.{state}", count, ""))
    write(("balanced", int(read.balanced), ""))


def audit(database: Database, arguments: Namespace) -> int:
    """Every credit with its transfer and times, as CSV; columns are those of AuditLine."""
    from payments.operator.period import AuditLine, read_audit

    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write([field.name for field in fields(AuditLine)])
    for line in read_audit(database, arguments.since, arguments.until):
        write([csv_cell(value) for value in astuple(line)])
    return DONE
