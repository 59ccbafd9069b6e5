"""The whole in figures: the statement, the system's state, and the audit of every credit."""

import csv
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from payments.language import language_of
from payments.money import format_brl
from repasse.group import DONE, LEFT, command
from repasse.opening import now, open_to_read
from repasse.options import json_option, period
from repasse.output import Column, Times, plain, styled, table, to_json

if TYPE_CHECKING:
    from payments.operator.statement import PeriodStatement, Statement


@command(
    "Show where every centavo is.",
    "repasse job statement",
    "repasse job statement --from 01/03/2026 --to 01/04/2026 --csv",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="As lines of name, count, centavos.")
@click.option(
    "--recount", is_flag=True, help="Check each credit by itself as well, and name those not accounted for."
)
@period
def statement(
    as_json: bool, as_csv: bool, recount: bool, since: datetime | None, until: datetime | None
) -> int:
    from payments.operator.statement import list_unaccounted, read_period, read_statement, recount_statement

    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms: choose one")
    if recount and (since or until):
        raise click.UsageError("--recount is of everything: leave --from and --to out")
    database, times = open_to_read(), Times()
    read: Statement | PeriodStatement
    if since or until:
        period = read = read_period(database, since, until)
        bounds = f"from {times.moment(period.since)} to {times.moment(period.until)}"
        heading = [f"credits recorded {bounds}: {period.credits}"]
    else:
        whole = read = recount_statement(database) if recount else read_statement(database)
        heading = [
            f"batches    {whole.batches_issued} issued of {whole.batches_planned} planned"
            f" ({whole.batches_late} late, {whole.batches_skipped} skipped)",
            f"invoices   {whole.invoices} issued, {whole.credits} credited",
        ]
    if as_json:
        click.echo(to_json(read.to_json()))
    elif as_csv:
        _write_statement_csv(read)
    else:
        click.echo("\n".join([*heading, *_money_lines(read)]))
        if recount:
            for invoice_id in list_unaccounted(database):
                click.echo(f"unaccounted: {plain(invoice_id)}")
    return DONE if read.balanced or not recount else LEFT


def _money_lines(read: "Statement | PeriodStatement") -> list[str]:
    from payments.operator.statement import Statement

    states = ", ".join(f"{count} {state}" for state, count in read.transfers.items() if count) or "none"
    return [
        f"transfers  {states}",
        *(f"{name:<26}{format_brl(centavos):>18}" for name, _, centavos in _sums(read)),
        *([f"attention  {read.attention}"] if isinstance(read, Statement) else []),
        "balanced" if read.balanced else styled("NOT BALANCED: this is a bug, please report it", fg="red"),
    ]


def _sums(read: "Statement | PeriodStatement") -> list[tuple[str, str, int]]:
    """The name for people, the name for programs, and the centavos."""
    from payments.operator.statement import Statement

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


def _write_statement_csv(read: "Statement | PeriodStatement") -> None:
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(("name", "count", "centavos"))
    for _, name, centavos in _sums(read):
        write((name, read.credits if name in ("gross", "fee", "net") else "", centavos))
    for state, count in read.transfers.items():
        write((f"transfers.{state}", count, ""))
    write(("balanced", int(read.balanced), ""))


@command("Show processes, reconciliations, and what is paused.", "repasse job system")
@json_option
def system(as_json: bool) -> int:
    from payments.operator.overview import read_system

    database, times = open_to_read(), Times()
    read = read_system(database, now(), language_of("en"))
    if as_json:
        click.echo(to_json(read))
        return DONE
    for finding in (read.headline, *read.headline.others):
        click.echo(f"{finding.text}. {plain(finding.detail)}")
    click.echo(f"\ndatabase   version {read.revision}")
    paused = ", ".join(
        f"{switch} since {times.moment(pause.since)} by {plain(pause.who)} ({plain(pause.reason)})"
        for switch, pause in read.paused.items()
    )
    click.echo(f"paused     {paused or 'nothing'}\n")
    processes = [
        (
            *(row["kind"], row["host"], row["pid"]),
            "stopped" if row["stopped_at"] else "yes" if row["alive"] else "NO",
            *(times.moment(row["seen_at"]), row["version"], times.moment(row["started_at"])),
        )
        for row in read.processes
    ]
    heads = (
        *(Column("process"), Column("host"), Column("pid", "number"), Column("alive", "state")),
        *(Column("last heartbeat"), Column("version"), Column("started")),
    )
    click.echo("\n".join(table(heads, processes)) + "\n")
    for row in read.processes:
        if row["clock_stepped_at"] is not None:
            step = f"{row['clock_step_seconds']:+,.0f} s at {times.moment(row['clock_stepped_at'])}"
            click.echo(f"{row['kind']} {row['pid']} noticed that a clock was set by {step}\n")
    runs = [(times.moment(row["started_at"]), row["found"], row["failure"]) for row in read.reconciliations]
    columns = (Column("reconciled"), Column("found", "number"), Column("not answered", "text"))
    click.echo("\n".join(table(columns, runs)))
    return DONE


@command(
    "Write every credit with its transfer and times, as CSV.",
    "repasse job audit --from 01/03/2026 --to 01/04/2026 > march.csv",
)
@period
def audit(since: datetime | None, until: datetime | None) -> int:
    from payments.operator.audit import AuditLine, read_audit
    from payments.operator.csv_file import csv_lines

    database = open_to_read()
    sys.stdout.writelines(csv_lines(AuditLine, read_audit(database, since, until)))
    return DONE
