"""The real command, over real sockets, through the untouched official SDK."""

from __future__ import annotations

import base64
import json
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import starkbank
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from starkcore.error import InvalidSignatureError

Start = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2

pytestmark = pytest.mark.process


def forward(log: Any) -> Any:
    invoice = log.invoice
    return starkbank.Transfer(
        amount=invoice.amount - invoice.fee,
        name="Stark Bank S.A.",
        tax_id="20.018.183/0001-80",
        bank_code="20018183",
        branch_code="0001",
        account_number="6341320293482496",
        account_type="payment",
        external_id=f"credit-{invoice.id}",
        tags=[f"credit-{invoice.id}"],
    )


def test_the_sdk_issues_receives_and_forwards_and_the_bank_agrees_to_the_centavo(
    start_emulator: Start, point_sdk_at: Start, receiver: Any
) -> None:
    """The official SDK does the whole job against a real process."""
    bank = start_emulator("--seed", "7", "--speed", "2000", "--fee", "50", "--paid-share", "1")
    point_sdk_at(bank)
    starkbank.webhook.create(url=receiver.url, subscriptions=["invoice", "transfer"])
    issued = starkbank.invoice.create(
        [
            starkbank.Invoice(amount=1_000 + n, tax_id="012.345.678-90", name="José Conceição")
            for n in range(10)
        ]
    )
    assert [invoice.amount for invoice in issued] == [1_000 + n for n in range(10)]

    credits: dict[str, Any] = {}
    high = {True: 0, False: 0}
    while len(credits) < 10:
        body, signature = receiver.next()
        event = starkbank.event.parse(content=body.decode(), signature=signature)
        assert json.dumps(json.loads(body), sort_keys=True).encode() == body
        _, s = decode_dss_signature(base64.b64decode(signature))
        high[s > HALF_ORDER] += 1
        if event.subscription == "invoice" and event.log.type == "credited":
            credits[event.log.invoice.id] = event.log
    assert high[True] > 0, "half of the bank's signatures have a high S"
    assert high[False] > 0, "half of the bank's signatures have a low S"

    sent = starkbank.transfer.create([forward(log) for log in credits.values()])
    assert {transfer.status for transfer in sent} == {"created"}
    statement = bank.wait_for(
        lambda: (found := bank.get("/emulator/statement")) and found["forwarded_exactly_once"] == 10 and found
    )
    assert statement["exact"] is True
    assert statement["balanced"] is True
    assert statement["balance_centavos"] == 0
    assert statement["credited"] == {
        "count": 10, "gross_centavos": 10_045, "fee_centavos": 500, "net_centavos": 9_545,
    }  # fmt: skip
    assert starkbank.balance.get().amount == 0
    assert {transfer.status for transfer in starkbank.transfer.query(tags=[f"credit-{issued[0].id}"])} == {
        "success"
    }
    bank.wait_for(lambda: not list(starkbank.event.query(is_delivered=False)))


def test_a_forged_copy_and_a_rotated_key_are_told_apart_by_the_sdk(
    start_emulator: Start, point_sdk_at: Start, receiver: Any
) -> None:
    """The SDK refuses a forged event and accepts one signed with a new key."""
    bank = start_emulator("--paid-share", "0", "--speed", "5000")
    point_sdk_at(bank)
    starkbank.webhook.create(url=receiver.url, subscriptions=["invoice"])
    bank.post("/emulator/faults", name="forge_signature", times=1)
    starkbank.invoice.create([starkbank.Invoice(amount=250, tax_id="20018183000180", name="Ana")])
    verdicts: dict[str, Any] = {}
    for _ in range(2):
        body, signature = receiver.next()
        try:
            verdicts["real"] = starkbank.event.parse(content=body.decode(), signature=signature)
        except InvalidSignatureError:
            verdicts["forged"] = body
    assert sorted(verdicts) == ["forged", "real"]
    event = verdicts["real"]
    bank.post("/emulator/key/rotate")
    bank.post(f"/emulator/events/{event.id}/redeliver")
    body, signature = receiver.next()
    assert starkbank.event.parse(content=body.decode(), signature=signature).id == event.id


def test_a_hanging_answer_outlasts_the_caller_and_does_not_keep_the_process_from_ending(
    start_emulator: Start,
) -> None:
    """SIGTERM ends the process while an answer hangs."""
    bank = start_emulator()
    bank.post("/emulator/faults", name="hang", route="GET balance")
    with pytest.raises(requests.ReadTimeout):
        requests.get(bank.url + "/v2/balance", timeout=0.3)
    assert bank.get("/emulator/requests")["requests"][0]["fault"] == "hang"
    assert bank.stop() == 0


def test_it_prints_and_writes_what_an_app_needs_and_never_the_key(
    start_emulator: Start, tmp_path: Path
) -> None:
    """The printed lines are the env file, without any private key."""
    bank = start_emulator("--env-file", str(tmp_path / "for-app.env"))
    written = (tmp_path / "for-app.env").read_text()
    assert written in bank.printed
    assert list(bank.environment) == [
        "STARKBANK_ENVIRONMENT", "STARKBANK_PROJECT_ID", "STARKBANK_PRIVATE_KEY_PATH", "STARKBANK_API_URL",
    ]  # fmt: skip
    key = Path(bank.environment["STARKBANK_PRIVATE_KEY_PATH"])
    assert key.is_absolute()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    assert "PRIVATE KEY-----" not in bank.printed + written
    assert bank.stop() == 0
    again = start_emulator()
    assert again.environment["STARKBANK_PROJECT_ID"] == bank.environment["STARKBANK_PROJECT_ID"]


def test_ctrl_c_ends_it_cleanly(start_emulator: Start) -> None:
    """SIGINT ends the process with status 0."""
    bank = start_emulator()
    bank.process.send_signal(signal.SIGINT)
    assert bank.stop() == 0


def test_a_webhook_that_answers_503_gets_attempts_and_an_undelivered_event(
    start_emulator: Start, point_sdk_at: Start, receiver: Any
) -> None:
    """The SDK reads attempts and undelivered events of a failing receiver."""
    bank = start_emulator("--paid-share", "0", "--speed", "20000")
    point_sdk_at(bank)
    receiver.status = 503
    starkbank.webhook.create(url=receiver.url, subscriptions=["invoice"])
    starkbank.invoice.create([starkbank.Invoice(amount=250, tax_id="20018183000180", name="Ana")])
    attempts = bank.wait_for(lambda: len(found := list(starkbank.event.attempt.query())) == 4 and found)
    assert {attempt.code for attempt in attempts} == {"badHttpStatus"}
    (event,) = starkbank.event.query(is_delivered=False)
    assert starkbank.event.update(event.id, is_delivered=True).is_delivered is True
    receiver.status = 200
    bodies = {receiver.next()[0] for _ in range(4)}
    assert len(bodies) == 1, "a delivery is repeated byte for byte"


@pytest.mark.parametrize("fault", ["drop_answer", "cut_body"])
def test_an_answer_that_is_lost_after_acceptance_leaves_the_transfer_at_the_bank(
    start_emulator: Start, point_sdk_at: Start, fault: str
) -> None:
    """The SDK sees an error while the transfer exists."""
    bank = start_emulator("--opening-balance", "5000")
    bank.post("/emulator/faults", name=fault, route="POST transfer", times=1)
    point_sdk_at(bank)
    transfer = starkbank.Transfer(
        amount=100, name="S", tax_id="20.018.183/0001-80", bank_code="20018183", branch_code="0001",
        account_number="1", account_type="payment", external_id="lost-1", tags=["lost-1"],
    )  # fmt: skip
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the SDK makes of it, it is not an answer
        starkbank.transfer.create([transfer])
    (found,) = starkbank.transfer.query(tags=["lost-1"])
    assert found.external_id == "lost-1"
