"""Logs: one JSON line a fact, nothing secret in it."""

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest
import structlog

from payments.observability.logging import MASK, configure_logging, redact

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHQCAQEEIAbcd\n-----END EC PRIVATE KEY-----"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged since the last look, decoded."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_fact_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, event and process come first, in UTC; then the ids of the fact."""
    configure_logging("info", "json", "worker")
    structlog.get_logger().info("invoice.issued", invoice_id="7", name="João\nSá", amount_centavos=100)
    (line,) = lines(capsys)
    assert list(line)[:4] == ["timestamp", "level", "event", "process"]
    assert datetime.fromisoformat(line.pop("timestamp")).tzname() == "UTC"
    assert line == {
        "level": "info",
        "event": "invoice.issued",
        "process": "worker",
        "invoice_id": "7",
        "name": "João\nSá",
        "amount_centavos": 100,
    }


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and those of libraries alike."""
    configure_logging("warning", "json", "web")
    structlog.get_logger().info("event.received")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    assert lines(capsys) == []


def test_a_library_speaks_through_the_same_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    """Its event is a word of ours, its text the message; secrets in it are masked too."""
    configure_logging("info", "json", "web")
    logging.getLogger("uvicorn.error").info("Started on %s with Bearer %s", "8000", "abcdefgh12345678")
    (line,) = lines(capsys)
    assert line["event"] == "uvicorn.logged"
    assert line["logger"] == "uvicorn.error"
    assert line["process"] == "web"
    assert line["message"] == f"Started on 8000 with Bearer {MASK}"


@pytest.mark.parametrize(("level", "heard"), [("info", 0), ("debug", 1)])
def test_the_scheduler_is_quiet_unless_debugging(
    capsys: pytest.CaptureFixture[str], level: str, heard: int
) -> None:
    """It would write two lines for every job."""
    configure_logging(level, "json", "worker")
    logging.getLogger("apscheduler.executors.default").info("Running job")
    assert len(lines(capsys)) == heard


def test_an_exception_is_told_without_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback quotes messages, and messages quote values."""
    configure_logging("info", "json", "worker")
    try:
        raise ValueError(f"cannot use {PEM}")
    except ValueError:
        structlog.get_logger().exception("transfer.crashed", transfer_id="9")
    (line,) = lines(capsys)
    assert "Traceback" in line["exception"]
    assert f"ValueError: cannot use {MASK}" in line["exception"]


def test_the_console_format_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The same facts and the same masks, without JSON."""
    configure_logging("info", "console", "web")
    structlog.get_logger().info("invoice.issued", tax_id="012.345.678-90")
    out = capsys.readouterr().out
    assert "invoice.issued" in out
    assert "***.345.678-**" in out
    assert not out.startswith("{")


class _Full:
    """A standard output on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_is_lost_and_the_next_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Money is recorded around log lines; a full disk costs the line and nothing else."""
    configure_logging("info", "json", "worker")
    log = structlog.get_logger()
    with monkeypatch.context() as full:
        full.setattr(sys, "stdout", _Full())
        log.info("transfer.sent", transfer_id="9")
        logging.getLogger("uvicorn.error").error("oops")
    log.info("transfer.sent", transfer_id="10")
    (line,) = lines(capsys)
    assert line["transfer_id"] == "10"


SECRETS = [
    ("body", PEM, MASK),
    ("body", f"key: {PEM}\nrest", f"key: {MASK}\nrest"),
    ("body", PEM.replace("\n", "\\n"), MASK),
    ("body", PEM[:50], MASK),
    ("operator_token", "hunter2", MASK),
    ("headers", {"authorization": "Basic aHVudGVyMg=="}, {"authorization": MASK}),
    ("header", "Authorization: Basic aHVudGVyMg==", f"Authorization: Basic {MASK}"),
    ("url", "postgresql+psycopg://me:hunter2@db/repasse", f"postgresql+psycopg://me:{MASK}@db/repasse"),
    ("error", 'OPERATOR_TOKEN="hunter2" is wrong', f'OPERATOR_TOKEN="{MASK}" is wrong'),
    ("tax_id", "012.345.678-90", "***.345.678-**"),
    ("tax_id", "20.018.183/0001-80", "**.018.183/****-**"),
    ("tax_id", "12.ABC.345/01DE-35", "**.ABC.345/****-**"),
    ("message", "payer 012.345.678-90 (20.018.183/0001-80)", "payer ***.345.678-** (**.018.183/****-**)"),
    ("tax_id", "01234567890", MASK),
    ("payer_tax_id", "20018183000180", MASK),
    ("taxId", 20018183000180, MASK),
    ("body", b'{"taxId": "01234567890"}', '{"taxId": "***.345.678-**"}'),
    ("payers", [{"name": "Zoé", "tax_id": "01234567890"}], [{"name": "Zoé", "tax_id": MASK}]),
    ("error", ValueError("012.345.678-90"), "***.345.678-**"),
]


@pytest.mark.parametrize(("name", "value", "masked"), SECRETS)
def test_what_is_secret_is_masked_wherever_it_stands(name: str, value: object, masked: object) -> None:
    """Keys, tokens, passwords and tax ids: by their shape, or by the name that they have."""
    assert redact(None, "info", {name: value}) == {name: masked}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("invoice_id", "5656565656565656"),
        ("external_id", "credit-5656565656565656-r2"),
        ("timestamp", "2026-11-21T06:40:00.123456Z"),
        ("url", "http://127.0.0.1:8900/v2/invoice?limit=100"),
        ("amount_centavos", 12345678901),
        ("balanced", True),
        ("lease_seconds", 0.5),
        ("reason", None),
    ],
)
def test_what_is_not_secret_stays(name: str, value: object) -> None:
    """An id or an amount that is masked helps nobody."""
    assert redact(None, "info", {name: value}) == {name: value}
