"""One page for one thing: an invoice, a transfer, a deposit, an event, a request or a delivery, with all it holds."""

from __future__ import annotations

import json
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.management.page.dashboard import event_buttons, invoice_buttons, transfer_buttons
from emulator.management.page.html import Html, join, tag
from emulator.management.page.parts import badge, field, form, moment, section, status_badge, table, view
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.endpoint import ProtocolEndpoint
from emulator.protocol.history import shown


def details(kind: str, row_id: str, bank: Bank, endpoint: ProtocolEndpoint, posts: Deliveries) -> Html | None:
    """The body of the page; None when there is no such thing."""
    if kind in ("request", "delivery"):
        history = endpoint.history if kind == "request" else posts.history
        entry = history.get(int(row_id)) if row_id.isascii() and row_id.isdigit() else None
        return None if entry is None else _entry(kind, shown(entry))
    books: dict[str, Any] = {"invoice": bank.invoices, "transfer": bank.transfers, "deposit": bank.deposits}
    book: Any = bank.events if kind == "event" else books.get(kind)
    row = None if book is None else book.rows.get(row_id)
    if book is None or row is None:
        return None
    parts = [_title(kind, row_id), tag("div", _acts(kind, row, bank), class_="row")]
    if kind == "event":
        parts += [_sending(row_id), _tries(row_id, posts)]
    else:
        logs = book.logs.having(f"{kind}Id", row_id)
        lines = [
            [moment(log["created"]), badge(log["type"]), "; ".join(log["errors"]), log["id"]] for log in logs
        ]
        parts.append(
            section("logs", "Logs", len(logs), table(["at", "type", "errors", "id"], lines, "None."))
        )
    return join([*parts, section("row", "As the bank shows it", None, _json(row))])


def _title(kind: str, row_id: Any) -> Html:
    return tag(
        "header", tag("h1", f"{kind} {row_id}"), tag("p", tag("a", "back to everything", href="/emulator/"))
    )


def _acts(kind: str, row: dict[str, Any], bank: Bank) -> list[Html]:
    path = f"{kind}s/{row['id']}"
    button = tag("button", "Do")
    if kind == "invoice":
        found = invoice_buttons(bank, row)
        if row["status"] in ("created", "overdue"):
            found.append(form(f"{path}/pay", "invoices", field("pay centavos", "amount", 8), button))
        elif row["id"] in bank.invoices.credited and row["status"] == "paid":
            found.append(form(f"{path}/reverse", "invoices", field("reverse, leaving", "amount", 8), button))
        return found
    if kind == "transfer":
        found = transfer_buttons(row)
        return (
            [*found, form(f"{path}/fail", "transfers", field("fail for", "reason", 24), button)]
            if found
            else []
        )
    return event_buttons(row) if kind == "event" else []


def _sending(event_id: str) -> Html:
    return form(
        f"events/{event_id}/send",
        "deliveries",
        field("send it to", "url", 44, placeholder="any http or https address"),
        tag("button", "Send and see the answer"),
    )


def _tries(event_id: str, posts: Deliveries) -> Html:
    found = [each for each in posts.history.newest(1_000) if each["event"] == event_id]
    rows = [[view("delivery", each["number"]), moment(each["at"]), each["url"], status_badge(each["status"])]
            for each in found]  # fmt: skip
    return section("tries", "Deliveries", len(found), table(["", "at", "to", "answer"], rows, "None."))


def _entry(kind: str, entry: dict[str, Any]) -> Html:
    facts = [[name, str(value)] for name, value in entry.items() if name not in ("body", "answer")]
    return join(
        [
            _title(kind, entry["number"]),
            section("facts", "What happened", None, table(["", ""], facts, "")),
            section("sent", "Body", None, _text(entry["body"])),
            section("answer", "Answer", None, _text(entry["answer"])),
        ]
    )


def _text(body: str) -> Html:
    if not body:
        return tag("p", "empty", class_="nothing")
    try:
        return _json(json.loads(body))
    except (ValueError, RecursionError):
        return tag("pre", body)


def _json(value: Any) -> Html:
    return tag("pre", json.dumps(value, indent=2, ensure_ascii=False))
