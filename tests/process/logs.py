"""A whole day's logs, read as an auditor and as an operator would: nothing secret, and every credit can be followed."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

# What tests put into the settings, so that it is worth looking for.
SECRETS = {
    "OPERATOR_TOKEN": "a-token-of-thirty-two-characters",
    # No one listens on port 9, so failed attempts are logged too.
    "ALERT_URLS": "json://operator:hunter2hunter2@127.0.0.1:9/services/path-that-is-secret",
}
_SECRET_WORDS = ("a-token-of-thirty", "hunter2", "path-that-is-secret", "PRIVATE KEY")


def logs_of(folder: Path) -> str:
    """Everything that our processes wrote; the bank's own output is not ours."""
    texts = [file.read_text("utf-8", "replace") for file in sorted(folder.glob("*.log"))]
    return "\n".join(text for text in texts if "emulator ready on" not in text)


def assert_nothing_secret(log: str, private_key_pem: str, database_file: Path) -> None:
    """Neither key, token, password nor a whole tax id: of any payer, or of the destination."""
    key_lines = [line for line in private_key_pem.splitlines() if line and not line.startswith("-----")]
    with closing(sqlite3.connect(database_file)) as books:
        # Only the bank's own bytes have them whole once the invoices are issued.
        bodies = books.execute("SELECT body FROM inbox_events WHERE subscription = 'invoice'").fetchall()
    reports = [json.loads(body) for (body,) in bodies]  # those that reconciliation found are no events
    payers = {log.get("event", {"log": log})["log"]["invoice"]["taxId"] for log in reports}
    assert len(payers) >= 64
    tax_ids = [*payers, "20.018.183/0001-80"]
    digits = [re.sub(r"\D", "", tax_id) for tax_id in tax_ids]
    found = [text for text in (*_SECRET_WORDS, *key_lines, *tax_ids, *digits) if text in log]
    assert not found, f"{len(found)} secrets in the log, the first: {found[0]}"


def assert_every_line_is_json(log: str) -> list[dict[str, Any]]:
    """One fact a line, each with its time, level, event and process; the lines."""
    lines = [json.loads(line) for line in log.splitlines() if line]
    assert all(list(line)[:4] == ["timestamp", "level", "event", "process"] for line in lines)
    return lines


def assert_every_credit_can_be_followed(lines: list[dict[str, Any]], database_file: Path) -> None:
    """From its event to the invoice, to our transfer, to the bank's, to the event that told of its end."""
    stored = {
        (line["event_id"], line["subject"])
        for line in lines
        if line["event"] in ("event.stored", "reconciliation.found")
    }
    told = {subject for _, subject in stored}
    sent = {
        (line["invoice_id"], line["external_id"], line["transfer_id"])
        for line in lines
        if line["event"] == "transfer.sent"
    }
    found_by_one_search = {
        (line.get("invoice_id"), line.get("external_id"), line["subject"])
        for line in lines
        if line["event"] in ("event.stored", "reconciliation.found")
    }
    looked_up = {line["external_id"] for line in lines if line["event"] == "transfer.looked_up"}
    with closing(sqlite3.connect(database_file)) as books:
        credits = books.execute(
            "SELECT c.event_id, c.invoice_id, t.external_id, t.bank_transfer_id FROM credits c"
            " JOIN transfers t ON t.invoice_id = c.invoice_id WHERE t.state = 'settled'"
        ).fetchall()
    assert credits
    for event_id, invoice_id, external_id, bank_transfer_id in credits:
        assert (event_id, invoice_id) in stored
        assert (invoice_id, external_id, bank_transfer_id) in sent or external_id in looked_up
        assert bank_transfer_id in told
        assert (invoice_id, None, invoice_id) in found_by_one_search
        assert (None, external_id, bank_transfer_id) in found_by_one_search
