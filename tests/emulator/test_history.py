"""What came in and what went out, for tests to read, filter and clear."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.protocol.history import MOST_ENTRIES, MOST_LISTED_BYTES, MOST_TOTAL_BYTES, History
from tests.emulator.conftest import INVOICE


def test_entries_are_numbered_filtered_and_forgotten_oldest_first() -> None:
    """The history keeps the newest entries under numbers that go on."""
    history = History()
    for number in range(MOST_ENTRIES + 5):
        history.add({"path": f"/v2/{number % 3}", "status": 200, "fault": None, "body": b"x", "answer": b""})
    assert len(history) == MOST_ENTRIES
    assert history.get(5) is None
    assert [each["number"] for each in history.newest(2)] == [MOST_ENTRIES + 5, MOST_ENTRIES + 4]
    found = history.find({"path": "*/2", "limit": "2"}, ("path", "status"))
    assert [each["path"] for each in found] == ["/v2/2", "/v2/2"]
    assert "body" not in found[0]
    assert len(history.find({"since": str(MOST_ENTRIES + 2)}, ())) == 3
    assert history.find({"limit": "1", "bodies": "true"}, ())[0]["body"] == "x"
    assert history.clear() == MOST_ENTRIES
    assert history.add({})["number"] == MOST_ENTRIES + 6, "numbers go on"


@pytest.mark.parametrize("query", [{"colour": "red"}, {"limit": "-1"}, {"since": "now"}])
def test_a_filter_that_is_not_one_is_refused(query: dict[str, str]) -> None:
    """An unknown filter or a number that is none is refused by name."""
    with pytest.raises(ValueError, match=next(iter(query))):
        History().find(query, ("path",))


def test_a_request_is_kept_with_who_what_and_why(signed: Any) -> None:
    """An entry has the project, the call, the status, the error codes and both bodies."""
    signed.call("POST", "/v2/invoice", {"invoices": [INVOICE, {"amount": -1}]})
    signed.get("/v2/balance")
    signed.client.get("/v2/balance")
    (refused,) = signed.ask("GET", "requests?path=/v2/invoice&status=400")["requests"]
    assert refused["errors"] == ["invalidJson"]
    assert refused["project"] == signed.project_id
    whole = signed.ask("GET", f"requests/{refused['number']}")["request"]
    assert "Marina Tavares" in whole["body"]
    assert "invalidJson" in whole["answer"]
    assert [each["project"] for each in signed.ask("GET", "requests?path=/v2/bal*")["requests"]] == [
        signed.project_id,
        None,
    ]
    assert "no entry 99" in signed.refused("GET", "requests/99")
    assert "colour" in signed.refused("GET", "requests?colour=red")
    big = {"invoices": [INVOICE] * 90}
    signed.call("POST", "/v2/invoice", big)
    kept = signed.ask("GET", "requests?limit=1&bodies=true")["requests"][0]
    assert len(kept["body"]) == len(kept["answer"]) == MOST_LISTED_BYTES
    whole = signed.ask("GET", f"requests/{kept['number']}")["request"]
    assert len(json.loads(whole["body"])["invoices"]) == len(json.loads(whole["answer"])["invoices"]) == 90


def test_the_oldest_entries_go_when_all_bodies_together_are_too_long() -> None:
    """Long bodies take the place of more entries than short ones."""
    history = History()
    for _ in range(5):
        history.add({"body": b"x" * (MOST_TOTAL_BYTES // 4), "answer": b"y"})
    assert [each["number"] for each in history.newest(9)] == [5, 4, 3]
    history.clear()
    history.add({"body": b"x" * (MOST_TOTAL_BYTES // 4), "answer": b"y"})
    history.add({"body": b"x" * (MOST_TOTAL_BYTES // 2), "answer": b"y"})
    assert len(history) == 2, "what was cleared no longer counts"


def test_a_delivery_is_kept_with_its_answer(signed: Any, receiver: Any) -> None:
    """An entry has the event, the URL, the status and the receiver's answer."""
    signed.ask("POST", "webhooks", url=receiver.url, subscriptions=["invoice"])
    signed.ask("POST", "trigger", name="invoice.created")
    receiver.next()
    receiver.status = 503
    (event,) = signed.get("/v2/event")["events"]
    sent = signed.ask("POST", f"events/{event['id']}/send", forged=True)["delivery"]
    assert (sent["status"], sent["code"], sent["forged"]) == (503, "badHttpStatus", True)
    first, second = signed.ask("GET", "deliveries")["deliveries"]
    assert (first["status"], first["type"], first["url"], first["code"]) == (
        200,
        "created",
        receiver.url,
        None,
    )
    assert second["number"] == sent["number"]
    assert signed.ask("GET", "deliveries?forged=true&status=503")["deliveries"] == [second]
    whole = signed.ask("GET", f"deliveries/{first['number']}")["delivery"]
    assert event["id"] in whole["body"]
    assert whole["signature"]
    assert signed.ask("DELETE", "deliveries") == {"cleared": 2}
    assert signed.ask("GET", "deliveries") == {"deliveries": []}
