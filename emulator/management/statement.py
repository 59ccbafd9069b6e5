"""The bank's own statement: what was credited, what was sent out, and whether the two match.

Computed from the rows, apart from the double-entry ledger, so that each checks the other. It only reads.
Money is in integer centavos. A transfer belongs to an invoice whose id is a word of one of its tags or of its
external_id: `credit-<id>` as repasse writes it, or any other form. `matched_by` says which it was.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.book import Credited, Reversal
from emulator.books.formats import time_text
from emulator.books.table import Row

_OPEN = ("created", "processing")


def statement(bank: Bank, *, details: bool) -> dict[str, Any]:
    """The statement as the management API shows it; with `details`, each credit with its transfers too."""
    matches, foreign = _match(bank)
    payouts = [
        _payout(bank, invoice_id, credited, matches[invoice_id])
        for invoice_id, credited in bank.invoices.credited.items()
    ]
    verdicts = [payout["verdict"] for payout in payouts]
    live_foreign = [row["id"] for row in foreign if row["status"] not in ("failed", "canceled")]
    credits = bank.invoices.credited.values()
    result: dict[str, Any] = {
        "invoices": {status: sums["count"] for status, sums in bank.invoices.by_status().items()},
        "invoice_count": len(bank.invoices.rows),
        "credited": {
            "count": len(credits),
            "gross_centavos": sum(credit.gross_centavos for credit in credits),
            "fee_centavos": sum(credit.fee_centavos for credit in credits),
            "net_centavos": sum(credit.net_centavos for credit in credits),
        },
        "transfers": bank.transfers.by_status(),
        "transfer_count": len(bank.transfers.rows),
        **_balance(bank),
        "forwarded_exactly_once": verdicts.count("forwarded_exactly_once"),
        **{
            verdict: [payout["invoice_id"] for payout in payouts if payout["verdict"] == verdict]
            for verdict in ("nothing_to_forward", "unpaid", "in_flight", "paid_twice", "wrong_amount")
        },
        "foreign": live_foreign,
        "exact": not live_foreign and set(verdicts) <= {"forwarded_exactly_once", "nothing_to_forward"},
    }
    if details:
        result["payouts"] = payouts
        result["foreign_transfers"] = [_transfer(row) for row in foreign]
    return result


def _balance(bank: Bank) -> dict[str, Any]:
    """The balance, computed a second time from rows, and whether both agree."""
    reversed_centavos = sum(bank.invoices.reversed_centavos.values())
    deposited_centavos = (
        sum(credit.gross_centavos for credit in bank.deposits.credited.values())
        - sum(bank.deposits.reversed_centavos.values())
        - _on_the_way_back(bank.deposits.reversals)
    )
    expected_centavos = (
        bank.accounts.opening_centavos
        + sum(credit.net_centavos for credit in bank.invoices.credited.values())
        + deposited_centavos
        - reversed_centavos
        - _on_the_way_back(bank.invoices.reversals)
        - sum(
            row["amount"] + row["fee"]
            for row in bank.transfers.rows.all()
            if row["status"] in ("processing", "success")
        )
    )
    agrees = expected_centavos == bank.accounts.customer_centavos
    return {
        "opening_balance_centavos": bank.accounts.opening_centavos,
        "balance_centavos": bank.accounts.customer_centavos,
        "reversed_centavos": reversed_centavos,
        "deposited_centavos": deposited_centavos,
        "balanced": agrees and sum(bank.accounts.balances.values()) == 0,
        "accounts_centavos": dict(bank.accounts.balances),
    }


def _on_the_way_back(reversals: dict[str, Reversal]) -> int:
    return sum(reversal.centavos for reversal in reversals.values() if reversal.transaction_id)


# A transfer, and the tag or external_id that names the invoice.
Match = tuple[Row, str]


def _match(bank: Bank) -> tuple[dict[str, list[Match]], list[Row]]:
    """The transfers of each credited invoice, oldest first, and those that belong to none."""
    matches: dict[str, list[Match]] = defaultdict(list)
    foreign: list[Row] = []
    for row in bank.transfers.rows.all():
        named: dict[str, str] = {}
        for place, text in [*(("tag", tag) for tag in row["tags"]), ("external_id", row["externalId"])]:
            for word in re.findall(r"[0-9A-Za-z]+", text):
                if word in bank.invoices.credited:
                    named.setdefault(word, f"{place} {text}")
        for invoice_id, matched_by in named.items():
            matches[invoice_id].append((row, matched_by))
        if not named:
            foreign.append(row)
    return matches, foreign


def _payout(bank: Bank, invoice_id: str, credited: Credited, matches: list[Match]) -> dict[str, Any]:
    rows = [row for row, _ in matches]
    return {
        "invoice_id": invoice_id,
        "credited_at": time_text(credited.at),
        "gross_centavos": credited.gross_centavos,
        "fee_centavos": credited.fee_centavos,
        "net_centavos": credited.net_centavos,
        "reversed_centavos": bank.invoices.reversed_centavos.get(invoice_id, 0),
        "verdict": _verdict(rows, credited.net_centavos),
        "transfers": [{**_transfer(row), "matched_by": matched_by} for row, matched_by in matches],
    }


def _verdict(rows: list[Row], net_centavos: int) -> str:
    arrived = [row for row in rows if row["status"] == "success"]
    under_way = [row for row in rows if row["status"] in _OPEN]
    if len(arrived) > 1 or (arrived and any(row["status"] == "processing" for row in under_way)):
        # One that is only created may still turn out a duplicate; one whose money has left is a second
        # payment.
        return "paid_twice"
    if under_way:
        return "in_flight"
    if not arrived:
        return "unpaid" if net_centavos > 0 else "nothing_to_forward"
    return "forwarded_exactly_once" if arrived[0]["amount"] == net_centavos else "wrong_amount"


def _transfer(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "external_id": row["externalId"],
        "amount_centavos": row["amount"],
        "status": row["status"],
        "tags": row["tags"],
        "account_number": row["accountNumber"],
    }
