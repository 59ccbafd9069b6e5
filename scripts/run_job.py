"""The job by hand: issue a batch, forward, reconcile, or read the statement. Started by scripts/run_job.

It does what the worker and the web app do, through the same functions, on the same books; it may run beside
them. Exit status: 0 done, 1 something is left to retry, 2 wrong arguments or settings.
"""

import argparse
import json
import os
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from payments.errors import BankError, LedgerUnavailable, Rejected, RepasseError
from payments.ledger.database import Database, open_database
from payments.ledger.migrate import migrate
from payments.ledger.statement import Statement, read_statement
from payments.money import format_brl
from payments.settings import Settings, load_settings

if TYPE_CHECKING:
    from payments.bank.client import Bank

DONE, LEFT, WRONG = 0, 1, 2


def main() -> int:
    """Run one command; see the module."""
    arguments = _parse()
    try:
        settings = load_settings(needs_bank=arguments.command != "statement")
        _configure_logging(settings)
        database = open_database(settings.database_url.get_secret_value())
        migrate(database)
        if arguments.command == "statement":
            return _statement(database, as_json=arguments.json)
        bank = _open_bank(settings)
        # Asked first: if the bank refuses our key, project or address, nothing is planned or claimed in vain.
        bank.balance_centavos()
        run = {"issue": _issue, "forward": _forward, "reconcile": _reconcile}[arguments.command]
        return run(database, bank, settings)
    except LedgerUnavailable as error:
        print(f"repasse: {error}; try again", file=sys.stderr)
        return LEFT
    except BankError as error:
        remedy = f"; {error.remedy}" if isinstance(error, Rejected) else "; try again"
        print(f"repasse: the bank's answer: {error}{remedy}", file=sys.stderr)
        return LEFT
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return WRONG


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/run_job", description="The job by hand.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("issue", help="issue one batch of invoices now, outside the window")
    commands.add_parser("forward", help="send every transfer that is due")
    commands.add_parser("reconcile", help="ask the bank what we missed, and record it")
    statement = commands.add_parser("statement", help="say where every centavo is")
    statement.add_argument("--json", action="store_true", help="as one JSON object")
    return parser.parse_args()


def _issue(database: Database, bank: "Bank", settings: Settings) -> int:
    from worker.issuing import issue_waiting, plan_by_hand
    from worker.schedule import rules_from

    rules = rules_from(settings)
    tag = f"repasse-{secrets.token_hex(4)}-manual"
    plan_by_hand(database, rules, tag, _now())
    counts = issue_waiting(database, bank, rules, _now)
    print(f"issued {counts.invoices} invoices in {counts.issued} batch(es)")
    for reason in counts.reasons:
        print(f"not finished: {reason}")
    if counts.unfinished:
        print(f"{counts.unfinished} batch(es) could not be finished: run it again, or start the worker")
    return LEFT if counts.unfinished else DONE


def _forward(database: Database, bank: "Bank", settings: Settings) -> int:
    from payments.settlement import settle_once

    sent = found = 0
    while True:
        counts = settle_once(
            database, bank, settings.forwarding_policy, _now, lambda: f"call-{secrets.token_hex(8)}"
        )
        sent += counts.sent
        found += counts.found
        if counts.is_idle:
            break
    waiting = read_statement(database).transfers
    left = waiting["pending"] + waiting["sending"]
    print(f"sent {sent} transfers, found {found} at the bank, {left} left")
    return LEFT if left else DONE


def _reconcile(database: Database, bank: "Bank", settings: Settings) -> int:
    from payments.reconciliation import reconcile_once

    counts = reconcile_once(database, bank, settings.forwarding_policy, _now)
    print(
        f"found {counts.events} events, {counts.invoice_logs} invoice logs and {counts.outcomes} outcomes that were new"
    )
    for failure in counts.failures:
        print(f"not answered: {failure}")
    return LEFT if counts.failures else DONE


def _statement(database: Database, as_json: bool) -> int:
    statement = read_statement(database)
    if as_json:
        print(json.dumps(statement.to_json()))
    else:
        print("\n".join(_lines(statement)))
    return DONE


def _lines(statement: Statement) -> list[str]:
    states = ", ".join(f"{count} {state}" for state, count in statement.transfers.items() if count) or "none"
    money = [
        ("credited, gross", statement.gross_centavos),
        ("  fees", -statement.fee_centavos),
        ("credited, net", statement.net_centavos),
        ("  settled", statement.settled_centavos),
        ("  in flight", statement.in_flight_centavos),
        ("  waiting", statement.unforwarded_centavos - statement.dead_centavos),
        ("  dead", statement.dead_centavos),
        ("  reversed before sending", statement.reversed_centavos),
        ("  not to be forwarded", statement.not_forwarded_centavos),
        ("to claim back", statement.claim_back_centavos),
    ]
    return [
        f"batches    {statement.batches_issued} issued of {statement.batches_planned} planned"
        f" ({statement.batches_late} late, {statement.batches_skipped} skipped)",
        f"invoices   {statement.invoices} issued, {statement.credits} credited",
        f"transfers  {states}",
        *(f"{name:<26}{format_brl(centavos):>18}" for name, centavos in money),
        f"attention  {statement.attention}",
        "balanced" if statement.balanced else "NOT BALANCED: this is a bug, please report it",
    ]


def _open_bank(settings: Settings) -> "Bank":
    from payments.bank.client import open_bank

    return open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
    )


def _configure_logging(settings: Settings) -> None:
    from payments.observability import configure_logging

    # What the commands print is the result; the log is for what went wrong.
    level = "debug" if settings.log_level == "debug" else "error"
    configure_logging(level, settings.log_format, "run_job")


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us has seen enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = DONE
    sys.exit(status)
