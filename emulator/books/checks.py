"""What the bank checks in the elements of a request before it accepts any of them.

Each check returns the element in the bank's own form or raises `Refusal` with the one error of that element.
Nothing here looks at other rows: duplicates and balance are decided later, as at the bank.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

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

INVOICE_KEYS = {
    "amount", "name", "taxId", "due", "expiration", "fine", "interest", "discounts", "descriptions", "rules",
    "splits", "tags", "displayDescription",
}  # fmt: skip
TRANSFER_KEYS = {
    "amount", "name", "taxId", "bankCode", "branchCode", "accountNumber", "accountType", "externalId",
    "scheduled", "description", "displayDescription", "tags", "rules",
}  # fmt: skip
INVOICE_REQUIRED = ("amount", "name", "taxId")
TRANSFER_REQUIRED = ("amount", "name", "taxId", "bankCode", "branchCode", "accountNumber")
ACCOUNT_TYPES = ("checking", "payment", "savings", "salary")

# Documented: the subscriptions of the OpenAPI text. Observed: the second line, in the SDKs' own test vectors.
SUBSCRIPTIONS = (
    "transfer", "invoice", "deposit", "boleto", "boleto-payment", "boleto-holmes", "brcode-payment",
    "utility-payment", "darf-payment", "payment-request",
    "tax-payment", "invoice-pull-request", "invoice-pull-subscription", "verified-account",
)  # fmt: skip

Checked = TypeVar("Checked")


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


def body(value: Any) -> dict[str, Any]:
    """The body of a request that holds one object."""
    if not isinstance(value, dict):
        raise Refusal.of("invalidJson", "The body must be an object")
    return value


def keys(element: dict[str, Any], what: str, known: set[str], required: tuple[str, ...]) -> None:
    """Refuse unknown and missing parameters."""
    unknown = sorted(set(element) - known)
    if unknown:
        raise Refusal.of("invalidJson", f"Unknown parameters in {what}: {', '.join(unknown)}")
    missing = [key for key in required if element.get(key) is None]
    if missing:
        raise Refusal.of("invalidJson", f"Missing parameters in {what}: {', '.join(missing)}")


def invoice(element: dict[str, Any], client_now: datetime) -> dict[str, Any]:
    """An invoice to create, with the bank's defaults filled in; `due` stays None for the default."""
    keys(element, "invoice", INVOICE_KEYS, INVOICE_REQUIRED)
    # Documented: two days by default; the book fills it in.
    due_text = None if element.get("due") is None else due(element["due"], client_now)
    return {
        # Documented: zero is allowed, the payer then chooses.
        "amount": amount(element["amount"], at_least=0),
        "name": text(element["name"], "name", "invalidName"),
        "taxId": tax_id(element["taxId"]),
        "due": due_text,
        # Documented: seconds after due, 59 days by default.
        "expiration": expiration(_given(element, "expiration", 5_097_600)),
        # Documented: percent once, and percent a month.
        "fine": percentage(_given(element, "fine", 2.0), "invalidFine"),
        "interest": percentage(_given(element, "interest", 1.0), "invalidInterest"),
        "discounts": discounts(element.get("discounts"), due_text, client_now),
        "descriptions": descriptions(element.get("descriptions")),
        "rules": rules(element.get("rules"), {"allowedTaxIds": _allowed_tax_ids}),
        "splits": splits(element.get("splits"), element["amount"]),
        "tags": tags(element.get("tags")),
        "displayDescription": text(
            element.get("displayDescription"), "displayDescription", "invalidDescription", empty=True
        ),
    }


def transfer(element: dict[str, Any], client_now: datetime) -> dict[str, Any]:
    """A transfer to create, with the bank's defaults filled in; `scheduled` stays None for now."""
    keys(element, "transfer", TRANSFER_KEYS, TRANSFER_REQUIRED)
    external_id = text(element.get("externalId"), "externalId", "invalidExternalId", empty=True)
    # Documented: URL safe.
    if external_id and not re.fullmatch(r"[A-Za-z0-9\-._~/:@!$&'()*+,;=%]+", external_id):
        raise Refusal.of("invalidExternalId", "externalId must be URL safe")
    return {
        "amount": amount(element["amount"], at_least=1),
        "name": text(element["name"], "name", "invalidName"),
        "taxId": tax_id(element["taxId"]),
        **account(element),
        "externalId": external_id,
        "scheduled": None
        if element.get("scheduled") is None
        else scheduled(element["scheduled"], client_now),
        "description": text(element.get("description"), "description", "invalidDescription", empty=True),
        "displayDescription": text(
            element.get("displayDescription"), "displayDescription", "invalidDescription", empty=True
        ),
        "tags": tags(element.get("tags")),
        # Documented: the receiving bank is tried again, ten times by default.
        "rules": rules(element.get("rules"), _TRANSFER_RULES) or [{"key": "resendingLimit", "value": 10}],
    }


def webhook(body: dict[str, Any]) -> dict[str, Any]:
    """A webhook to register."""
    keys(body, "webhook", {"url", "subscriptions"}, ("url", "subscriptions"))
    url, subscriptions = body["url"], body["subscriptions"]
    # Documented: the bank wants HTTPS with a trusted certificate. This bank runs on a laptop, so plain http
    # is accepted.
    if (
        not isinstance(url, str)
        or not re.fullmatch(r"https?://[^\s/?#@]+([/?][^\s#]*)?", url)
        or len(url) > 2_000
    ):
        raise Refusal.of("invalidUrl", "url must be an http or https address")
    if not isinstance(subscriptions, list) or not subscriptions:
        raise Refusal.of("invalidSubscription", "subscriptions must be a list with at least one element")
    wrong = [str(each) for each in subscriptions if each not in SUBSCRIPTIONS]
    if wrong:
        raise Refusal.of("invalidSubscription", f"Unknown subscriptions: {', '.join(wrong)}")
    return {"url": url, "subscriptions": list(dict.fromkeys(subscriptions))}


def amount(value: Any, at_least: int) -> int:
    """Whole centavos."""
    # Observed in the official tests: a string, a negative, an object or an absurd value is invalidAmount.
    # JSON's true is an int to Python, so booleans are refused by type.
    if type(value) is not int or not at_least <= value <= MOST_CENTAVOS:
        raise Refusal.of("invalidAmount", f"amount must be an integer of centavos, at least {at_least}")
    return value


def text(value: Any, name: str, code: str, empty: bool = False) -> str:
    """A text; None becomes empty where that is allowed."""
    if value is None and empty:
        return ""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS or (not value.strip() and not empty):
        raise Refusal.of(code, f"{name} must be a text of 1 to {MOST_CHARACTERS} characters")
    return value


def tax_id(value: Any) -> str:
    """A CPF or CNPJ, formatted."""
    try:
        return tax_id_text(value if isinstance(value, str) else "")
    except ValueError:
        raise Refusal.of("invalidTaxId", "taxId must be a valid CPF or CNPJ") from None


def account(element: dict[str, Any]) -> dict[str, str]:
    """The four keys of an account: bank, branch, number and type."""
    return {
        "bankCode": bank_code(element["bankCode"]),
        "branchCode": account_code(element["branchCode"], "branchCode", "invalidBranchCode"),
        "accountNumber": account_code(element["accountNumber"], "accountNumber", "invalidAccountNumber"),
        "accountType": account_type(element.get("accountType")),
    }


def bank_code(value: Any) -> str:
    """A bank: eight digits of ISPB for Pix, one to three for TED."""
    # Documented.
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,3}|\d{8}", value, re.ASCII):
        raise Refusal.of("invalidBankCode", "bankCode must be 8 digits (ISPB) or 1 to 3 digits")
    return value


def account_type(value: Any) -> str:
    """A kind of account; None means checking, as documented."""
    if value is None or value == "":
        return "checking"
    if not isinstance(value, str) or value not in ACCOUNT_TYPES:
        raise Refusal.of("invalidAccountType", f"accountType must be one of {', '.join(ACCOUNT_TYPES)}")
    return value


def account_code(value: Any, name: str, code: str) -> str:
    """A branch or account number: digits, with a hyphen before the check digit."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z]{1,30}(-[0-9A-Za-z]{1,2})?", value):
        raise Refusal.of(code, f"{name} must be a text of digits, with '-' before a check digit")
    return value


def tags(value: Any) -> list[str]:
    """Tags, lower-cased."""
    # Documented and observed: the server lower-cases them.
    if value is None:
        return []
    if not isinstance(value, list) or not all(
        isinstance(tag, str) and len(tag) <= MOST_CHARACTERS for tag in value
    ):
        raise Refusal.of("invalidTags", "tags must be a list of texts")
    return [tag.lower() for tag in value]


def moment(value: Any, name: str, client_now: datetime) -> str:
    """A date or an instant that has not passed for the client, in the bank's text."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            # Guess: the limits; they keep sums of dates inside what a calendar can hold.
            if not 1970 <= int(value[:4]) <= 2200:
                raise ValueError("year")
            if is_date(value):
                if date.fromisoformat(value) < day_of(client_now):
                    raise Refusal.of("invalidDate", f"{name} must not be in the past")
                return value
            at = parse_time(value)
            if at < client_now - SLACK:
                raise Refusal.of("invalidDateTime", f"{name} must not be in the past")
            return time_text(at)
        except (ValueError, OverflowError):
            pass
    raise Refusal.of("invalidDateTime", f"{name} must be a date or a datetime in ISO 8601")


def due(value: Any, client_now: datetime) -> str:
    """When an invoice is due."""
    return moment(value, "due", client_now)


def scheduled(value: Any, client_now: datetime) -> str:
    """When a transfer will be processed."""
    return moment(value, "scheduled", client_now)


def moment_of(value: str) -> datetime:
    """The instant that a checked date or datetime means; a date means the end of that São Paulo day."""
    return day_end(date.fromisoformat(value)) if is_date(value) else parse_time(value)


def expiration(value: Any) -> int:
    """Seconds between due and the end of an invoice."""
    if type(value) is not int or not 0 <= value <= 10**9:
        raise Refusal.of("invalidExpiration", "expiration must be an integer of seconds, zero or more")
    return value


def percentage(value: Any, code: str) -> float:
    """A percentage, zero to a hundred."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise Refusal.of(code, "a percentage must be a number from 0 to 100")
    return float(value)


def discounts(value: Any, due_text: str | None, client_now: datetime) -> list[dict[str, Any]]:
    """At most five reductions, each with its last moment; `due_text` is the invoice's own, None by default."""
    found = [_discount(each, client_now) for each in _objects(value, "discounts", 5, "invalidDiscount")]
    last = client_now + timedelta(days=2) if due_text is None else moment_of(due_text)
    # Inferred from the official tests (2 of 19 invoices are good there): a discount of an invoice with a
    # datetime is a datetime, of one with a date a date; it ends before the invoice is due.
    due_is_date = due_text is not None and is_date(due_text)
    if any(is_date(each["due"]) != due_is_date for each in found):
        raise Refusal.of("invalidDiscountDate", "discounts must have a date or a datetime, as the due has")
    if any(moment_of(each["due"]) > last for each in found):
        raise Refusal.of("invalidDiscount", "a discount must end before the invoice is due")
    # Observed in the official tests: in the order of time each must be smaller than the one before it.
    ordered = [each["percentage"] for each in sorted(found, key=lambda each: moment_of(each["due"]))]
    if any(later >= earlier for earlier, later in itertools.pairwise(ordered)):
        raise Refusal.of("invalidDiscount", "a later discount must be smaller than an earlier one")
    return found


def _discount(discount: dict[str, Any], client_now: datetime) -> dict[str, Any]:
    # Observed in the official tests: other and missing keys are invalidDiscount here, not invalidJson.
    if set(discount) != {"percentage", "due"}:
        raise Refusal.of("invalidDiscount", "a discount must have percentage and due, and nothing else")
    percent = percentage(discount["percentage"], "invalidDiscount")
    if percent == 0:
        raise Refusal.of("invalidDiscount", "the percentage of a discount must be above zero")
    try:
        return {"percentage": percent, "due": moment(discount["due"], "due", client_now)}
    except Refusal as refusal:
        raise Refusal.of("invalidDiscountDate", f"discount: {refusal.errors[0][1]}") from None


def descriptions(value: Any) -> list[dict[str, Any]]:
    """At most fifteen lines of text."""
    found: list[dict[str, Any]] = []
    for line in _objects(value, "descriptions", 15, "invalidDescription"):
        keys(line, "description", {"key", "value"}, ("key",))
        found.append(
            {
                "key": text(line["key"], "key", "invalidDescription"),
                "value": text(line.get("value"), "value", "invalidDescription", empty=True),
            }
        )
    return found


def rules(value: Any, known: dict[str, Callable[[Any], Any]]) -> list[dict[str, Any]]:
    """Rules, each with a value that fits its key; the emulator shows them back and does not act on them."""
    found = _objects(value, "rules", 15, "invalidRule")
    for rule in found:
        keys(rule, "rule", {"key", "value"}, ("key", "value"))
        if not isinstance(rule["key"], str) or rule["key"] not in known:
            raise Refusal.of("invalidRule", f"the key of a rule must be one of {', '.join(sorted(known))}")
    return [{"key": rule["key"], "value": known[rule["key"]](rule["value"])} for rule in found]


def _allowed_tax_ids(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Refusal.of("invalidRule", "the value of allowedTaxIds must be a list of CPFs and CNPJs")
    return [tax_id(each) for each in value]


def _count(value: Any) -> int:
    # Documented: how often a transfer is sent again, ten by default. Guess: the most.
    if type(value) is not int or not 0 <= value <= 1_000:
        raise Refusal.of("invalidRule", "the value of this rule must be an integer, zero or more")
    return value


def _is_allowed(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refusal.of("invalidRule", "the value of this rule must be true or false")
    return value


# Documented: how often a transfer is sent again, in two spellings. Inferred: `isReversalAllowed`, from an SDK that
# sends it.
_TRANSFER_RULES: dict[str, Callable[[Any], Any]] = {
    "resendingLimit": _count,
    "retryAttempts": _count,
    "isReversalAllowed": _is_allowed,
}


def splits(value: Any, amount_centavos: Any) -> list[dict[str, Any]]:
    """Splits as sent; the emulator shows them back and does not divide money."""
    found = _objects(value, "splits", 30, "invalidSplit")
    for split in found:
        keys(split, "split", {"receiverId", "amount"}, ("receiverId", "amount"))
        amount(split["amount"], at_least=0)
        text(split["receiverId"], "receiverId", "invalidSplit")
    # Guess: the parts cannot be more than the whole.
    if sum(split["amount"] for split in found) > amount(amount_centavos, at_least=0):
        raise Refusal.of("invalidSplit", "the splits are more than the amount of the invoice")
    return found


def _given(element: dict[str, Any], key: str, default: Any) -> Any:
    # Read: SDKs drop null values, so a null that arrives means the default too.
    value = element.get(key)
    return default if value is None else value


def _objects(value: Any, name: str, most: int, code: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, dict) for each in value):
        raise Refusal.of(code, f"{name} must be a list of at most {most} objects")
    return value
