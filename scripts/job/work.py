"""One piece of the job, once: issue a batch, forward what is due, reconcile. Each needs the bank.

They do what the worker and the web app do, through the same functions, and may run beside them.
"""

import secrets
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime

from payments.bank.client import Bank, open_bank
from payments.errors import ActionRefused
from payments.language import language_of
from payments.ledger.pauses import Pausable, paused
from payments.note import note
from payments.observability.logging import configure_logging
from payments.operator.actions import Operator, record_action
from payments.operator.statement import read_statement
from payments.operator.wording import sentence
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
    status, done = run(database, bank, settings, clock)
    print(f"{sentence(done, language_of('en'))}")
    record_action(database, arguments.command, "by hand", done, by, clock())
    return status


def _issue(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, str]:
    from worker.issuing import issue_waiting, plan_by_hand
    from worker.schedule import rules_from

    _refuse_if_paused(database, "issuing")
    rules = rules_from(settings)
    plan_by_hand(database, rules, f"repasse-{secrets.token_hex(4)}-manual", clock())
    counts = issue_waiting(database, bank, rules, clock)
    if counts.unfinished:
        return LEFT, note(
            "issued_partly",
            invoices=counts.invoices,
            batches=counts.issued,
            left=counts.unfinished,
            parts=counts.reasons,
        )
    return DONE, note("issued", invoices=counts.invoices, batches=counts.issued)


def _forward(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, str]:
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
    return LEFT if left else DONE, note("sent_some", sent=sent, found=found, left=left)


def _reconcile(database: Database, bank: Bank, settings: Settings, clock: Clock) -> tuple[int, str]:
    from payments.reconciliation import reconcile_once

    counts = reconcile_once(database, bank, settings.forwarding_policy, clock)
    if counts.failure is not None:
        return LEFT, note("reconciled_partly", found=counts.found, why=counts.failure)
    return DONE, note("reconciled", found=counts.found) if counts.found else note("reconciled_nothing")


def _refuse_if_paused(database: Database, switch: Pausable) -> None:
    pause = paused(database).get(switch)
    if pause is not None:
        raise ActionRefused(
            note(f"{switch}_paused_already", at=pause.since.isoformat(), who=pause.who, reason=pause.reason)
        )


def _open_bank(settings: Settings) -> Bank:
    return open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
    )
