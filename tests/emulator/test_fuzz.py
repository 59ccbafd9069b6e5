"""Whatever a client sends: the answer is one that the bank could give, never a 500, and the books balance."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.behaviour.bank import Bank
from emulator.books.preset import Preset
from emulator.management.statement import statement
from emulator.protocol import routes
from tests.emulator.conftest import INVOICE, NOW, TRANSFER, calls_to

# Some 3,000 requests in all, the same ones each time, so that a run means the same everywhere; more on request.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
MOST_CALLS = 30

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.sampled_from([0, -1, 10**14, 10**15, 2**63, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "a" * 2_000, "\ud800", "\x00", "2026-03-04", "2026-03-04T15:00:00+00:00", "9999-12-31"]
    ),
    st.sampled_from(["2026-03-02T15:00:00Z", "0001-01-01T00:00:00+00:00", "2200-12-31", "2026-02-30"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)
DUE = st.sampled_from(["2026-03-05", "2026-03-03", "2026-03-05T15:00:00+00:00", "2026-03-02T15:00:30+00:00"])
PERCENT = st.sampled_from([1, 2.5, 50, 100, 0, -1])
# Values that fit, so that many calls get past the checks and into the books.
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "amount": st.integers(0, 60_000),
    "due": DUE,
    "expiration": st.integers(0, 10_000),
    "fine": PERCENT,
    "interest": PERCENT,
    "discounts": st.lists(st.fixed_dictionaries({"percentage": PERCENT, "due": DUE}), max_size=3),
    "descriptions": st.lists(st.fixed_dictionaries({"key": st.text(min_size=1, max_size=5)}), max_size=3),
    "tags": st.lists(st.sampled_from(["A", "b", "ção"]), max_size=3),
    "status": st.sampled_from(["canceled", "paid", "blocked"]),
    "scheduled": DUE,
    "externalId": st.sampled_from(["one", "two", "three"]),
    "bankCode": st.sampled_from(["20018183", "341", "1"]),
    "isDelivered": st.booleans(),
    "url": st.sampled_from(
        ["http://a.test/", "https://b.test/x?y", "ftp://c", "http://[", "http://a:99999/"]
    ),
    "subscriptions": st.lists(st.sampled_from(["invoice", "transfer", "deposit", "no"]), max_size=3),
    "username": st.sampled_from(["one", "two", "a b"]),
    "name": st.text(min_size=1, max_size=30),
    "allowedTaxIds": st.sampled_from([["012.345.678-90"], [], ["1"], 5]),
    "picture": st.sampled_from(["data:image/png;base64,QUJD", "data:image/png;base64,?"]),
    "interval": st.sampled_from(["day", "week", "year"]),
    "delay": st.integers(-1, 10),
    "rules": st.lists(
        st.fixed_dictionaries({"key": st.sampled_from(["resendingLimit", "allowedTaxIds"]), "value": VALUES}),
        max_size=2,
    ),
    "splits": st.lists(
        st.fixed_dictionaries({"receiverId": st.text(max_size=5), "amount": st.integers(-1, 50)}), max_size=2
    ),
}
WEBHOOK = {"url": "http://a.test/", "subscriptions": ["invoice", "transfer", "deposit"]}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "invoice": ("invoices", INVOICE),
    "transfer": ("transfers", TRANSFER),
    "split-profile": ("profiles", {}),
    "webhook": ("", WEBHOOK),
    "workspace": ("", {"username": "one", "name": "One"}),
    "deposit": ("", {"amount": 1}),
    "event": ("", {"isDelivered": True}),
}
QUERIES: dict[str, st.SearchStrategy[str]] = {
    "limit": st.sampled_from(["1", "2", "100", "0", "101", "x", "-1", "9" * 30, "²"]),
    "cursor": st.one_of(st.just("CURSOR"), st.text(max_size=30)),
    "after": st.one_of(DUE, st.text(max_size=12)),
    "before": st.one_of(DUE, st.text(max_size=12)),
    "status": st.sampled_from(["paid", "created", "success", "credited", "created,paid", ","]),
    "types": st.sampled_from(["created", "credited", "reversed", "no", "created,sending"]),
    "ids": st.sampled_from(["ID", "1", "ID,ID", ",,"]),
    "invoiceIds": st.just("ID"),
    "transferIds": st.just("ID"),
    "eventIds": st.just("ID"),
    "tags": st.sampled_from(["a", "A,b", "ção"]),
    "taxId": st.sampled_from(["529.982.247-25", "1", "x" * 50]),
    "sort": st.sampled_from(["created", "-updated", "updated", "amount", "created,updated"]),
    "isDelivered": st.sampled_from(["True", "false", "FALSE", "no", ""]),
    "size": st.sampled_from(["1", "50", "51", "x", ""]),
    "fields": st.sampled_from(["id", "amount,status", "nothing", ","]),
    "search": st.text(max_size=5),
    "type": st.sampled_from(["evp", "no"]),
}
# Each route as often as it takes to get somewhere: nothing happens to a bank that is only looked at.
_WEIGHTS = {"GET": 1, "POST": 6, "PATCH": 5, "PUT": 1, "DELETE": 2}
ROUTES = st.sampled_from(sorted(route for route in routes.ROUTES for _ in range(_WEIGHTS[route[0]])))
ODD_PATHS = st.one_of(
    st.sampled_from(
        [
            "event/attempt/",
            "invoice/ID.pdf",
            "/invoice//",
            "invoice/log/log",
            "invoice/pdf",
            "invoice/ID/x/y",
            "%00",
        ]
    ),
    st.text(max_size=10).map(lambda text: "transfer/" + quote(text, safe="", errors="replace")),
)


@st.composite
def bodies(draw: st.DrawFn, method: str, pattern: str) -> bytes:
    """A body for a call: mostly one that fits, or nearly."""
    kind = draw(st.sampled_from(["fits"] * 4 + ["nearly"] * 4 + ["any", "bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=30))
    if kind == "any":
        return json.dumps(draw(VALUES)).encode()
    plural, base = BASES[pattern.split("/")[0]]
    known = described(method, pattern)
    if method == "PATCH":
        fits = [key for key in known if key in FITTING]
        keys = draw(st.lists(st.sampled_from(fits if kind == "fits" else known), min_size=1, max_size=2))
        fitting = FITTING if kind == "fits" else {}
        return json.dumps({key: draw(fitting.get(key, VALUES)) for key in keys}).encode()
    elements = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 3, 101 if kind == "nearly" else 100])) if plural else 1):
        element = {
            **base,
            **{key: draw(FITTING[key]) for key in draw(st.lists(st.sampled_from(EXTRA), max_size=2))},
        }
        if kind == "fits":
            element = {key: value for key, value in element.items() if key in known}
        elif draw(st.booleans()):
            element[draw(st.sampled_from([*EXTRA, "taxId", "accountNumber", "x"]))] = draw(VALUES)
        elif element:
            element.pop(draw(st.sampled_from(sorted(element))))
        elements.append(element)
        if len(elements) == 3:
            # The rest of a long batch is like the third: drawing a hundred would say nothing new.
            elements += [element] * 98
            break
    return json.dumps({plural: elements} if plural else elements[0]).encode()


EXTRA = sorted(FITTING)


def described(method: str, pattern: str) -> list[str]:
    """The keys that a body may have, or each element of its list."""
    body = routes.ROUTES[method, pattern].body
    assert body is not None
    plural = BASES[pattern.split("/")[0]][0] if method != "PATCH" else ""
    return sorted((body["properties"][plural]["items"] if plural else body)["properties"])


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, dict[str, str], bytes, float]:
    """One call: method, path, query, body, and the seconds that pass before it."""
    method, pattern = draw(ROUTES)
    resource = pattern.split("/")[0]
    path = pattern.replace("{id}", draw(st.sampled_from([f"ID:{resource}"] * 6 + ["ID:", "0"])))
    if draw(st.integers(0, 20)) == 20:
        path = draw(ODD_PATHS)
    names = draw(st.lists(st.sampled_from(sorted(QUERIES)), max_size=2)) if method == "GET" else []
    body = draw(bodies(method, pattern)) if method in ("POST", "PATCH", "PUT") else b""
    seconds = draw(st.sampled_from([0.0, 0.0, 1.0, 5.0, 60.0, 600.0, 90_000.0]))
    return method, f"/v2/{path}", {name: draw(QUERIES[name]) for name in names}, body, seconds


class Bench:
    """A bank behind its own endpoint, and what its answers taught about ids and cursors."""

    def __init__(self) -> None:
        preset = Preset(paid_share=0.7, invoice_fee_centavos=3, transfer_fee_centavos=2)
        self.bank = Bank(seed=1, opened_at=NOW, preset=preset, opening_balance_centavos=50_000)
        self.signed = calls_to(self.bank)
        self.clock, self.client = self.signed.clock, self.signed.client
        self.ids: dict[str, list[str]] = {}
        self.cursor = ""
        self._open()

    def _open(self) -> None:
        # Something of every kind, so that what comes has something to meet.
        self.bank.register_webhook("http://a.test/", ["invoice", "transfer", "deposit"], NOW)
        self.bank.deposits.receive({"amount": 9_000}, NOW)
        rows = self.bank.create_invoices([INVOICE] * 4, NOW)
        for row in rows[:2]:
            self.bank.invoices.pay(row["id"], NOW)
        self.bank.create_transfers([TRANSFER, {**TRANSFER, "scheduled": "2026-03-09"}], NOW)
        self.clock.advance(120)
        self.bank.step(self.clock.now())
        for path in (
            "invoice",
            "transfer",
            "deposit",
            "webhook",
            "event",
            "workspace",
            "deposit/log",
            "transaction",
        ):
            assert self.call(1, "GET", f"/v2/{path}", {}, b"", 0.0) == 200

    def call(
        self, number: int, method: str, path: str, query: dict[str, str], body: bytes, seconds: float
    ) -> int:
        self.clock.move_to(self.clock.now() + timedelta(seconds=seconds))
        every = [each for ids in self.ids.values() for each in ids] or ["1"]
        some_id = every[number * 7 % len(every)]
        if (found := re.search("ID:([a-z-]*)", path)) is not None:
            known = self.ids.get(found[1], every)
            path = path.replace(found[0], known[number * 7 % len(known)])
        text = urlencode(
            {k: v.replace("ID", some_id).replace("CURSOR", self.cursor) for k, v in query.items()}
        )
        access_id = "organization/4747474747474747" if number % 5 == 0 else "project/5656565656565656"
        headers = self.signed.headers(body, access_id=access_id)
        response = self.client.request(
            method, f"{path}?{text}" if text else path, content=body, headers=headers
        )
        if response.headers.get("content-type") == "application/json":
            self._learn(path, response.status_code, response.json())
        return response.status_code

    def _learn(self, path: str, status: int, answer: Any) -> None:
        if status != 200:
            assert answer["errors"], answer
            assert all(error["code"] and error["message"] for error in answer["errors"])
            return
        self.cursor = answer.get("cursor") or self.cursor
        for value in answer.values():
            for row in value if isinstance(value, list) else [value]:
                if isinstance(row, dict) and "id" in row:
                    resource = path.split("/")[2]
                    self.ids[resource] = [*self.ids.get(resource, [])[-20:], str(row["id"])]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(sequence=st.lists(calls(), min_size=15, max_size=MOST_CALLS))
def test_no_sequence_of_calls_breaks_the_bank(
    caplog: pytest.LogCaptureFixture, sequence: list[tuple[str, str, dict[str, str], bytes, float]]
) -> None:
    """Thousands of calls, good, odd and bad: 200, 400 or 404, and every centavo is where it should be."""
    bench = Bench()
    with caplog.at_level(logging.ERROR):
        for number, (method, path, query, body, seconds) in enumerate(sequence):
            status = bench.call(number, method, path, query, body, seconds)
            assert status in (200, 400, 404), f"{method} {path} {query} {body!r}: {caplog.text}"
        bench.bank.step(bench.clock.now() + timedelta(days=70))
    assert not caplog.records
    bench.bank.accounts.check()
    assert statement(bench.bank, details=False)["balanced"]
    rows = list(bench.bank.accounts.transactions.all())
    assert sum(row["amount"] for row in rows) == bench.bank.accounts.customer_centavos


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    access_id=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    access_time=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
    signature=st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
        st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()),
    ),
)
def test_no_header_breaks_the_door(access_id: str, access_time: str, signature: str) -> None:
    """Whoever cannot sign is refused with a code, whatever the headers hold."""
    headers = [
        (b"Access-Id", access_id.encode("latin-1")),
        (b"Access-Time", access_time.encode("latin-1")),
        (b"Access-Signature", signature.encode("latin-1")),
    ]
    response = DOOR.client.get("/v2/balance", headers=headers)
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] in ("invalidCredentials", "invalidProject")


DOOR = Bench()
