"""What we understand of the bank's words, and what we refuse to guess."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.credit import Credit, Reversal
from payments.event import read_event, read_log
from payments.transfer import BankReport
from tests.payments.builders import (
    INVOICE,
    a_body,
    a_transfer_log,
    an_event,
    an_invoice_log,
    at_bank,
)


def test_a_credited_log_becomes_a_credit() -> None:
    """Amount and fee are those of the log's own snapshot of the invoice."""
    event = an_event(an_invoice_log("credited", log_id="5244900634361857"), "4602859115773953")
    assert (event.event_id, event.subscription, event.log_type, event.subject, event.unreadable) == (
        "4602859115773953",
        "invoice",
        "credited",
        INVOICE,
        None,
    )
    assert event.fact == Credit(
        INVOICE,
        "5244900634361857",
        48_712,
        50,
        datetime(2026, 3, 2, 15, 10, 49, 337731, tzinfo=UTC),
        ("batch-3", "e20018183202603021510kq3vz81mapt"),
    )


@pytest.mark.parametrize(
    "log_type",
    [
        *("created", "paid", "overdue", "expired", "canceled", "updated", "sent"),
        *("reversing", "sending", "failed", "refunded"),  # a reversal that may still fail
    ],
)
def test_no_other_invoice_log_moves_money(log_type: str) -> None:
    """An invoice's status reads paid in both the paid and the credited log; only the type decides."""
    event = an_event(an_invoice_log(log_type))
    assert (event.fact, event.unreadable, event.subject) == (None, None, INVOICE)


@pytest.mark.parametrize(
    ("log_type", "amount", "remaining"),
    [("reversed", 20_000, 20_000), ("reversed", 0, 0), ("voided", 0, 0), ("voided", 48_712, 0)],
)
def test_a_reversed_log_says_what_remains(log_type: str, amount: int, remaining: int) -> None:
    """Voided means that nothing does, whatever amount the snapshot shows."""
    fact = an_event(an_invoice_log(log_type, amount=amount)).fact
    assert isinstance(fact, Reversal)
    assert (fact.invoice_id, fact.remaining_centavos) == (INVOICE, remaining)


def test_a_transfer_log_becomes_news_with_all_that_we_compare() -> None:
    """Identity, money, destination and reasons; the rest of the entity is of no use to us."""
    there = at_bank("5166021941886976", "failed")
    event = an_event(a_transfer_log(there, errors=("Duplicated transfer",)))
    assert isinstance(event.fact, BankReport)
    assert event.fact.transfer == there
    assert event.fact.errors == ("Duplicated transfer",)
    assert event.subject == "5166021941886976"


def test_a_transfer_without_an_external_id_is_a_stranger_s() -> None:
    """A person made it in the bank's own pages; it is readable, and not ours."""
    log = a_transfer_log(at_bank("A"))
    log["transfer"]["externalId"] = None
    fact = an_event(log).fact
    assert isinstance(fact, BankReport)
    assert fact.transfer.external_id == ""


def test_a_reason_that_is_no_text_is_kept_as_json() -> None:
    """Documented for some resources: errors as objects."""
    fact = an_event(a_transfer_log(at_bank("A", "failed"), errors=({"code": "x"}, "y"))).fact
    assert isinstance(fact, BankReport)
    assert fact.errors == ('{"code":"x"}', "y")


@pytest.mark.parametrize("escaped", [True, False])
def test_a_name_beyond_ascii_is_read_escaped_or_not(escaped: bool) -> None:
    """How the bank writes accents in a delivery is unknown."""
    log = an_invoice_log(name="João Conceição", tags=("côr",))
    body = json.dumps(json.loads(a_body(log)), ensure_ascii=escaped).encode()
    event = read_event(body)
    assert isinstance(event.fact, Credit)
    assert event.fact.tags == ("côr",)
    assert event.body == body


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-02T15:10:49.337731+00:00", datetime(2026, 3, 2, 15, 10, 49, 337731, tzinfo=UTC)),
        ("2026-03-02T15:10:49+00:00", datetime(2026, 3, 2, 15, 10, 49, tzinfo=UTC)),
        ("2026-03-02T15:10:49", datetime(2026, 3, 2, 15, 10, 49, tzinfo=UTC)),
        ("2026-03-02T12:10:49-03:00", datetime(2026, 3, 2, 15, 10, 49, tzinfo=UTC)),
        ("2026-03-02T15:10:49Z", datetime(2026, 3, 2, 15, 10, 49, tzinfo=UTC)),
    ],
)
def test_every_way_of_writing_a_moment_means_utc(written: str, meant: datetime) -> None:
    """A moment without an offset is UTC too."""
    fact = an_event(an_invoice_log(created=written)).fact
    assert isinstance(fact, Credit)
    assert fact.credited_at == meant
    assert fact.credited_at.tzinfo is UTC


UNREADABLE_INVOICES: dict[str, dict[str, Any]] = {
    "no amount": {"amount": None},
    "a negative amount": {"amount": -1},
    "an amount in text": {"amount": "48712"},
    "an amount with a fraction": {"amount": 487.12},
    "a truth value for an amount": {"amount": True},
    "more centavos than the books can hold": {"amount": 2**63},
    "more centavos than exist": {"amount": 10**30},
    "no fee": {"fee": None},
    "a negative fee": {"fee": -50},
    "a fee in text": {"fee": "0"},
    "more fee than the books can hold": {"fee": 2**63},
    "no time": {"created": ""},
    "a time that never was": {"created": "2026-02-30T00:00:00+00:00"},
    "a time before all time": {"created": "0001-01-01T00:00:00+23:59"},
    "an id with a line break": {"invoice_id": "1\n"},
    "an id with a blank": {"invoice_id": "1 2"},
    "no id": {"invoice_id": ""},
    "an endless id": {"invoice_id": "1" * 65},
}


@pytest.mark.parametrize("log_type", ["credited", "reversed"])
@pytest.mark.parametrize("case", UNREADABLE_INVOICES)
def test_money_that_cannot_be_read_is_neither_guessed_nor_dropped(case: str, log_type: str) -> None:
    """The event says that it is unreadable, and why; its bytes are kept."""
    body = a_body(an_invoice_log(log_type, log_id="9", **UNREADABLE_INVOICES[case]), "77")
    event = read_event(body)
    assert (event.event_id, event.fact, event.body) == ("77", None, body)
    assert event.unreadable


@pytest.mark.parametrize("field", ["id", "amount", "status"])
def test_a_bank_report_without_its_essentials_is_unreadable(field: str) -> None:
    """Which transfer, how much, what became of it: without these nothing may follow."""
    log = a_transfer_log(at_bank("A", "success"))
    del log["transfer"][field]
    event = an_event(log)
    assert event.fact is None
    assert event.unreadable


@pytest.mark.parametrize("subscription", ["invoice", "transfer"])
@pytest.mark.parametrize("log", [{}, {"id": "1"}, {"type": ""}, [], None, "credited"])
def test_a_log_of_ours_without_a_type_is_unreadable(subscription: str, log: Any) -> None:
    """Without it no one can say that it was no credit."""
    event = read_event(json.dumps({"event": {"id": "1", "subscription": subscription, "log": log}}).encode())
    assert event.fact is None
    assert event.unreadable


def test_an_event_of_ours_without_a_log_is_unreadable() -> None:
    """It was signed and named an invoice: that it concerned no money would be a guess."""
    event = read_event(b'{"event": {"id": "1", "subscription": "invoice"}}')
    assert event.unreadable


@pytest.mark.parametrize(
    "log",
    [{}, {"type": 5}, {"invoice": {"id": 7}}, [1, 2], None, {"type": "created", "deposit": {"id": "1"}}],
)
def test_a_subscription_that_is_not_ours_may_have_any_shape(log: Any) -> None:
    """Deposits, boletos and whatever the bank invents: known, and ignored."""
    event = read_event(json.dumps({"event": {"id": "1", "subscription": "deposit", "log": log}}).encode())
    assert (event.event_id, event.subscription, event.fact, event.unreadable) == ("1", "deposit", None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b"\xff\xfe",
        b'{"event": null}',
        b'{"event": {}}',
        b'{"event": {"id": 5, "subscription": "invoice"}}',
        b'{"event": {"id": "1"}}',
        b'{"event": {"id": "1", "subscription": "invoice", "log": {}}',
        b'{"event": {"id": "1\\n", "subscription": "deposit"}}',
        b"[" * 100_000,
        b'{"event": {"id": "1", "subscription": "invoice", "log": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
    ids=range(14),
)
def test_a_body_that_is_no_event_is_named_by_its_content(body: bytes) -> None:
    """A redelivery of the same bytes is still recognised; other bytes are another event."""
    event = read_event(body)
    assert event.unreadable
    assert event.event_id.startswith("unreadable-")
    assert event.event_id == read_event(body).event_id != read_event(body + b" ").event_id
    assert len(event.event_id) <= 80


def test_a_log_from_the_list_is_named_after_itself() -> None:
    """The list does not tell the event's id; invoice and transfer logs never share a name."""
    invoice_log = json.dumps(an_invoice_log(log_id="123")).encode()
    transfer_log = json.dumps(a_transfer_log(at_bank("A"), log_id="123")).encode()
    assert read_log("invoice", invoice_log).event_id == "invoice-log-123"
    assert read_log("transfer", transfer_log).event_id == "transfer-log-123"


def test_a_log_from_the_list_says_the_same_as_its_event() -> None:
    """Reconciliation is no second truth."""
    log = an_invoice_log(log_id="123")
    listed = read_log("invoice", json.dumps(log).encode())
    assert listed.fact == an_event(log).fact is not None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"id": 5}', b"[" * 100_000])
def test_a_log_without_an_id_is_unreadable(body: bytes) -> None:
    """It keeps its subscription, so that a person knows where it came from."""
    event = read_log("invoice", body)
    assert event.unreadable
    assert event.subscription == "invoice"
    assert event.event_id.startswith("unreadable-")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_reading_never_raises_whatever_the_bytes(body: bytes) -> None:
    """An exception would keep the same event coming back forever."""
    assert read_event(body).unreadable
    assert read_log("invoice", body).unreadable


@given(
    st.sampled_from(["id", "type", "created", "errors", "invoice", "transfer"]),
    st.sampled_from([None, "id", "amount", "fee", "tags", "status", "externalId"]),
    _json,
    st.sampled_from(["invoice", "transfer", "deposit"]),
)
def test_reading_never_raises_whatever_a_field_holds(
    field: str, inner: str | None, value: Any, subscription: str
) -> None:
    """Either a fact, or ignored, or unreadable; never two, and never an amount that the books cannot hold."""
    log: dict[str, Any] = an_invoice_log() | {"transfer": a_transfer_log(at_bank("A"))["transfer"]}
    if inner is not None and field in ("invoice", "transfer"):
        log[field][inner] = value
    else:
        log[field] = value
    event = read_event(a_body(log, "1", subscription))
    assert event.fact is None or event.unreadable is None
    if isinstance(event.fact, Credit):
        assert 0 <= event.fact.gross_centavos < 2**63
        assert 0 <= event.fact.fee_centavos < 2**63


@pytest.mark.parametrize(
    ("log", "subscription", "carried"),
    [
        (an_invoice_log("credited"), "invoice", {"invoice_id": INVOICE}),
        (an_invoice_log("overdue"), "invoice", {"invoice_id": INVOICE}),
        (a_transfer_log(at_bank("A")), "transfer", {"external_id": f"credit-{INVOICE}"}),
        ({"id": "1", "type": "paid"}, "boleto", {}),
    ],
)
def test_one_search_for_the_invoice_finds_every_line(
    log: dict[str, Any], subscription: str, carried: dict[str, str]
) -> None:
    """By its id, or by our external_id, which holds it."""
    assert read_log(subscription, json.dumps(log).encode()).followed_by == carried
