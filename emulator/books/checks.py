"""What the bank checks in the elements of a request before it accepts any of them.

A table of fields for each resource, and the rules that look at several fields together. Each check returns the
element in the bank's own form or raises `Refusal`. Nothing here looks at other rows: duplicates and balance are
decided later, as at the bank.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from emulator.books.fields import (
    DATE_OR_TIME,
    Field,
    Fields,
    complete,
    flag,
    objects,
    one_of,
    pattern,
    read,
    rules,
    some_of,
    text,
    typed,
    whole,
)  # fmt: skip
from emulator.books.formats import day_end, day_of, is_date, parse_time, tax_id_text, time_text
from emulator.books.refusal import Refusal

# Documented: at most 100 elements in a call.
MOST_ELEMENTS = 100
# Guess: what is "absurdly large" (the official tests expect invalidAmount for such a value): a trillion
# reais.
MOST_CENTAVOS = 100_000_000_000_000
# Guess: no document says how long texts may be; this only keeps nonsense out.
MOST_CHARACTERS = 1_000
# Guess: an instant that has only just passed on its way here is not "in the past" (SDKs cut fractions of
# seconds).
SLACK = timedelta(seconds=60)

ACCOUNT_TYPES = ("checking", "payment", "savings", "salary")

# Documented: the subscriptions of the OpenAPI text. Observed: the second line, in the SDKs' own test vectors.
SUBSCRIPTIONS = (
    "transfer", "invoice", "deposit", "boleto", "boleto-payment", "boleto-holmes", "brcode-payment",
    "utility-payment", "darf-payment", "payment-request",
    "tax-payment", "invoice-pull-request", "invoice-pull-subscription", "verified-account",
)  # fmt: skip

Checked = TypeVar("Checked")


# --- single fields ----------------------------------------------------------------------------------------


def centavos(at_least: int) -> Field:
    """Whole centavos."""
    # Observed in the official tests: a string, a negative, an object or an absurd value is invalidAmount.
    words = f"amount must be an integer of centavos, at least {at_least}"
    return whole("invalidAmount", words, at_least, MOST_CENTAVOS).such_as(10_000)


def tax_id(value: Any) -> str:
    """A CPF or CNPJ, formatted."""
    checked: str = TAX_ID.check(value)
    return checked


def _name(name: str, code: str, *, empty: bool = False) -> Field:
    return text(name, code, MOST_CHARACTERS, empty=empty)


def _account_code(name: str, code: str) -> Field:
    words = f"{name} must be a text of digits, with '-' before a check digit"
    return pattern("[0-9A-Za-z]{1,30}(-[0-9A-Za-z]{1,2})?", code, words)


def moment(name: str, code: str = "invalidDateTime") -> Field:
    """A date or an instant, in the bank's text."""
    words = f"{name} must be a date or a datetime in ISO 8601"
    # Guess: the length and the years, which keep sums of dates inside what a calendar can hold.
    kind = Annotated[str, Meta(max_length=40)]
    return typed(kind, code, words, _moment, DATE_OR_TIME)


def _moment(value: str) -> str:
    if not 1970 <= int(value[:4]) <= 2200:
        raise ValueError("year")
    if is_date(value):
        return date.fromisoformat(value).isoformat()
    return time_text(parse_time(value))


def percentage(code: str, *, above_zero: bool = False) -> Field:
    """A percentage, zero to a hundred."""
    least = Meta(gt=0, le=100) if above_zero else Meta(ge=0, le=100)
    return typed(Annotated[float, least], code, "a percentage must be a number from 0 to 100")


NAME = _name("name", "invalidName").such_as("Marina Tavares")
TAX_ID = typed(
    Annotated[str, Meta(description="A CPF or CNPJ with valid check digits, with or without punctuation.")],
    "invalidTaxId", "taxId must be a valid CPF or CNPJ", tax_id_text,
    {"format": "tax-id", "examples": ["012.345.678-90"]},
)  # fmt: skip
# Documented and observed: the server lower-cases them.
TAGS = typed(
    list[Annotated[str, Meta(max_length=MOST_CHARACTERS)]], "invalidTags", "tags must be a list of texts",
    lambda tags: [tag.lower() for tag in tags],
).defaulting([])  # fmt: skip
DUE = moment("due")
EXPIRATION = whole("invalidExpiration", "expiration must be an integer of seconds, zero or more", 0, 10**9)
ACCOUNT: Fields = {
    # Documented: eight digits of ISPB for Pix, one to three for TED.
    "bankCode": pattern("[0-9]{1,3}|[0-9]{8}", "invalidBankCode", "bankCode must be 8 digits (ISPB) or 1 to 3 digits")
    .such_as("20018183"),
    "branchCode": _account_code("branchCode", "invalidBranchCode").such_as("0001"),
    "accountNumber": _account_code("accountNumber", "invalidAccountNumber").such_as("6341320293482496"),
    # Documented: checking by default.
    "accountType": one_of(
        ("", *ACCOUNT_TYPES), "accountType", "invalidAccountType", lambda given: given or "checking"
    ).defaulting("checking"),
}  # fmt: skip

# --- resources --------------------------------------------------------------------------------------------

INVOICE: Fields = {
    # Documented: zero is allowed, the payer then chooses.
    "amount": centavos(at_least=0).needed,
    "name": NAME.needed,
    "taxId": TAX_ID.needed,
    # Documented: two days by default; the book fills it in.
    "due": DUE,
    # Documented: seconds after due, 59 days by default.
    "expiration": EXPIRATION.defaulting(5_097_600),
    # Documented: percent once, and percent a month.
    "fine": percentage("invalidFine").defaulting(2.0),
    "interest": percentage("invalidInterest").defaulting(1.0),
    # Observed in the official tests: other and missing keys are invalidDiscount here, not invalidJson.
    "discounts": objects(
        "discounts", "discount",
        {
            "percentage": percentage("invalidDiscount", above_zero=True).needed,
            "due": moment("the due of a discount", "invalidDiscountDate").needed,
        },
        5, "invalidDiscount", keys_code="invalidDiscount",
    ),
    "descriptions": objects(
        "descriptions", "description",
        {"key": _name("key", "invalidDescription").needed, "value": _name("value", "invalidDescription", empty=True)},
        15, "invalidDescription",
    ),
    "rules": rules({
        "allowedTaxIds": typed(
            list[str], "invalidRule", "the value of allowedTaxIds must be a list of CPFs and CNPJs",
            lambda given: [tax_id(each) for each in given],
        ),
    }),
    # Shown back; the emulator does not divide money.
    "splits": objects(
        "splits", "split",
        {"receiverId": _name("receiverId", "invalidSplit").needed, "amount": centavos(at_least=0).needed},
        30, "invalidSplit",
    ),
    "tags": TAGS,
    "displayDescription": _name("displayDescription", "invalidDescription", empty=True),
}  # fmt: skip
# Documented (4.5): what an invoice's PATCH may hold.
INVOICE_CHANGES: Fields = {
    "amount": centavos(at_least=0),
    "due": DUE,
    "expiration": EXPIRATION,
    "status": one_of(("canceled",), "status", "invalidStatus"),
}

# Documented: how often a transfer is sent again. Guess: the most.
_SENT_AGAIN = whole("invalidRule", "the value of this rule must be an integer, zero or more", 0, 1_000)
TRANSFER: Fields = {
    "amount": centavos(at_least=1).needed,
    "name": NAME.needed,
    "taxId": TAX_ID.needed,
    **{name: field if name == "accountType" else field.needed for name, field in ACCOUNT.items()},
    # Documented: URL safe.
    "externalId": pattern(
        "[A-Za-z0-9\\-._~/:@!$&'()*+,;=%]*", "invalidExternalId", "externalId must be URL safe", MOST_CHARACTERS
    ).defaulting(""),
    "scheduled": moment("scheduled"),
    "description": _name("description", "invalidDescription", empty=True),
    "displayDescription": _name("displayDescription", "invalidDescription", empty=True),
    "tags": TAGS,
    # Documented: the number, in two spellings. Inferred: `isReversalAllowed`, from an SDK that sends it.
    "rules": rules({
        "resendingLimit": _SENT_AGAIN,
        "retryAttempts": _SENT_AGAIN,
        "isReversalAllowed": flag("invalidRule", "the value of this rule must be true or false"),
    }),
}  # fmt: skip

WEBHOOK: Fields = {
    # Documented: the bank wants HTTPS with a trusted certificate. This bank runs on a laptop, so plain http
    # is accepted.
    "url": pattern(
        r"https?://[^\s/?#@]+([/?][^\s#]*)?", "invalidUrl", "url must be an http or https address", 2_000
    ).such_as("http://127.0.0.1:8000/webhooks").needed,
    "subscriptions": some_of(SUBSCRIPTIONS, "subscriptions", "invalidSubscription")
    .such_as(["invoice", "transfer"])
    .needed,
}  # fmt: skip


def each(elements: Any, plural: str, check: Callable[[dict[str, Any]], Checked]) -> list[Checked]:
    """Check a batch: every good element checked, or one refusal with one error for each bad one."""
    # Inferred: all or nothing, from the counts of errors that the official tests expect.
    if not isinstance(elements, list) or not elements:
        raise Refusal.of("invalidJson", f"The body must hold a list of {plural}")
    if len(elements) > MOST_ELEMENTS:
        raise Refusal.of("invalidJson", f"At most {MOST_ELEMENTS} {plural} can be sent in one call")
    good: list[Checked] = []
    errors: list[tuple[str, str]] = []
    for element in elements:
        try:
            if not isinstance(element, dict):
                raise Refusal.of("invalidJson", f"Every element of {plural} must be an object")
            good.append(check(element))
        except Refusal as refusal:
            errors.extend(refusal.errors)
    if errors:
        raise Refusal(errors)
    return good


def body(value: Any, what: str, fields: Fields) -> dict[str, Any]:
    """What a body that holds one object gives of these fields."""
    if not isinstance(value, dict):
        raise Refusal.of("invalidJson", "The body must be an object")
    return read(value, what, fields)


def invoice(element: dict[str, Any], client_now: datetime) -> dict[str, Any]:
    """An invoice to create, with the bank's defaults filled in; `due` stays None for the default."""
    checked = complete(read(element, "invoice", INVOICE), INVOICE)
    not_past(checked["due"], "due", client_now)
    _check_discounts(checked["discounts"], checked["due"], client_now)
    # Guess: the parts cannot be more than the whole.
    if sum(split["amount"] for split in checked["splits"]) > checked["amount"]:
        raise Refusal.of("invalidSplit", "the splits are more than the amount of the invoice")
    return checked


def transfer(element: dict[str, Any], client_now: datetime) -> dict[str, Any]:
    """A transfer to create, with the bank's defaults filled in; `scheduled` stays None for now."""
    checked = complete(read(element, "transfer", TRANSFER), TRANSFER)
    not_past(checked["scheduled"], "scheduled", client_now)
    # Documented: the receiving bank is tried again, ten times by default.
    return {**checked, "rules": checked["rules"] or [{"key": "resendingLimit", "value": 10}]}


def not_past(moment: str | None, name: str, client_now: datetime) -> None:
    """Refuse a checked moment that has passed for the client."""
    if moment is None:
        return
    if is_date(moment):
        if date.fromisoformat(moment) < day_of(client_now):
            raise Refusal.of("invalidDate", f"{name} must not be in the past")
    elif parse_time(moment) < client_now - SLACK:
        raise Refusal.of("invalidDateTime", f"{name} must not be in the past")


def moment_of(value: str) -> datetime:
    """The instant that a checked date or datetime means; a date means the end of that São Paulo day."""
    return day_end(date.fromisoformat(value)) if is_date(value) else parse_time(value)


def _check_discounts(found: list[dict[str, Any]], due: str | None, client_now: datetime) -> None:
    try:
        for each in found:
            not_past(each["due"], "discount: due", client_now)
    except Refusal as refusal:
        raise Refusal.of("invalidDiscountDate", refusal.errors[0][1]) from None
    last = client_now + timedelta(days=2) if due is None else moment_of(due)
    # Inferred from the official tests (2 of 19 invoices are good there): a discount of an invoice with a
    # datetime is a datetime, of one with a date a date; it ends before the invoice is due.
    due_is_date = due is not None and is_date(due)
    if any(is_date(each["due"]) != due_is_date for each in found):
        raise Refusal.of("invalidDiscountDate", "discounts must have a date or a datetime, as the due has")
    if any(moment_of(each["due"]) > last for each in found):
        raise Refusal.of("invalidDiscount", "a discount must end before the invoice is due")
    # Observed in the official tests: in the order of time each must be smaller than the one before it.
    ordered = [each["percentage"] for each in sorted(found, key=lambda each: moment_of(each["due"]))]
    if any(later >= earlier for earlier, later in itertools.pairwise(ordered)):
        raise Refusal.of("invalidDiscount", "a later discount must be smaller than an earlier one")
