"""The whole in figures: the statement, the system's state, and the audit of every credit."""

import csv
import sys
from datetime import datetime
from operator import itemgetter

import click

from payments.money import format_brl
from payments.note import clock_step
from payments.operator.audit import AuditLine, read_audit
from payments.operator.export import csv_lines, to_json
from payments.operator.filters import Filter
from payments.operator.overview import read_system
from payments.operator.statement import (
    PeriodStatement,
    Statement,
    StatementLine,
    list_unaccounted,
    read_period,
    read_statement,
    recount_statement,
    statement_lines,
)
from payments.operator.wording import note_text
from repasse.group import DONE, LEFT, command
from repasse.language import _, language
from repasse.opening import now, open_to_read
from repasse.options import json_option, period
from repasse.output import Column, plain, styled, table


@command(
    _("Show where every centavo is."),
    "repasse job statement",
    "repasse job statement --from 01/03/2026 --to 01/04/2026 --csv",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help=_("As lines of name, count, centavos."))
@click.option(
    "--recount",
    is_flag=True,
    help=_("Check each credit by itself as well, and name those not accounted for."),
)
@period
def statement(
    as_json: bool, as_csv: bool, recount: bool, since: datetime | None, until: datetime | None
) -> int:
    if as_json and as_csv:
        raise click.UsageError(_("--json and --csv are two forms: choose one"))
    if recount and (since or until):
        raise click.UsageError(_("--recount is of everything: leave --from and --to out"))
    opened = open_to_read()
    database, times = opened.database, opened.times
    read: Statement | PeriodStatement
    if since or until:
        period = read = read_period(database, since, until)
        heading = [
            _(
                "credits recorded from %(since)s to %(until)s: %(number)d",
                since=times.moment(period.since),
                until=times.moment(period.until),
                number=period.credits,
            )
        ]
    else:
        whole = read = recount_statement(database) if recount else read_statement(database)
        heading = [
            _(
                "batches: %(issued)d issued of %(planned)d planned (%(late)d late, %(skipped)d skipped)",
                issued=whole.batches_issued,
                planned=whole.batches_planned,
                late=whole.batches_late,
                skipped=whole.batches_skipped,
            ),
            _(
                "invoices: %(issued)d issued, %(credited)d credited",
                issued=whole.invoices,
                credited=whole.credits,
            ),
        ]
    if as_json:
        click.echo(to_json(read.to_json()))
    elif as_csv:
        _write_statement_csv(read)
    else:
        click.echo("\n".join([*heading, *_money_lines(read)]))
        if recount:
            for invoice_id in list_unaccounted(database):
                click.echo(_("unaccounted: %(invoice)s", invoice=plain(invoice_id)))
    return DONE if read.balanced or not recount else LEFT


def _money_lines(read: Statement | PeriodStatement) -> list[str]:
    states = ", ".join(f"{count} {state}" for state, count in read.transfers.items() if count) or _("none")
    return [
        _("transfers: %(states)s", states=states),
        *(
            f"{'  ' * (line.is_part or line.name == 'fee') + line.text:<34}{format_brl(line.centavos):>18}"
            for line in _lines(read)
        ),
        *([_("needs attention: %(number)d", number=read.attention)] if isinstance(read, Statement) else []),
        _("balanced")
        if read.balanced
        else styled(_("NOT BALANCED: this is a bug, please report it"), fg="red"),
    ]


def _lines(read: Statement | PeriodStatement) -> list[StatementLine]:
    lines = statement_lines(read, language)
    if isinstance(read, Statement):
        lines += [
            StatementLine("claim_back", _("to claim back"), read.claim_back_centavos, is_part=False),
            StatementLine("recovered", _("recovered"), read.recovered_centavos, is_part=False),
        ]
    return lines


def _write_statement_csv(read: Statement | PeriodStatement) -> None:
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(("name", "count", "centavos"))
    for line in _lines(read):
        write((line.name, read.credits if line.name in ("gross", "fee", "net") else "", line.centavos))
    for state, count in read.transfers.items():
        write((f"transfers.{state}", count, ""))
    write(("balanced", int(read.balanced), ""))


@command(_("Show processes, reconciliations, and what is paused."), "repasse job system")
@json_option
def system(as_json: bool) -> int:
    opened = open_to_read()
    times = opened.times
    read = read_system(opened.database, now(), language)
    if as_json:
        click.echo(to_json(read))
        return DONE
    for finding in (read.headline, *read.headline.others):
        click.echo(f"{finding.text}. {plain(finding.detail)}")
    click.echo("\n" + _("database: version %(version)s", version=read.revision))
    pauses = [
        _(
            "%(switch)s is paused since %(at)s by %(who)s (%(reason)s)",
            switch=switch,
            at=times.moment(pause.since),
            who=plain(pause.who),
            reason=plain(pause.reason),
        )
        for switch, pause in read.paused.items()
    ]
    click.echo("\n".join(pauses or [_("nothing is paused")]) + "\n")
    processes = (
        Column(_("process"), itemgetter("kind")),
        Column(_("host"), itemgetter("host")),
        Column(_("pid"), itemgetter("pid"), "number"),
        Column(
            _("alive"),
            lambda row: "stopped" if row["stopped_at"] else "yes" if row["alive"] else "NO",
            "state",
        ),
        Column(_("last heartbeat"), itemgetter("seen_at")),
        Column(_("version"), itemgetter("version")),
        Column(_("started"), itemgetter("started_at")),
    )
    click.echo("\n".join(table(processes, read.processes, times)) + "\n")
    for row in read.processes:
        if row["clock_stepped_at"] is not None:
            step = note_text(clock_step(row["host"], row["clock_step_seconds"]), language)
            click.echo(f"{times.moment(row['clock_stepped_at'])}: {plain(step)}\n")
    runs = (
        Column(_("reconciled"), itemgetter("started_at")),
        Column(_("found"), itemgetter("found"), "number"),
        Column(_("not answered"), itemgetter("failure"), "text"),
    )
    click.echo("\n".join(table(runs, read.reconciliations, times)))
    return DONE


@command(
    _("Write every credit with its transfer and times, as CSV."),
    "repasse job audit --from 01/03/2026 --to 01/04/2026 > march.csv",
)
@period
def audit(since: datetime | None, until: datetime | None) -> int:
    found = read_audit(open_to_read().database, Filter(since, until))
    sys.stdout.writelines(csv_lines(AuditLine, found))
    return DONE
