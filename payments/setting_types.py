"""The kinds of value that settings have: how each is read, and what is said of a wrong one, which is never quoted."""

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from payments import private_key
from payments.authorization import check_token, read_operators
from payments.language import NAMES
from payments.tax_id import has_right_check_digits, read_tax_id

# Documented: facts sheet 4.1, POST /v2/invoice takes at most 100 elements.
INVOICES_PER_CALL_MAX = 100

# R$ 10 million: far above any believable invoice, far below what a 64-bit column holds.
AMOUNT_MAX_CENTAVOS = 1_000_000_000

# A year. Longer is a slip of the pen, and much longer overflows a timedelta.
SECONDS_MAX = 366 * 24 * 3600


def _api_url(text: str) -> str:
    parts = _split_url(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// URL with a host")
    if parts.username or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError("has more than a scheme, a host and a port")
    return text.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.startswith("sqlite://"):
        file = text.removeprefix("sqlite:///").partition("?")[0]
        if not text.startswith("sqlite:///") or file in ("", ":memory:"):
            raise ValueError("names no file, and the processes could not share a database in memory")
    elif text.startswith("postgresql+psycopg://"):
        _split_url(text)
    else:
        raise ValueError("is neither sqlite:///... nor postgresql+psycopg://...")
    return secret


def _split_url(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when it is not a port number
    except ValueError:
        raise ValueError("is not a well-formed URL") from None
    return parts


def _operator_token(secret: SecretStr) -> SecretStr:
    check_token(secret.get_secret_value())
    return secret


def _operators(secret: SecretStr) -> SecretStr:
    read_operators(secret.get_secret_value())
    return secret


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone that this machine knows") from None
    return name


def _language(value: object) -> object:
    known = {code.lower(): code for code in NAMES}
    return known.get(value.strip().lower().replace("_", "-"), value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _unwrapped_pem(value: object) -> object:
    return private_key.unwrap(value) if isinstance(value, str) else value


def _digits(value: object) -> object:
    # Python reads 1_000 too; and to a Brazilian 1.000 is a thousand, which pydantic reads as 1.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value.strip()):
        raise ValueError("is not a whole number, written as digits alone, such as 1000")
    return value


def _no_thousands(value: object) -> object:
    # The same Brazilian's 10.800 seconds are three hours, and would be read as eleven seconds.
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,2}(\.[0-9]{3})+", value.strip()):
        raise ValueError("may mean a thousand times as much, and has no point in a thousand, such as 10800")
    return value


def _tax_id(text: str) -> str:
    if read_tax_id(text) is None:
        raise ValueError("does not have the right shape")
    if not has_right_check_digits(text):
        raise ValueError("has wrong check digits")
    return text.upper()


Whole = Annotated[int, BeforeValidator(_digits)]
AnySeconds = Annotated[float, BeforeValidator(_no_thousands), Field(allow_inf_nan=False)]
Seconds = Annotated[AnySeconds, Field(gt=0, le=SECONDS_MAX)]
PerBatch = Annotated[Whole, Field(ge=1, le=INVOICES_PER_CALL_MAX)]
Amount = Annotated[Whole, Field(ge=1, le=AMOUNT_MAX_CENTAVOS)]  # 0 would let the payer choose
AnyCase = BeforeValidator(_lower)
Pem = Annotated[SecretStr, BeforeValidator(_unwrapped_pem)]
ApiUrl = Annotated[str, AfterValidator(_api_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
OperatorToken = Annotated[SecretStr, AfterValidator(_operator_token)]
Operators = Annotated[SecretStr, AfterValidator(_operators)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
TaxId = Annotated[str, AfterValidator(_tax_id)]
AnyLanguage = BeforeValidator(_language)
