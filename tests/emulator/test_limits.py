"""How many calls a project may make."""

from __future__ import annotations

from typing import Any

from emulator.protocol.limits import Limits


def test_a_bucket_fills_evenly_and_belongs_to_one_project() -> None:
    """Calls come back one by one over the minute, for each project by itself."""
    seconds = [100.0]
    limits = Limits(lambda: seconds[0])
    assert [limits.wait_seconds("a", 3) for _ in range(4)] == [0, 0, 0, 20]
    assert limits.wait_seconds("b", 3) == 0
    seconds[0] += 19.5
    assert limits.wait_seconds("a", 3) == 1
    seconds[0] += 1
    assert [limits.wait_seconds("a", 3) for _ in range(2)] == [0, 20]
    seconds[0] += 3_600
    assert [limits.wait_seconds("a", 3) for _ in range(4)] == [0, 0, 0, 20], (
        "never more than a minute's worth"
    )
    assert limits.wait_seconds("a", 0) == 0


def test_too_many_calls_are_answered_429_with_the_time_to_wait_and_change_nothing(signed: Any) -> None:
    """A call above the limit gets Retry-After and has no effect."""
    signed.client.patch("/emulator/settings", json={"requests_per_minute": 2})
    invoices = {"invoices": [{"amount": 1, "name": "Ana", "taxId": "012.345.678-90"}]}
    assert signed.call("POST", "/v2/invoice", invoices)[0] == 200
    signed.get("/v2/balance")
    throttled = signed.client.get("/v2/balance", headers=signed.headers())
    assert (throttled.status_code, throttled.headers["x-emulator"]) == (429, "repasse")
    assert 1 <= int(throttled.headers["retry-after"]) <= 30
    project_id = signed.project_id
    lifted = signed.client.patch(f"/emulator/projects/{project_id}", json={"requests_per_minute": 0})
    assert lifted.json()["project"]["requests_per_minute"] == 0
    assert len(signed.get("/v2/invoice")["invoices"]) == 1
