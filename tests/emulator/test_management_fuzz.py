"""Anything can be sent to the management API and its forms; the answer is never a 500, and the books balance."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.management.triggers import TRIGGERS

INVOICE = {"amount": 48_712, "name": "Marina Tavares", "taxId": "529.982.247-25"}
CALLS = (
    "clock", "invoices/{id}/pay", "invoices/{id}/underpay", "invoices/{id}/credit", "invoices/{id}/overdue",
    "invoices/{id}/expire", "invoices/{id}/cancel", "invoices/{id}/reverse", "transfers/{id}/settle",
    "transfers/{id}/fail", "transfers/{id}/cancel", "deposits", "trigger", "webhooks", "faults", "faults/clear",
    "events/{id}/redeliver", "events/{id}/delay", "events/{id}/drop", "projects", "projects/{id}/key", "settings",
    "preset", "state", "key/rotate", "stop-paying", "nowhere",
)  # fmt: skip
NAMES = (
    "amount", "name", "reason", "times", "rate", "route", "only", "ends_in", "seconds", "count", "forged", "speed",
    "paused", "advance", "to", "steps", "url", "subscriptions", "public_key", "allowed_ips", "requests_per_minute",
    "paid_share", "pay_delay_seconds", "retry_delays_seconds", "id", "emulator_state", "taxId", "percent", "back",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 13, 100, 10**18, 0.5, 1e308, "", "x", "last", "é\x00", "<b>", "1", "true",
    "2026-03-03T00:00:00+00:00", "2026-03-02", "9999-12-31T23:59:59Z", "http://127.0.0.1:9/", "invoice,transfer",
    [], [1, 2], ["invoice"], ["10.0.0.0/8"], [[]], {}, {"$same": 0}, *FAULTS, *SCENARIOS, *PACKS, *TRIGGERS,
    "POST transfer", "sandbox", "instant",
)  # fmt: skip
IDS = ("last", "1", "x", "%00", "é", "last/", "..", "%2e%2e")


@pytest.mark.parametrize("seed", range(4))
def test_no_call_of_the_management_face_ends_in_a_500(
    signed: Any, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Random calls are answered with 200, 400 or 404 and leave the books balanced."""
    chance = random.Random(seed)
    signed.call("POST", "/v2/invoice", {"invoices": [INVOICE] * 3})
    seen = set()
    for _ in range(400):
        path = chance.choice(CALLS).replace("{id}", chance.choice(IDS))
        body = {chance.choice(NAMES): chance.choice(VALUES) for _ in range(chance.choice((0, 1, 1, 2, 2, 3)))}
        method = chance.choice(("POST", "POST", "POST", "PATCH", "GET", "PUT", "DELETE"))
        response = ask(signed, chance, method, f"/emulator/{path}", body)
        assert response.status_code in (200, 303, 400, 404, 405), f"{method} {path} {body}: {response.text}"
        seen.add(response.status_code)
    assert {200, 303, 400} <= seen
    assert signed.client.get("/emulator/").status_code == 200
    signed.bank.faults.clear()
    signed.client.patch("/emulator/clock", json={"advance": 86_400}).raise_for_status()
    assert signed.ask("GET", "statement")["balanced"] is True
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def ask(signed: Any, chance: random.Random, method: str, path: str, body: dict[str, Any]) -> Any:
    send: Callable[..., Any] = signed.client.request
    if method == "POST" and chance.random() < 0.3:
        form = {name: str(value) for name, value in body.items()}
        return send(method, path, data={"back": "x", **form}, follow_redirects=False)
    raw = chance.choice((b"", b"[]", b"{", b"\xff", b"[" * 10_000)) if chance.random() < 0.1 else None
    return send(method, path, content=json.dumps(body).encode() if raw is None else raw)
