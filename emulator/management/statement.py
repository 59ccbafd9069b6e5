"""The bank's own statement: what was credited, what was sent out, and whether the two match.

Computed from the rows, apart from the double-entry ledger, so that each checks the other. It only reads.
Money is in integer centavos. A transfer belongs to an invoice when it carries the tag `credit-<invoice id>`.
"""

from __future__ import annotations

from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.formats import time_text
from emulator.books.invoices import Credited
from emulator.books.table import Row

_PREFIX = "credit-"
_OPEN = ("created", "processing")


def statement(bank: Bank, *, details: bool) -> dict[str, Any]:
    """The statement as the management face shows it."""
    payouts = [_payout(bank, invoice_id, credited) for invoice_id, credited in bank.invoices.credited.items()]
    credits = bank.invoices.credited.values()
    reversed_centavos = sum(bank.invoices.reversed_centavos.values())
    reversing_centavos = sum(
        reversal.centavos for reversal in bank.invoices.reversals.values() if reversal.transaction_id
    )
    taken_centavos = sum(
        row["amount"] + row["fee"]
        for row in bank.transfers.rows.all()
        if row["status"] in ("processing", "success")
    )
    net_centavos = sum(credit.net_centavos for credit in credits)
    deposited_centavos = sum(bank.deposits.credited_centavos.values())
    sent_back_centavos = sum(bank.deposits.reversed_centavos.values()) + sum(
        reversal.centavos for reversal in bank.deposits.reversals.values() if reversal.transaction_id
    )
    expected = (
        bank.accounts.opening_centavos
        + net_centavos
        + deposited_centavos
        - sent_back_centavos
        - taken_centavos
        - reversed_centavos
        - reversing_centavos
    )
    foreign = [row for row in bank.transfers.rows.all() if not _belongs(bank, row)]
    result: dict[str, Any] = {
        "invoices": {status: count for status, count in sorted(bank.invoices.status_counts.items()) if count},
        "invoice_count": len(bank.invoices.rows),
        "credited": {
            "count": len(credits),
            "gross_centavos": sum(credit.gross_centavos for credit in credits),
            "fee_centavos": sum(credit.fee_centavos for credit in credits),
            "net_centavos": net_centavos,
        },
        "transfers": {
            status: {"count": count, "centavos": bank.transfers.status_centavos[status]}
            for status, count in sorted(bank.transfers.status_counts.items())
            if count
        },
        "transfer_count": len(bank.transfers.rows),
        "opening_balance_centavos": bank.accounts.opening_centavos,
        "balance_centavos": bank.accounts.customer_centavos,
        "reversed_centavos": reversed_centavos,
        "deposited_centavos": deposited_centavos - sent_back_centavos,
        "forwarded_exactly_once": sum(payout["verdict"] == "forwarded_exactly_once" for payout in payouts),
        "nothing_to_forward": [p["invoice_id"] for p in payouts if p["verdict"] == "nothing_to_forward"],
        "unpaid": [payout["invoice_id"] for payout in payouts if payout["verdict"] == "unpaid"],
        "in_flight": [payout["invoice_id"] for payout in payouts if payout["verdict"] == "in_flight"],
        "paid_twice": [payout["invoice_id"] for payout in payouts if payout["verdict"] == "paid_twice"],
        "wrong_amount": [payout["invoice_id"] for payout in payouts if payout["verdict"] == "wrong_amount"],
        "foreign": [row["id"] for row in foreign if row["status"] not in ("failed", "canceled")],
        "exact": all(
            payout["verdict"] in ("forwarded_exactly_once", "nothing_to_forward") for payout in payouts
        )
        and not any(row["status"] not in ("failed", "canceled") for row in foreign),
        "balanced": expected == bank.accounts.customer_centavos and sum(bank.accounts.balances.values()) == 0,
        "accounts_centavos": dict(bank.accounts.balances),
    }
    if details:
        result["payouts"] = payouts
        result["foreign_transfers"] = [_transfer(row) for row in foreign]
    return result


def _payout(bank: Bank, invoice_id: str, credited: Credited) -> dict[str, Any]:
    rows = bank.transfers.rows.having("tags", f"{_PREFIX}{invoice_id}")
    return {
        "invoice_id": invoice_id,
        "credited_at": time_text(credited.at),
        "gross_centavos": credited.gross_centavos,
        "fee_centavos": credited.fee_centavos,
        "net_centavos": credited.net_centavos,
        "reversed_centavos": bank.invoices.reversed_centavos.get(invoice_id, 0),
        "verdict": _verdict(rows, credited.net_centavos),
        "transfers": [_transfer(row) for row in rows],
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


def _belongs(bank: Bank, row: Row) -> bool:
    return any(
        tag.startswith(_PREFIX) and tag[len(_PREFIX) :] in bank.invoices.credited for tag in row["tags"]
    )


def _transfer(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "external_id": row["externalId"],
        "amount_centavos": row["amount"],
        "status": row["status"],
        "tags": row["tags"],
        "account_number": row["accountNumber"],
    }
