"""What a person does by hand to one invoice, transfer or event; and whole stories by name."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.management.actions import ACTIONS, possible
from emulator.management.triggers import TRIGGERS
from tests.emulator.conftest import INVOICE, TAGGED_TRANSFER


def new_invoice(signed: Any) -> str:
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    return str(answer["invoices"][0]["id"])


def log_types(signed: Any, invoice_id: str) -> list[str]:
    logs = signed.get(f"/v2/invoice/log?invoiceIds={invoice_id}")["logs"]
    return [log["type"] for log in reversed(logs)]


@pytest.mark.parametrize(
    ("act", "status", "types"),
    [
        ("pay", "paid", ["created", "paid"]),
        ("underpay", "paid", ["created", "paid"]),
        ("credit", "paid", ["created", "paid", "credited"]),
        ("overdue", "overdue", ["created", "overdue"]),
        ("expire", "expired", ["created", "overdue", "expired"]),
        ("cancel", "canceled", ["created", "canceled"]),
    ],
)
def test_an_invoice_is_taken_where_it_is_wanted_at_once(
    signed: Any, act: str, status: str, types: list[str]
) -> None:
    """Each action moves an invoice to its status immediately and writes the logs that lead there."""
    invoice_id = new_invoice(signed)
    assert signed.ask("POST", f"invoices/{invoice_id}/{act}")["invoice"]["status"] == status
    assert log_types(signed, invoice_id) == types
    signed.advance(3_600)
    credited = ["credited"] if status == "paid" and "credited" not in types else []
    assert log_types(signed, invoice_id) == types + credited, "what was planned does not happen twice"


def test_an_underpayment_is_half_or_what_is_said_and_never_all(signed: Any) -> None:
    """Underpaying pays half by default, a given lower amount, and refuses the full one."""
    assert signed.ask("POST", f"invoices/{new_invoice(signed)}/underpay")["invoice"]["amount"] == 24_356
    assert signed.ask("POST", f"invoices/{new_invoice(signed)}/underpay", amount=1)["invoice"]["amount"] == 1
    assert "48712" in signed.refused("POST", f"invoices/{new_invoice(signed)}/underpay", amount=48_712)


def test_what_makes_no_sense_is_refused_and_changes_nothing(signed: Any) -> None:
    """An action that the status forbids gets the bank's refusal and leaves the books as they were."""
    invoice_id = new_invoice(signed)
    assert "reversed" in signed.refused("POST", f"invoices/{invoice_id}/reverse")
    signed.ask("POST", f"invoices/{invoice_id}/credit")
    for act in ("pay", "credit", "overdue", "expire"):
        assert invoice_id in signed.refused("POST", f"invoices/{invoice_id}/{act}")
    assert log_types(signed, invoice_id) == ["created", "paid", "credited"]
    assert "Unknown parameters in the body: colour" in signed.refused(
        "POST", f"invoices/{invoice_id}/expire", colour="red"
    )
    assert "no transfer yet" in signed.refused("POST", "transfers/last/settle")


@pytest.mark.parametrize(("act", "end"), [("pay", "paid"), ("expire", "expired")])
def test_an_overdue_invoice_can_still_be_paid_or_expire_by_hand(signed: Any, act: str, end: str) -> None:
    """An overdue invoice accepts both ends: a payment or its expiration."""
    late = new_invoice(signed)
    signed.ask("POST", "invoices/last/overdue")
    signed.ask("POST", f"invoices/{late}/{act}")
    assert log_types(signed, late) == ["created", "overdue", end]


def test_a_transfer_is_settled_failed_or_canceled(signed: Any) -> None:
    """Each action ends a transfer in its status."""
    elements = [{**TAGGED_TRANSFER, "externalId": name} for name in "ab"]
    later = {**TAGGED_TRANSFER, "externalId": "c", "scheduled": "2026-03-09"}
    _, answer = signed.call("POST", "/v2/transfer", {"transfers": [*elements, later]})
    first, second, third = (each["id"] for each in answer["transfers"])
    assert signed.ask("POST", f"transfers/{first}/settle")["transfer"]["status"] == "success"
    assert signed.ask("POST", f"transfers/{second}/fail", reason="Closed")["transfer"]["status"] == "failed"
    assert signed.ask("POST", f"transfers/{third}/cancel")["transfer"]["status"] == "canceled"
    assert signed.get(f"/v2/transfer/log?transferIds={second}")["logs"][0]["errors"] == ["Closed"]
    assert "already" in signed.refused("POST", f"transfers/{first}/settle")
    assert "cannot fail" in signed.refused("POST", f"transfers/{second}/fail")
    signed.advance(3_600)
    assert signed.get("/v2/balance")["balances"][0]["amount"] == 99_000


def test_settling_judges_as_the_bank_does(signed: Any) -> None:
    """Settling a transfer without the money makes it fail, as the bank itself would."""
    signed.call("POST", "/v2/transfer", {"transfers": [{**TAGGED_TRANSFER, "amount": 10**9}]})
    assert signed.ask("POST", "transfers/last/settle")["transfer"]["status"] == "failed"


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_story_ends_where_its_name_says_and_its_events_go_out_in_order(
    signed: Any, receiver: Any, name: str
) -> None:
    """A trigger leaves its entity in the named status and posts one event for each log, oldest first."""
    kind, _, step = name.partition(".")
    signed.ask("POST", "webhooks", url=receiver.url, subscriptions="invoice, transfer, deposit")
    told = signed.ask("POST", "trigger", name=name, amount=5_000)
    assert told["story"] == name
    events = signed.get("/v2/event")["events"]
    types = [event["log"]["type"] for event in reversed(events)]
    assert types[0] == "created"
    wanted = {"underpaid": "paid", "reversed": "voided"}.get(step, step)
    assert types[-1] == wanted
    assert told["deliveries"] == len(types)
    assert {event["log"][kind]["id"] for event in events} == {told[kind]["id"]}
    created = [event["log"]["created"] for event in reversed(events)]
    assert created == sorted(created)
    assert signed.ask("GET", "health/ready") == {"status": "ready"}


def test_a_story_that_cannot_be_told_says_why(signed: Any) -> None:
    """An unknown trigger, or one without the money that it needs, is refused with the reason."""
    assert "invoice.credited" in signed.refused("POST", "trigger", name="transfer.success", amount=10**7)
    assert "name must be one of invoice.created" in signed.refused("POST", "trigger", name="invoice.eaten")
    assert "amount" in signed.refused("POST", "trigger", name="invoice.paid", amount=0)


@pytest.mark.parametrize("story", [name for name in TRIGGERS if not name.startswith("deposit")])
def test_the_page_offers_what_the_bank_does_not_refuse(signed: Any, story: str) -> None:
    """A row has a button for each action that would be done as it stands, and for no other."""
    kind = story.partition(".")[0]
    row = signed.ask("POST", "trigger", name=story)[kind]
    before = signed.ask("GET", "state")
    offered = possible(signed.bank, kind, row, with_rare=True)
    for action in ACTIONS:
        if action.kind == kind:
            done = signed.client.post(f"/emulator/{kind}s/{row['id']}/{action.name}").status_code == 200
            assert done == (action.name in offered), action.name
            signed.client.put("/emulator/state", json=before).raise_for_status()


def test_an_event_can_be_doubled_held_back_and_lost(signed: Any, receiver: Any) -> None:
    """Redeliver, delay and drop change how often and when an event is posted."""
    signed.ask("POST", "webhooks", url=receiver.url, subscriptions=["invoice"])
    receiver.status = 503
    signed.ask("POST", "trigger", name="invoice.created")
    receiver.next()
    deliveries = "/emulator/deliveries?status=503"
    while not signed.client.get(deliveries).json()["deliveries"]:
        pass
    event_id = signed.get("/v2/event")["events"][0]["id"]
    assert signed.ask("POST", f"events/{event_id}/delay", seconds=7_200) == {"delayed": 1}, (
        "its first retry waits"
    )
    signed.advance(7_100)
    assert len(signed.client.get(deliveries).json()["deliveries"]) == 1
    assert signed.ask("POST", f"events/{event_id}/drop") == {"dropped": 1}
    signed.advance(86_400)
    assert len(signed.client.get(deliveries).json()["deliveries"]) == 1
    receiver.status = 200
    assert signed.ask("POST", f"events/{event_id}/redeliver", count=2, forged=True) == {"deliveries": 2}
    forged = {receiver.next()[1] for _ in range(2)}
    signed.ask("POST", "events/last/redeliver")
    assert receiver.next()[1] not in forged
    assert "no event" in signed.refused("POST", "events/1/drop").lower()


def test_an_event_can_be_sent_to_any_address_and_its_answer_seen(signed: Any, receiver: Any) -> None:
    """Send posts an event to a URL that is no webhook and returns the receiver's answer."""
    assert "no event yet" in signed.refused("POST", "events/last/send")
    signed.ask("POST", "webhooks", url="http://127.0.0.1:9/nobody", subscriptions=["invoice"])
    signed.ask("POST", "trigger", name="invoice.created")
    sent = signed.ask("POST", "events/last/send", url=receiver.url)["delivery"]
    assert (sent["status"], sent["webhook"], sent["url"]) == (200, "", receiver.url)
    assert receiver.next()[0].startswith(b'{"event": ')
    nobody = signed.ask("POST", "events/last/send")["delivery"]
    assert (nobody["status"], nobody["code"]) == (None, "badConnection")
    for url in ("ftp://x/", "http://a b/", "http://user@host/", 5):
        assert "url" in signed.refused("POST", "events/last/send", url=url)


def test_the_agenda_shows_what_is_planned(signed: Any) -> None:
    """GET agenda lists what will happen next, with its time and the entity."""
    invoice_id = new_invoice(signed)
    found = signed.ask("GET", "agenda")
    assert {"what": "invoice.overdue", "about": [invoice_id]}.items() <= found["agenda"][-1].items()
