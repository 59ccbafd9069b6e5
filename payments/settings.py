"""Every setting of the worker and the web app, read from the process environment and from ``.env``.

The environment wins. A wrong or missing setting becomes one SettingsError, a single line that names the variable, what
is wrong and what to put. It never quotes a value, because a key may have been pasted into the wrong variable. Nothing
here opens a database or calls the bank.
"""

import difflib
import hmac
import logging
import math
import os
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from payments import private_key
from payments.authorization import (
    TOKEN_LENGTH_MIN,
    Account,
    check_token,
    find_account,
    read_operators,
)
from payments.errors import SettingsError
from payments.language import NAMES, Language, code_of_zone, language_of
from payments.policy import ForwardingPolicy
from payments.transfer import Destination

# Documented: facts sheet 4.1, POST /v2/invoice takes at most 100 elements.
INVOICES_PER_CALL_MAX = 100

# R$ 10 million: far above any believable invoice, far below what a 64-bit column holds.
AMOUNT_MAX_CENTAVOS = 1_000_000_000

# A year. Longer is a slip of the pen, and much longer overflows a timedelta.
SECONDS_MAX = 366 * 24 * 3600

# Each slot is one job in the scheduler's memory; a day of one-minute slots still fits.
SLOTS_MAX = 1440


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


_Seconds = Annotated[float, Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False)]
_PerBatch = Annotated[int, Field(ge=1, le=INVOICES_PER_CALL_MAX)]
_Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX_CENTAVOS)]  # 0 would let the payer choose
_AnyCase = BeforeValidator(_lower)

_PUT_SECONDS = "seconds above 0, fractions allowed"
_PUT_PER_BATCH = f"a whole number from 1 to {INVOICES_PER_CALL_MAX}"
_PUT_AMOUNT = f"whole centavos from 1 to {AMOUNT_MAX_CENTAVOS}"
_PUT_KEY = (
    "the PEM text of a secp256k1 private key without a password, with \\n for its line ends, "
    "or its file's path in STARKBANK_PRIVATE_KEY_PATH"
)


class _EnvFile(DotEnvSettingsSource):
    """The .env file, minus a private key where the environment already names one in the other way."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        both = {"starkbank_private_key", "starkbank_private_key_path"}
        if any(self.current_state.get(name) for name in both):
            values = {name: value for name, value in values.items() if name not in both}
        return values


class Settings(BaseSettings):
    """The settings under their names in lower case; each description says what to put.

    Use load_settings, which makes errors readable and converts the key.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, validate_default=False
    )

    starkbank_environment: Annotated[Literal["sandbox", "production"], _AnyCase] = Field(
        default="sandbox", description="sandbox or production"
    )
    starkbank_project_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="the project's id, as the bank's console shows it",
    )
    starkbank_private_key: Annotated[SecretStr | None, BeforeValidator(_unwrapped_pem)] = Field(
        default=None, description=_PUT_KEY
    )
    starkbank_private_key_path: str | None = Field(
        default=None,
        description="the path of a readable PEM file, or the key itself in STARKBANK_PRIVATE_KEY",
    )
    starkbank_api_url: Annotated[str, AfterValidator(_api_url)] | None = Field(
        default=None, description="an emulator's base URL such as http://127.0.0.1:8900, or leave it out"
    )

    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        default=SecretStr("sqlite:///data/repasse.db"),
        description="sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/database",
    )

    host: str = Field(
        default="127.0.0.1", pattern=r"^[A-Za-z0-9._:%-]+$", description="an address or name to listen on"
    )
    port: int = Field(default=8000, ge=1, le=65535, description="a port number from 1 to 65535")
    web_workers: int = Field(default=1, ge=1, le=64, description="a whole number from 1 to 64")

    invoice_interval_seconds: _Seconds = Field(default=10800, description=_PUT_SECONDS)
    invoice_window_seconds: _Seconds = Field(default=86400, description=_PUT_SECONDS)
    invoices_per_batch_min: _PerBatch = Field(default=8, description=_PUT_PER_BATCH)
    invoices_per_batch_max: _PerBatch = Field(default=12, description=_PUT_PER_BATCH)
    invoice_amount_min_centavos: _Amount = Field(default=1_000, description=_PUT_AMOUNT)
    invoice_amount_max_centavos: _Amount = Field(default=50_000, description=_PUT_AMOUNT)
    late_slots: Annotated[Literal["issue", "skip"], _AnyCase] = Field(
        default="issue", description="issue or skip"
    )

    forward_credits: Annotated[Literal["all", "issued"], _AnyCase] = Field(
        default="all", description="all or issued"
    )
    destination_bank_code: str = Field(
        default="20018183",
        pattern=r"^([0-9]{8}|[0-9]{1,3})$",
        description="8 digits (ISPB, for Pix) or 1 to 3 (TED)",
    )
    destination_branch_code: str = Field(
        default="0001", pattern=r"^[0-9]{1,6}(-[0-9Xx])?$", description="digits, with - before a check digit"
    )
    destination_account_number: str = Field(
        default="6341320293482496",
        pattern=r"^[0-9]{1,20}(-[0-9Xx])?$",
        description="digits, with - before a check digit",
    )
    destination_name: str = Field(
        default="Stark Bank S.A.",
        pattern=r"^\S(.{0,98}\S)?$",
        description="the holder's name, at most 100 characters",
    )
    destination_tax_id: str = Field(
        default="20.018.183/0001-80",
        # A company's number may hold letters from July 2026 on; its two check digits stay digits.
        pattern=r"^([0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}"
        r"|[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?[0-9]{2})$",
        description="a CPF like 000.000.000-00 or a CNPJ like 00.000.000/0000-00",
    )
    destination_account_type: Annotated[Literal["checking", "payment", "savings", "salary"], _AnyCase] = (
        Field(default="payment", description="checking, payment, savings or salary")
    )
    transfer_lease_seconds: _Seconds = Field(default=60, description=_PUT_SECONDS)
    retry_base_seconds: _Seconds = Field(default=5, description=_PUT_SECONDS)
    retry_max_seconds: _Seconds = Field(default=3600, description=_PUT_SECONDS)
    reissue_max: int = Field(default=6, ge=0, le=20, description="a whole number from 0 to 20")

    bank_timeout_seconds: _Seconds = Field(default=15, description=_PUT_SECONDS)
    reconcile_interval_seconds: _Seconds = Field(default=300, description=_PUT_SECONDS)

    operator_token: Annotated[SecretStr, AfterValidator(_operator_token)] | None = Field(
        default=None,
        description=f"{TOKEN_LENGTH_MIN} or more letters, digits and signs, or leave it out",
    )
    operators: Annotated[SecretStr, AfterValidator(_operators)] | None = Field(
        default=None,
        description="name:role:token for each person, separated by commas; the role is operator or reader, and a token "
        f"has {TOKEN_LENGTH_MIN} or more letters, digits and signs but no comma",
    )
    session_idle_seconds: float = Field(
        default=1800, ge=60, le=43200, allow_inf_nan=False, description="seconds from 60 to 43200"
    )
    tax_id_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="16 or more characters that no one can guess, or leave it out",
    )
    alert_urls: SecretStr | None = Field(
        default=None,
        description="Apprise URLs separated by spaces, such as mailtos://... or jsons://host/path, or leave it out",
    )
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="a port number from 1 to 65535, or leave it out"
    )
    drain_seconds: float = Field(
        default=0, ge=0, le=300, allow_inf_nan=False, description="seconds from 0 to 300, fractions allowed"
    )
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="America/Sao_Paulo", description="a name such as America/Sao_Paulo"
    )
    operator_language: Annotated[Literal["pt-BR", "en"], BeforeValidator(_language)] | None = Field(
        default=None, description="pt-BR or en"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _AnyCase] = Field(
        default="info", description="debug, info, warning or error"
    )
    log_format: Annotated[Literal["json", "console"], _AnyCase] = Field(
        default="json", description="json or console"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then the .env file."""
        return init_settings, env_settings, _EnvFile(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        # Containers and shells pass NAME= for "not set". An empty token is refused instead, because its author
        # believes that the console is protected.
        empty = {
            name
            for name, value in values.items()
            if value is None or (isinstance(value, str) and not value.strip())
        }
        return {
            name: value
            for name, value in values.items()
            if name not in empty or (name == "operator_token" and value is not None)
        }

    @property
    def slots(self) -> int:
        """How many batches the window holds; 8 with the defaults."""
        return round(self.invoice_window_seconds / self.invoice_interval_seconds)

    @property
    def destination(self) -> Destination:
        """The one account that every credit is forwarded to."""
        return Destination(
            bank_code=self.destination_bank_code,
            branch_code=self.destination_branch_code,
            account_number=self.destination_account_number,
            account_type=self.destination_account_type,
            name=self.destination_name,
            tax_id=self.destination_tax_id,
        )

    @property
    def tax_id_search_key(self) -> bytes:
        """What payers' tax ids are hashed with for search: TAX_ID_KEY, else derived from the bank's key; empty without
        either.
        """
        if self.tax_id_key is not None:
            return self.tax_id_key.get_secret_value().encode()
        try:
            private_key = _read_private_key(self)
        except SettingsError:
            return b""
        return hmac.digest(private_key.encode(), b"repasse: search by tax id", "sha256")

    @property
    def forwarding_policy(self) -> ForwardingPolicy:
        """Where credits are forwarded to, and how often and how fast that is retried."""
        return ForwardingPolicy(
            destination=self.destination,
            only_issued=self.forward_credits == "issued",
            lease_seconds=self.transfer_lease_seconds,
            retry_base_seconds=self.retry_base_seconds,
            retry_max_seconds=self.retry_max_seconds,
            reissue_max=self.reissue_max,
            tax_id_key=self.tax_id_search_key,
        )

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Whose tokens open the console and /metrics: the shared one first, then each person's; perhaps none."""
        shared = [Account("", True, self.operator_token.get_secret_value())] if self.operator_token else []
        named = read_operators(self.operators.get_secret_value()) if self.operators else ()
        return (*shared, *named)

    @property
    def language(self) -> Language:
        """The language of alerts, of the command line, and of pages whose reader has chosen none."""
        return language_of(self.operator_language or code_of_zone(self.time_zone))

    @property
    def private_key_pem(self) -> str:
        """The private key as PEM text (SEC1, the one form that the SDK reads).

        Raises SettingsError when the settings were loaded with ``needs_bank=False`` and hold no key.
        """
        if self.starkbank_private_key is None:
            _refuse("starkbank_private_key", "is missing")
        return self.starkbank_private_key.get_secret_value()


def load_settings(needs_bank: bool = True) -> Settings:
    """Read and check every setting; ``needs_bank=False`` leaves out what only calls to others need: the project, the
    key and ALERT_URLS.

    Raises SettingsError, one line with the first variable that is wrong and the names of any others.
    """
    settings = _read_settings()
    _check_together(settings)
    if not needs_bank:
        return settings
    if not settings.starkbank_project_id:
        _refuse("starkbank_project_id", "is missing")
    if settings.alert_urls is not None:
        _check_alert_urls(settings.alert_urls.get_secret_value())
    return settings.model_copy(update={"starkbank_private_key": SecretStr(_read_private_key(settings))})


def misspelt_settings() -> dict[str, str]:
    """Names in ``.env`` and the environment that are almost ours, or were ours, each with the setting that is meant.

    They would be ignored in silence, and their author would believe that they hold.
    """
    known = [name.upper() for name in Settings.model_fields]
    try:
        written = [*dotenv_values(".env", interpolate=False), *os.environ]
    except (OSError, UnicodeDecodeError):  # load_settings reports that
        written = list(os.environ)
    found = {name: _REPLACED[name.upper()] for name in written if name.upper() in _REPLACED}
    for name in written:
        if name.upper() not in (*known, *_REPLACED) and len(name) >= _MISSPELT_LENGTH_MIN:
            for like in difflib.get_close_matches(name.upper(), known, 1, _MISSPELT_LIKENESS):
                found[name] = like
    return found


# Settings of earlier versions.
_REPLACED = {"ALERT_WEBHOOK_URL": "ALERT_URLS", "ALERT_WEBHOOK_SECRET": "ALERT_URLS"}

# HOST and PORT resemble too many names of other programs.
_MISSPELT_LENGTH_MIN = 7

# One or two letters wrong, missing or too many in a name of ordinary length; DATABASE_URI has a likeness of 0.92.
_MISSPELT_LIKENESS = 0.88


# --- below: reading, and the sentences of its errors ---


class _UnreadLines(logging.Handler):
    """Collects the lines that python-dotenv could not read; it would print a warning and go on without them."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.numbers.extend(record.args if isinstance(record.args, tuple) else ())


def _read_settings() -> Settings:
    unread = _UnreadLines()
    log = logging.getLogger("dotenv.main")
    propagate, log.propagate = log.propagate, False
    log.addHandler(unread)
    try:
        return _built(unread)
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        reason = error.strerror
        raise SettingsError(f".env cannot be read ({reason}): make it readable, or remove it") from None
    finally:
        log.removeHandler(unread)
        log.propagate = propagate


def _built(unread: _UnreadLines) -> Settings:
    try:
        outcome: Settings | ValidationError = Settings()
    except ValidationError as error:
        outcome = error
    if unread.numbers:
        # Reported first, because what is wrong or missing may be on that line.
        raise SettingsError(
            f".env cannot be read at line {unread.numbers[0]}: write NAME=value, and put a value of several "
            "lines in double quotes"
        )
    if isinstance(outcome, ValidationError):
        _refuse_first(outcome)
    return outcome


_WRONG = {
    "missing": "is missing",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is none of its choices",
    "string_pattern_mismatch": "does not have the right shape",
}


def _refuse_first(error: ValidationError) -> NoReturn:
    # include_input=False here and `from None` below, so that the error does not carry a value.
    details = error.errors(include_input=False, include_url=False)
    first = details[0]
    names = [str(detail["loc"][0]) for detail in details]
    wrong = _WRONG.get(first["type"], "is wrong")
    if first["type"] == "value_error":
        wrong = str(first["ctx"]["error"])
    others = ", ".join(sorted({name.upper() for name in names if name != names[0]}))
    _refuse(names[0], wrong, also=f" (also wrong: {others})" if others else "")


def _refuse(field: str, wrong: str, put: str | None = None, also: str = "") -> NoReturn:
    put = put or Settings.model_fields[field].description
    raise SettingsError(f"{field.upper()} {wrong}: put {put}{also}") from None


def _check_together(settings: Settings) -> None:
    """Refuse settings that are each right but contradict each other."""
    if settings.starkbank_environment == "production" and settings.starkbank_api_url:
        _refuse(
            "starkbank_api_url",
            "is set, and production talks to the real bank only",
            "STARKBANK_ENVIRONMENT=sandbox, or leave STARKBANK_API_URL out",
        )
    for low, high in (
        ("invoices_per_batch_min", "invoices_per_batch_max"),
        ("invoice_amount_min_centavos", "invoice_amount_max_centavos"),
        ("retry_base_seconds", "retry_max_seconds"),
    ):
        if getattr(settings, low) > getattr(settings, high):
            _refuse(low, f"is more than {high.upper()}", f"a value that is at most {high.upper()}")
    ratio = settings.invoice_window_seconds / settings.invoice_interval_seconds
    # Fractions of a second have no exact quotient in binary: 0.3 / 0.1 is not 3.
    if round(ratio) < 1 or not math.isclose(ratio, round(ratio), rel_tol=1e-9):
        _refuse(
            "invoice_window_seconds",
            "is not a multiple of INVOICE_INTERVAL_SECONDS",
            "a whole number of intervals, such as 86400 for 8 intervals of 10800",
        )
    if round(ratio) > SLOTS_MAX:
        _refuse("invoice_window_seconds", f"holds more than {SLOTS_MAX} intervals", "a shorter window")
    if settings.metrics_port is not None and not settings.accounts:
        _refuse("operator_token", "is missing, and METRICS_PORT is set")
    shared, *named = settings.accounts or (None,)
    if shared and find_account(shared.token, named):
        _refuse(
            "operators",
            "has the token of OPERATOR_TOKEN, so that it would not say who",
            "another token there",
        )
    # A look-up and the sending that may follow it must both fit into one lease.
    if 2 * settings.bank_timeout_seconds >= settings.transfer_lease_seconds:
        _refuse(
            "bank_timeout_seconds",
            "is not smaller than half of TRANSFER_LEASE_SECONDS, so two calls could outlive their lease",
            "less than half of TRANSFER_LEASE_SECONDS",
        )


def _check_alert_urls(text: str) -> None:
    # Imported here because it takes half a second.
    from apprise import Apprise

    # Apprise logs the URLs that it cannot read, and they hold secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    # Word by word, because Apprise ignores what comes before a URL, and takes a word that it does not know for a part
    # of the URL before it.
    if not all(Apprise().add(word) for word in text.split()):
        _refuse("alert_urls", "holds a URL that Apprise cannot read")


def _read_private_key(settings: Settings) -> str:
    """Return the key as SEC1 PEM, in whichever form it was given. Raises SettingsError."""
    pem, path = settings.starkbank_private_key, settings.starkbank_private_key_path
    if pem is not None and path is not None:
        _refuse("starkbank_private_key", "and STARKBANK_PRIVATE_KEY_PATH are both set", "only one of them")
    if pem is None and path is None:
        _refuse("starkbank_private_key", "is missing")
    try:
        if pem is not None:
            return private_key.sec1_pem(pem.get_secret_value())
        return private_key.sec1_pem(_read_key_file(str(path)))
    except ValueError as error:
        if pem is not None:
            _refuse("starkbank_private_key", f"holds {error}")
        _refuse("starkbank_private_key_path", f"names a file that holds {error}")


def _read_key_file(path: str) -> str:
    field = "starkbank_private_key_path"
    if "-----BEGIN" in path:
        _refuse(field, "holds a key and not a path", "the key in STARKBANK_PRIVATE_KEY")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        _refuse(field, "names a file that is not text")
    except ValueError:
        _refuse(field, "is not a path")
    except OSError as error:
        _refuse(field, f"names a file that cannot be read ({error.strerror})")
