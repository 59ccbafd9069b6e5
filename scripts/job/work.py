"""One piece of the job, once: issue a batch, forward what is due, reconcile. Each needs the bank.

They do what the worker and the web app do, through the same functions, and may run beside them.
"""

import secrets
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime

from payments.bank.client import Bank, open_bank
from payments.errors import ActionRefused
from payments.ledger.pauses import Pausable, paused
from payments.observability.logging import configure_logging
from payments.operator.actions import Operator, record_action
from payments.operator.statement import read_statement
from payments.settings import Settings
from payments.storage.database import Database

DONE, LEFT = 0, 1

Clock = Callable[[], datetime]


def work(database: Database, arguments: Namespace, settings: Settings, by: Operator, clock: Clock) -> int:
    """Do one piece of work and record it. Raises BankError when the bank does not answer or refuses us."""
    # The commands print the result; the log is for what went wrong.
    configure_logging("debug" if settings.log_level == "debug" else "error", settings.log_format, "run_job")
    bank = _open_bank(settings)
    # Before anything is planned or claimed: the bank may refuse our key, project or address.
    bank.balance_centavos()
    run = {"issue": _issue, "forward": _forward, "reconcile": _reconcile}[arguments.command]
    status, said = run(database, bank, settings, clock)
    print("\n".join(said))
    record_action(database, arguments.command, "by hand", "; ".join(said)[:2000], by, clock())
    return status


def _issue(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, list[str]]:
    from worker.issuing import issue_waiting, plan_by_hand
    from worker.schedule import rules_from

    _refuse_if_paused(database, "issuing")
    rules = rules_from(settings)
    plan_by_hand(database, rules, f"repasse-{secrets.token_hex(4)}-manual", clock())
    counts = issue_waiting(database, bank, rules, clock)
    said = [
        f"issued {counts.invoices} invoices in {counts.issued} batch(es)",
        *(f"not finished: {reason}" for reason in counts.reasons),
    ]
    if counts.unfinished:
        said.append(f"{counts.unfinished} batch(es) could not be finished: run it again, or start the worker")
    return LEFT if counts.unfinished else DONE, said


def _forward(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, list[str]]:
    from payments.settlement import settle_once

    _refuse_if_paused(database, "forwarding")
    sent = found = 0
    while True:
        counts = settle_once(
            database, bank, settings.forwarding_policy, clock, f"call-{secrets.token_hex(8)}"
        )
        sent += counts.sent
        found += counts.found
        if counts.is_idle:
            break
    waiting = read_statement(database).transfers
    left = waiting["pending"] + waiting["sending"]
    return LEFT if left else DONE, [f"sent {sent} transfers, found {found} at the bank, {left} left"]


def _reconcile(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, list[str]]:
    from payments.reconciliation import reconcile_once

    counts = reconcile_once(database, bank, settings.forwarding_policy, clock)
    said = [
        f"found {counts.events} events, {counts.invoice_logs} invoice logs and {counts.outcomes} outcomes "
        "that were new",
        *(f"not answered: {failure}" for failure in counts.failures),
    ]
    return LEFT if counts.failures else DONE, said


def _refuse_if_paused(database: Database, switch: Pausable) -> None:
    pause = paused(database).get(switch)
    if pause is not None:
        raise ActionRefused(
            f"{switch} has been paused since {pause.since:%Y-%m-%d %H:%M:%S} UTC by {pause.who} ({pause.reason}): "
            f"scripts/run_job resume {switch} --reason ..."
        )


def _open_bank(settings: Settings) -> Bank:
    return open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
    )
