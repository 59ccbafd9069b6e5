"""What we ask the bank for, how it looks on the wire, and which answers are not believed."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import starkbank
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from payments.bank import client
from payments.bank.client import Bank, BankWebhook, open_bank
from payments.credit import Credit
from payments.errors import NotSent, SettingsError, Unclear
from payments.event import read_event, read_log
from payments.invoice import BankInvoice, InvoiceOrder, Payer, order_invoices
from payments.transfer import TransferOrder, difference
from tests.payments.bank.scripted_server import Arrived, ScriptedServer, reply
from tests.payments.builders import DESTINATION

PROJECT_ID = "5656565656565656"
CREATED = "2026-03-02T15:10:52.214860+00:00"
PAYERS = [(Payer("João Müller", "529.982.247-25"), 1000), (Payer("Zoë Ltda", "20.018.183/0001-80"), 2050)]

INVOICE_ORDERS = order_invoices("batch-7", PAYERS)
TRANSFER_ORDERS = [
    TransferOrder("credit-101", "credit-101", 900, DESTINATION, "call-1"),
    TransferOrder("credit-102-r2", "credit-102", 800, DESTINATION, "call-1"),
]


def open_test_bank(url: str, pem: str, timeout_seconds: float = 10.0) -> Bank:
    """A bank at the scripted server."""
    return open_bank("sandbox", PROJECT_ID, pem, url, timeout_seconds)


@pytest.fixture
def bank(server: ScriptedServer, private_key_pem: str) -> Iterator[Bank]:
    """A bank at the scripted server, closed in the end."""
    bank = open_test_bank(server.url, private_key_pem)
    yield bank
    bank.close()


def invoice_json(order: InvoiceOrder, number: int, **changes: Any) -> dict[str, Any]:
    """The bank's answer for an order: its tags in lower case, with one of the bank's own."""
    invoice = {
        "id": f"571334884212736{number}",
        "status": "created",
        "amount": order.amount_centavos,
        "tags": [*order.tags, "e2001"],
        "created": CREATED,
        "due": CREATED,
        "name": order.payer.name,
        "taxId": order.payer.tax_id,
        "somethingNew": {"a": 1},
    }
    return {**invoice, **changes}


def transfer_json(order: TransferOrder, number: int, **changes: Any) -> dict[str, Any]:
    """The bank's answer for an order."""
    transfer = {
        "id": f"516602194188697{number}",
        "status": "created",
        "amount": order.amount_centavos,
        "externalId": order.external_id,
        "bankCode": order.destination.bank_code,
        "branchCode": order.destination.branch_code,
        "accountNumber": order.destination.account_number,
        "taxId": order.destination.tax_id,
        "tags": list(order.tags),
        "created": CREATED,
        "updated": CREATED,
    }
    return {**transfer, **changes}


def query_of(request: Arrived) -> dict[str, str]:
    """The query of a request, each name once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}


# --- the request ---


def test_every_request_is_signed_over_the_bytes_that_arrive(
    server: ScriptedServer, bank: Bank, private_key: ec.EllipticCurvePrivateKey
) -> None:
    """An independent library accepts the signature of a POST with accents, of a GET and of a PATCH."""
    server.script = [
        reply({"invoices": [invoice_json(order, n) for n, order in enumerate(INVOICE_ORDERS)]}),
        reply({"balances": [{"id": "1", "amount": 5, "currency": "BRL", "updated": CREATED}]}),
        reply({"event": {"id": "77", "isDelivered": True}}),
    ]
    bank.create_invoices(INVOICE_ORDERS)
    bank.balance_centavos()
    bank.mark_delivered("77")
    public_key = PublicKey(
        private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    assert [request.method for request in server.arrived] == ["POST", "GET", "PATCH"]
    for request in server.arrived:
        access = f"{request.headers['access-id']}:{request.headers['access-time']}:"
        signature = b64decode(request.headers["access-signature"])
        assert request.headers["access-id"] == f"project/{PROJECT_ID}"
        assert public_key.verify(signature, access.encode() + request.body)
        assert not public_key.verify(signature, access.encode() + request.body + b" ")


def test_two_banks_in_one_process_keep_apart(server: ScriptedServer, private_key_pem: str) -> None:
    """Each call goes to its own bank, and none through a global user."""
    other = ScriptedServer(script=[reply({"balances": [{"id": "1", "amount": 2, "currency": "BRL"}]})])
    server.script = [reply({"balances": [{"id": "1", "amount": 1, "currency": "BRL"}]})]
    first, second = open_test_bank(server.url, private_key_pem), open_test_bank(other.url, private_key_pem)
    assert (first.balance_centavos(), second.balance_centavos()) == (1, 2)
    assert starkbank.user is None
    first.close()
    second.close()
    other.close()


# --- settings ---


def _pem(key: ec.EllipticCurvePrivateKey, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "secret",
        "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----",
        _pem(ec.generate_private_key(ec.SECP256R1())),
        _pem(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8),
    ],
    ids=["empty", "text", "damaged", "another curve", "PKCS8"],
)
def test_a_key_that_cannot_sign_is_refused_by_name_and_never_shown(pem: str) -> None:
    """No line of it, no chained error either."""
    with pytest.raises(SettingsError, match=r"^STARKBANK_PRIVATE_KEY is not") as caught:
        open_bank("sandbox", PROJECT_ID, pem, None, 15)
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    assert not any(line in str(caught.value) for line in pem.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"environment": "test"}, "STARKBANK_ENVIRONMENT"),
        ({"environment": "production", "api_url": "http://127.0.0.1:1"}, "STARKBANK_API_URL"),
        ({"api_url": "nonsense"}, "STARKBANK_API_URL"),
        ({"project_id": ""}, "STARKBANK_PROJECT_ID"),
        ({"project_id": "1\r\nX: y"}, "STARKBANK_PROJECT_ID"),
        ({"timeout_seconds": 0}, "BANK_TIMEOUT_SECONDS"),
        ({"timeout_seconds": float("nan")}, "BANK_TIMEOUT_SECONDS"),
    ],
)
def test_a_wrong_setting_is_named(private_key_pem: str, changes: dict[str, Any], name: str) -> None:
    """One line, and the variable's name first."""
    good: dict[str, Any] = {
        "environment": "sandbox",
        "project_id": PROJECT_ID,
        "private_key_pem": private_key_pem,
        "api_url": None,
        "timeout_seconds": 15,
    }
    with pytest.raises(SettingsError, match=f"^{name}"):
        open_bank(**{**good, **changes})


def test_a_project_never_prints_its_key(private_key_pem: str) -> None:
    """The SDK's own would print every attribute."""
    project = client._Project(PROJECT_ID, "sandbox", private_key_pem)
    assert "BEGIN" in str(starkbank.Project(PROJECT_ID, "sandbox", private_key_pem))
    assert "BEGIN" not in f"{project} {project!r}"
    assert project.private_key() is project.private_key()


# --- invoices ---


def test_invoices_are_created_in_one_call_and_matched_by_their_own_tag(
    server: ScriptedServer, bank: Bank
) -> None:
    """The bank's order does not matter; a due date is not sent, names keep their accents."""
    first, second = INVOICE_ORDERS
    at = datetime(2026, 3, 2, 15, 10, 52, 214860, tzinfo=UTC)
    server.script = [reply({"invoices": [invoice_json(second, 2), invoice_json(first, 1)]})]
    assert bank.create_invoices(INVOICE_ORDERS) == [
        BankInvoice(
            "5713348842127361",
            "created",
            1000,
            ("repasse", "batch-7", "batch-7-01", "e2001"),
            created_at=at,
            due_at=at,
        ),
        BankInvoice(
            "5713348842127362",
            "created",
            2050,
            ("repasse", "batch-7", "batch-7-02", "e2001"),
            created_at=at,
            due_at=at,
        ),
    ]
    assert json.loads(server.arrived[0].body)["invoices"][0] == {
        "amount": 1000,
        "name": "João Müller",
        "taxId": "529.982.247-25",
        "tags": ["repasse", "batch-7", "batch-7-01"],
    }


ODD_INVOICES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "one is missing": lambda first, second: {"invoices": [first]},
    "one too many": lambda first, second: {"invoices": [first, second, {**second, "id": "9", "tags": []}]},
    "one twice": lambda first, second: {"invoices": [first, first]},
    "another amount": lambda first, second: {"invoices": [first, {**second, "amount": 2051}]},
    "an amount as text": lambda first, second: {"invoices": [first, {**second, "amount": "2050"}]},
    "an amount as float": lambda first, second: {"invoices": [first, {**second, "amount": 2050.0}]},
    "an amount as bool": lambda first, second: {"invoices": [first, {**second, "amount": True}]},
    "no id": lambda first, second: {"invoices": [first, {**second, "id": None}]},
    "an empty status": lambda first, second: {"invoices": [first, {**second, "status": ""}]},
    "an empty tag": lambda first, second: {"invoices": [first, {**second, "tags": [*second["tags"], ""]}]},
    "no tags": lambda first, second: {"invoices": [first, {**second, "tags": None}]},
    "tags that are a text": lambda first, second: {"invoices": [first, {**second, "tags": "batch-7-02"}]},
    "a time with Z": lambda first, second: {"invoices": [first, {**second, "created": "2026-03-02T15:10Z"}]},
    "another key": lambda first, second: {"transfers": [first, second]},
    "null": lambda first, second: None,
    "a list": lambda first, second: [first, second],
    "entities that are none": lambda first, second: {"invoices": ["a", 1]},
    "not JSON": lambda first, second: b"<html>fine</html>",
    "not UTF-8": lambda first, second: b'{"invoices": "\xff"}',
    "empty": lambda first, second: b"",
}


@pytest.mark.parametrize("case", ODD_INVOICES)
def test_a_200_that_does_not_match_the_order_is_unclear(
    server: ScriptedServer, bank: Bank, case: str
) -> None:
    """The invoices may exist: it is for a look-up to find out."""
    first, second = (invoice_json(order, n) for n, order in enumerate(INVOICE_ORDERS))
    server.script = [reply(ODD_INVOICES[case](first, second))]
    with pytest.raises(Unclear, match=r"^POST /v2/invoice: "):
        bank.create_invoices(INVOICE_ORDERS)


def test_nothing_is_asked_for_no_orders(server: ScriptedServer, bank: Bank) -> None:
    """An empty list costs no call."""
    assert bank.create_invoices([]) == []
    assert bank.send_transfers([]) == {}
    assert list(bank.transfer_logs([])) == []
    assert server.arrived == []


def test_a_callers_mistake_is_a_value_error_and_nothing_is_sent(server: ScriptedServer, bank: Bank) -> None:
    """Too many, the same one twice, a tag that the bank cannot be asked for, an id with a slash."""
    mistakes: list[Callable[[], object]] = [
        lambda: bank.create_invoices(order_invoices("b", PAYERS * 51)),
        lambda: bank.create_invoices([INVOICE_ORDERS[0], INVOICE_ORDERS[0]]),
        lambda: bank.send_transfers([TRANSFER_ORDERS[0], TRANSFER_ORDERS[0]]),
        lambda: bank.find_transfers("a,b"),
        lambda: bank.find_transfers("Upper"),
        lambda: bank.find_invoices(""),
        lambda: bank.mark_delivered("../transfer"),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"twice|at most|tag|not an id"):
            mistake()
    assert server.arrived == []


def test_every_invoice_of_a_tag_is_found_on_all_pages(server: ScriptedServer, bank: Bank) -> None:
    """One that does not carry the tag is left out, one that is listed twice is there once."""
    first, second = (invoice_json(order, n) for n, order in enumerate(INVOICE_ORDERS))
    stranger = {**first, "id": "9", "tags": ["batch-70"]}
    server.script = [
        reply({"invoices": [first, stranger], "cursor": "c1"}),
        reply({"invoices": [first, second], "cursor": ""}),
    ]
    found = bank.find_invoices("batch-7")
    assert [invoice.id for invoice in found] == ["5713348842127360", "5713348842127361"]
    assert [query_of(request) for request in server.arrived] == [
        {"limit": "100", "tags": "batch-7"},
        {"limit": "100", "tags": "batch-7", "cursor": "c1"},
    ]


# --- transfers ---


def test_transfers_are_sent_in_one_call_and_returned_by_external_id(
    server: ScriptedServer, bank: Bank
) -> None:
    """What was ordered is on the wire, and what comes back equals the order."""
    first, second = TRANSFER_ORDERS
    server.script = [reply({"transfers": [transfer_json(second, 2), transfer_json(first, 1)]})]
    sent = bank.send_transfers(TRANSFER_ORDERS)
    assert {name: transfer.id for name, transfer in sent.items()} == {
        "credit-101": "5166021941886971",
        "credit-102-r2": "5166021941886972",
    }
    assert difference(sent["credit-101"], 900, DESTINATION) is None
    assert sent["credit-102-r2"].tags == ("credit-102", "credit-102-r2", "call-1")
    assert json.loads(server.arrived[0].body)["transfers"][1] == {
        "amount": 800,
        "name": "Stark Bank S.A.",
        "taxId": "20.018.183/0001-80",
        "bankCode": "20018183",
        "branchCode": "0001",
        "accountNumber": "6341320293482496",
        "accountType": "payment",
        "externalId": "credit-102-r2",
        "tags": ["credit-102", "credit-102-r2", "call-1"],
    }


@pytest.mark.parametrize(
    "answered",
    [
        [transfer_json(TRANSFER_ORDERS[0], 1)],
        [transfer_json(TRANSFER_ORDERS[0], 1), transfer_json(TRANSFER_ORDERS[0], 2)],
        [transfer_json(TRANSFER_ORDERS[0], 1), transfer_json(TRANSFER_ORDERS[1], 2, amount=801)],
        [transfer_json(TRANSFER_ORDERS[0], 1), transfer_json(TRANSFER_ORDERS[1], 2, externalId=None)],
        [transfer_json(TRANSFER_ORDERS[0], 1), transfer_json(TRANSFER_ORDERS[1], 2, status=None)],
        [transfer_json(order, n) for n, order in enumerate([*TRANSFER_ORDERS, TRANSFER_ORDERS[1]])],
        {},
    ],
    ids=["missing", "twice", "another amount", "no external_id", "no status", "one too many", "no list"],
)
def test_transfers_that_do_not_match_the_orders_are_unclear(
    server: ScriptedServer, bank: Bank, answered: object
) -> None:
    """Money may be on its way: never adopted, never final."""
    server.script = [reply({"transfers": answered})]
    with pytest.raises(Unclear, match=r"^POST /v2/transfer: "):
        bank.send_transfers(TRANSFER_ORDERS)


def test_every_transfer_of_a_tag_is_found(server: ScriptedServer, bank: Bank) -> None:
    """An old one without external_id too; one with another tag is not."""
    tagged = transfer_json(TRANSFER_ORDERS[1], 2, externalId=None, status="failed")
    server.script = [reply({"transfers": [tagged, transfer_json(TRANSFER_ORDERS[0], 1)], "cursor": None})]
    [found] = bank.find_transfers("credit-102")
    assert (found.id, found.external_id, found.is_lost) == ("5166021941886972", "", True)
    assert query_of(server.arrived[0]) == {"limit": "100", "tags": "credit-102"}


def test_a_look_up_that_breaks_on_a_later_page_finds_nothing(server: ScriptedServer, bank: Bank) -> None:
    """Half of the truth would look like the whole."""
    page = {"transfers": [transfer_json(TRANSFER_ORDERS[0], 1)], "cursor": "c1"}
    server.script = [reply(page), reply({}, status=503)]
    with pytest.raises(Unclear, match="status 503"):
        bank.find_transfers("credit-101")


def test_a_look_up_with_one_that_cannot_be_read_is_unclear(server: ScriptedServer, bank: Bank) -> None:
    """It may be the one that we look for."""
    server.script = [
        reply(
            {
                "transfers": [
                    transfer_json(TRANSFER_ORDERS[0], 1),
                    transfer_json(TRANSFER_ORDERS[1], 2, amount=None),
                ]
            }
        ),
        reply({"invoices": [invoice_json(INVOICE_ORDERS[0], 1, amount="1000")]}),
    ]
    with pytest.raises(Unclear, match="GET /v2/transfer: the answer could not be read"):
        bank.find_transfers("credit-101")
    with pytest.raises(Unclear, match="GET /v2/invoice: the answer could not be read"):
        bank.find_invoices("batch-7")


@pytest.mark.parametrize(
    ("cursors", "message"),
    [
        (["c1", "c1"], "same cursor again"),
        ([f"c{n}" for n in range(client.PAGES_PER_TAG_MAX)], "more than 10 pages"),
        ([7], "could not be read"),
    ],
)
def test_a_list_without_an_end_is_unclear(
    server: ScriptedServer, bank: Bank, cursors: list[object], message: str
) -> None:
    """Whether what we look for comes later is not known."""
    server.script = [reply({"transfers": [], "cursor": cursor}) for cursor in cursors]
    with pytest.raises(Unclear, match=message):
        bank.find_transfers("credit-101")


def test_the_pages_of_one_look_up_share_one_deadline(server: ScriptedServer, bank: Bank) -> None:
    """A lease is held meanwhile, and its holder counts on ``timeout_seconds``."""

    def a_tenth_of_a_second_late(connection: Any, closing: threading.Event) -> bool:
        closing.wait(0.1)
        return reply({"transfers": [], "cursor": f"c{len(server.arrived)}"})(connection, closing)

    server.script = [a_tenth_of_a_second_late] * 10
    bank._transport.timeout_seconds = 0.5
    with pytest.raises((Unclear, NotSent), match=r"not done within 0\.5 s"):
        bank.find_transfers("credit-101")
    assert len(server.arrived) < 10


# --- logs and events ---


def _log(number: int, transfer_id: str) -> bytes:
    # Spacing and an unknown field that only the raw bytes keep.
    return (
        b'{"id":"%d",  "type":"success","created":"%s","unknown":1.10,"transfer":{"id":"%s","amount":5,'
        b'"status":"success"}}' % (number, CREATED.encode(), transfer_id.encode())
    )


def _list(key: str, elements: list[bytes], cursor: str | None = None) -> bytes:
    return b'{"cursor": %s, "%s": [%s]}' % (json.dumps(cursor).encode(), key.encode(), b", ".join(elements))


def test_transfer_logs_come_raw_in_calls_of_a_hundred_ids(server: ScriptedServer, bank: Bank) -> None:
    """Byte for byte, all pages of each; a stranger's log is left out, one that cannot be read is handed on."""
    ids = [str(5000 + n) for n in range(101)]
    odd = b'{"id": "3", "transfer": null}'
    server.script = [
        reply(_list("logs", [_log(1, "5000"), _log(2, "666")], "c1")),
        reply(_list("logs", [odd])),
        reply(_list("logs", [_log(4, "5100")])),
    ]
    assert list(bank.transfer_logs(ids)) == [_log(1, "5000"), odd, _log(4, "5100")]
    assert [query_of(request).get("cursor") for request in server.arrived] == [None, "c1", None]
    assert query_of(server.arrived[0])["transferIds"] == ",".join(ids[:100])
    assert query_of(server.arrived[2])["transferIds"] == "5100"
    assert urlsplit(server.arrived[0].target).path == "/v2/transfer/log"
    assert read_log("transfer", _log(1, "5000")).subject == "5000"


def test_invoice_logs_are_asked_from_before_the_day(server: ScriptedServer, bank: Bank) -> None:
    """The bank counts days of São Paulo, and a log too many is harmless."""
    log = (
        b'{"id": "1", "type": "credited", "created": "2026-03-02T01:00:00+00:00", "new": [],'
        b' "invoice": {"id": "57", "amount": 900, "fee": 3, "tags": []}}'
    )
    server.script = [reply(_list("logs", [log, log], "c1")), reply(_list("logs", [log]))]
    logs = list(bank.invoice_logs(["credited", "reversed"], date(2026, 3, 2)))
    assert logs == [log] * 3
    fact = read_log("invoice", logs[0]).fact
    assert isinstance(fact, Credit)
    assert fact.net_centavos == 897
    assert query_of(server.arrived[1]) == {
        "types": "credited,reversed",
        "after": "2026-02-28",
        "limit": "100",
        "cursor": "c1",
    }


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"cursor": null}', b'{"logs": {}}', b'{"logs": [], "cursor": 1}', b'{"logs": [1,'],
)
def test_a_list_of_logs_that_cannot_be_read_is_unclear(
    server: ScriptedServer, bank: Bank, answer: bytes
) -> None:
    """Never an empty list: that would say that nothing happened."""
    server.script = [reply(answer)]
    with pytest.raises(Unclear, match="GET /v2/invoice/log"):
        list(bank.invoice_logs(["credited"], date(2026, 3, 2)))


def test_logs_stop_at_an_endless_cursor(
    server: ScriptedServer, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came is handed on, and then the list is unclear."""
    monkeypatch.setattr(client, "PAGES_OF_LOGS_MAX", 2)
    server.script = [reply(_list("logs", [_log(n, "5")], f"c{n}")) for n in range(2)]
    logs = bank.transfer_logs(["5"])
    assert [next(logs), next(logs)] == [_log(0, "5"), _log(1, "5")]
    with pytest.raises(Unclear, match="more than 2 pages"):
        next(logs)


def _event(number: int, extra: bytes = b"") -> bytes:
    return b'{"id": "%d", "subscription": "deposit",%s "log":  {"type": "created"}}' % (number, extra)


def test_undelivered_events_are_listed_to_the_end_before_the_first_is_handed_out(
    server: ScriptedServer, bank: Bank
) -> None:
    """Marking one while paging could shift another past the cursor; each is wrapped as a delivery is."""
    delivered = _event(9, b' "isDelivered": true,')
    server.script = [
        reply(_list("events", [_event(1), delivered], "c1")),
        reply(_list("events", [_event(2)])),
        reply({"event": {"id": "1", "isDelivered": True}}),
        reply({"event": {"id": "2", "isDelivered": True}}),
    ]
    bodies = []
    for body in bank.undelivered_events():
        bodies.append(body)
        bank.mark_delivered(read_event(body).event_id)
    assert bodies == [b'{"event": ' + _event(number) + b"}" for number in (1, 2)]
    assert [request.method for request in server.arrived] == ["GET", "GET", "PATCH", "PATCH"]
    assert query_of(server.arrived[0])["isDelivered"] == "False"
    assert server.arrived[3].target == "/v2/event/2"
    assert json.loads(server.arrived[3].body) == {"isDelivered": True}


def test_events_of_the_pages_before_a_failure_are_handed_out(server: ScriptedServer, bank: Bank) -> None:
    """So a long list makes progress on a bad day; the failure follows."""
    server.script = [reply(_list("events", [_event(1)], "c1")), reply({}, status=500)]
    events = bank.undelivered_events()
    assert read_event(next(events)).event_id == "1"
    with pytest.raises(Unclear, match="status 500"):
        next(events)


def test_more_undelivered_events_than_fit_are_for_the_next_time(
    server: ScriptedServer, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is no failure: those that were handed out are marked, and the rest moves up."""
    monkeypatch.setattr(client, "PAGES_OF_EVENTS_MAX", 1)
    server.script = [reply(_list("events", [_event(1)], "c1"))]
    assert len(list(bank.undelivered_events())) == 1


@pytest.mark.parametrize(
    "answer",
    [{"event": {"id": "1", "isDelivered": False}}, {"event": {"id": "2", "isDelivered": True}}, {}, []],
)
def test_an_event_is_marked_only_when_the_bank_says_so(
    server: ScriptedServer, bank: Bank, answer: object
) -> None:
    """Otherwise it is unclear, and it will be listed again."""
    server.script = [reply(answer)]
    with pytest.raises(Unclear, match="PATCH /v2/event/1"):
        bank.mark_delivered("1")


# --- keys, balance, webhooks ---


def test_public_keys_come_newest_first_and_three_at_most(server: ScriptedServer, bank: Bank) -> None:
    """The path has one slash, unlike the SDK's own."""
    keys = [{"content": f"pem {n}", "created": CREATED} for n in range(5)]
    server.script = [reply({"publicKeys": keys, "cursor": None})]
    assert bank.public_keys() == ["pem 0", "pem 1", "pem 2"]
    assert server.arrived[0].target == "/v2/public-key?limit=3"


@pytest.mark.parametrize("answer", [{}, {"publicKeys": [{"content": 1}]}, {"publicKeys": None}])
def test_keys_that_cannot_be_read_are_unclear(server: ScriptedServer, bank: Bank, answer: object) -> None:
    """Never an empty list."""
    server.script = [reply(answer)]
    with pytest.raises(Unclear, match="GET /v2/public-key"):
        bank.public_keys()


@pytest.mark.parametrize(
    "balances", [[], [{"id": "1"}], [{"id": "1", "amount": 1.5}], [{"id": "1", "amount": None}], None]
)
def test_a_balance_that_cannot_be_read_is_unclear(
    server: ScriptedServer, bank: Bank, balances: object
) -> None:
    """Never zero."""
    server.script = [reply({"balances": balances})]
    with pytest.raises(Unclear, match="GET /v2/balance"):
        bank.balance_centavos()


def test_webhooks_are_listed_and_created(server: ScriptedServer, bank: Bank) -> None:
    """All pages; the one that is created is the one that was asked for."""
    mine = {"id": "1", "url": "https://a.example/hook", "subscriptions": ["invoice", "transfer"]}
    server.script = [
        reply({"webhooks": [mine], "cursor": "c1"}),
        reply({"webhooks": [{**mine, "id": "2", "subscriptions": []}], "cursor": None}),
        reply({"webhook": mine}),
        reply({"webhook": {**mine, "url": "https://b.example"}}),
    ]
    expected = BankWebhook("1", "https://a.example/hook", ("invoice", "transfer"))
    assert bank.list_webhooks() == [expected, BankWebhook("2", "https://a.example/hook", ())]
    assert bank.create_webhook("https://a.example/hook", ("invoice", "transfer")) == expected
    assert json.loads(server.arrived[2].body) == {
        "url": "https://a.example/hook",
        "subscriptions": ["invoice", "transfer"],
    }
    with pytest.raises(Unclear, match="another URL"):
        bank.create_webhook("https://a.example/hook", ("invoice",))


def test_a_webhook_without_an_address_is_unclear(server: ScriptedServer, bank: Bank) -> None:
    """Nor is one without an id believed."""
    for odd in ({"id": "", "url": "https://a.example/hook"}, {"id": "1", "url": ""}):
        server.script = [reply({"webhooks": [odd]})]
        with pytest.raises(Unclear, match="GET /v2/webhook: the answer could not be read"):
            bank.list_webhooks()


def test_the_pages_of_webhooks_share_one_deadline(server: ScriptedServer, bank: Bank) -> None:
    """Each page alone would be in time."""

    def a_tenth_of_a_second_late(connection: Any, closing: threading.Event) -> bool:
        closing.wait(0.1)
        return reply({"webhooks": [], "cursor": f"c{len(server.arrived)}"})(connection, closing)

    server.script = [a_tenth_of_a_second_late] * 10
    bank._transport.timeout_seconds = 0.5
    with pytest.raises((Unclear, NotSent), match=r"not done within 0\.5 s"):
        bank.list_webhooks()
    assert len(server.arrived) < 10
