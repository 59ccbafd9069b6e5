"""One piece of the job, once: issue a batch, forward what is due, reconcile. Each needs the bank.

They do what the worker and the web app do, through the same functions, and may run beside them.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from payments.note import note
from payments.operator.actions import record_action, refuse_if_paused
from payments.operator.statement import read_statement
from payments.operator.wording import sentence
from repasse.group import DONE, LEFT, command
from repasse.language import _, language
from repasse.opening import Opened, open_bank, open_to_work
from repasse.options import operator

if TYPE_CHECKING:
    from payments.bank.client import Bank

_Work = Callable[[Opened, "Bank"], tuple[int, str]]

_recorded = operator("started by hand")


@command(_("Issue one batch of invoices now, outside the window."), "repasse job issue")
@_recorded
def issue(who: str, reason: str) -> int:
    return _do("issue", _issue, who, reason)


@command(_("Send every transfer that is due."), "repasse job forward")
@_recorded
def forward(who: str, reason: str) -> int:
    return _do("forward", _forward, who, reason)


@command(_("Ask the bank for anything we missed, and record it."), "repasse job reconcile")
@_recorded
def reconcile(who: str, reason: str) -> int:
    return _do("reconcile", _reconcile, who, reason)


def _do(name: str, run: _Work, who: str, reason: str) -> int:
    """Do one piece of work and record it. Raises BankError when the bank does not answer or refuses us."""
    from payments.observability.logging import configure_logging

    opened, by = open_to_work(who, reason)
    settings = opened.settings
    # The commands print the result; the log is for what went wrong.
    configure_logging(
        "debug" if settings.log_level == "debug" else "error", settings.log_format, "repasse job"
    )
    bank = open_bank(settings)
    # Before anything is planned or claimed: the bank may refuse our key, project or address.
    bank.balance_centavos()
    status, done = run(opened, bank)
    record_action(opened.database, name, "by hand", done, by, opened.clock())
    click.echo(sentence(done, language))  # last, since it fails where no one reads
    return status


def _issue(opened: Opened, bank: "Bank") -> tuple[int, str]:
    from worker.issuing import issue_waiting, plan_by_hand
    from worker.schedule import rules_from

    refuse_if_paused(opened.database, "issuing")
    rules = rules_from(opened.settings)
    plan_by_hand(opened.database, rules, f"repasse-{secrets.token_hex(4)}-manual", opened.clock())
    counts = issue_waiting(opened.database, bank, rules, opened.clock)
    if counts.unfinished:
        return LEFT, note(
            "issued_partly",
            invoices=counts.invoices,
            batches=counts.issued,
            left=counts.unfinished,
            parts=counts.reasons,
        )
    return DONE, note("issued", invoices=counts.invoices, batches=counts.issued)


def _forward(opened: Opened, bank: "Bank") -> tuple[int, str]:
    from payments.settlement import settle_once

    refuse_if_paused(opened.database, "forwarding")
    sent = found = 0
    while True:
        call = f"call-{secrets.token_hex(8)}"
        counts = settle_once(opened.database, bank, opened.policy, opened.clock, call)
        sent += counts.sent
        found += counts.found
        if counts.is_idle:
            break
    waiting = read_statement(opened.database).transfers
    left = waiting["pending"] + waiting["sending"]
    return LEFT if left else DONE, note("sent_some", sent=sent, found=found, left=left)


def _reconcile(opened: Opened, bank: "Bank") -> tuple[int, str]:
    from payments.reconciliation import reconcile_once

    counts = reconcile_once(opened.database, bank, opened.policy, opened.clock)
    if counts.failure is not None:
        return LEFT, note("reconciled_partly", found=counts.found, why=counts.failure)
    return DONE, note("reconciled", found=counts.found) if counts.found else note("reconciled_nothing")
