"""Every setting of the worker and the web app, read from the process environment and from ``.env``.

The environment wins. A wrong or missing setting becomes one SettingsError, a single line that names the variable, what
is wrong and what to put. It never quotes a value, because a key may have been pasted into the wrong variable. Nothing
here opens a database or calls the bank.
"""

import hmac
import logging
import math
import re
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from payments import private_key
from payments.authorization import TOKEN_LENGTH_MIN, Account, find_account, read_operators
from payments.env_file import misspelt, read_env_file
from payments.errors import SettingsError
from payments.language import Language, code_of_zone, language_of
from payments.policy import ForwardingPolicy
from payments.setting_types import (
    AMOUNT_MAX_CENTAVOS,
    INVOICES_PER_CALL_MAX,
    Amount,
    AnyCase,
    AnyLanguage,
    AnySeconds,
    ApiUrl,
    DatabaseUrl,
    Operators,
    OperatorToken,
    Pem,
    PerBatch,
    Seconds,
    TaxId,
    TimeZone,
    Whole,
)
from payments.transfer import Destination

# Each slot is one job in the scheduler's memory; a day of one-minute slots still fits.
SLOTS_MAX = 1440

_PUT_SECONDS = "seconds above 0, fractions allowed"
_PUT_PER_BATCH = f"a whole number from 1 to {INVOICES_PER_CALL_MAX}"
_PUT_AMOUNT = f"whole centavos from 1 to {AMOUNT_MAX_CENTAVOS}"
_PUT_KEY = (
    "the PEM text of a secp256k1 private key without a password, with \\n for its line ends, "
    "or its file's path in STARKBANK_PRIVATE_KEY_PATH"
)


class _EnvFile(PydanticBaseSettingsSource):
    """The .env file, minus a private key where the environment already names one in the other way."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """One setting; not used, because all are read together."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name.lower(): value for name, value in read_env_file().items()}
        both = {"starkbank_private_key", "starkbank_private_key_path"}
        if any(self.current_state.get(name) for name in both):
            values = {name: value for name, value in values.items() if name not in both}
        return values


class Settings(BaseSettings):
    """The settings under their names in lower case; each description says what to put.

    Use load_settings, which makes errors readable and converts the key.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, validate_default=False)

    starkbank_environment: Annotated[Literal["sandbox", "production"], AnyCase] = Field(
        default="sandbox", description="sandbox or production"
    )
    starkbank_project_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="the project's id, as the bank's console shows it",
    )
    starkbank_private_key: Pem | None = Field(default=None, description=_PUT_KEY)
    starkbank_private_key_path: str | None = Field(
        default=None,
        description="the path of a readable PEM file, or the key itself in STARKBANK_PRIVATE_KEY",
    )
    starkbank_api_url: ApiUrl | None = Field(
        default=None, description="an emulator's base URL such as http://127.0.0.1:8900, or leave it out"
    )

    database_url: DatabaseUrl = Field(
        default=SecretStr("sqlite:///data/repasse.db"),
        description="sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/database",
    )

    host: str = Field(
        default="127.0.0.1", pattern=r"^[A-Za-z0-9._:%-]+$", description="an address or name to listen on"
    )
    port: Whole = Field(default=8000, ge=1, le=65535, description="a port number from 1 to 65535")
    web_workers: Whole = Field(default=1, ge=1, le=64, description="a whole number from 1 to 64")

    invoice_interval_seconds: Seconds = Field(default=10800, description=_PUT_SECONDS)
    invoice_window_seconds: Seconds = Field(default=86400, description=_PUT_SECONDS)
    invoices_per_batch_min: PerBatch = Field(default=8, description=_PUT_PER_BATCH)
    invoices_per_batch_max: PerBatch = Field(default=12, description=_PUT_PER_BATCH)
    invoice_amount_min_centavos: Amount = Field(default=1_000, description=_PUT_AMOUNT)
    invoice_amount_max_centavos: Amount = Field(default=50_000, description=_PUT_AMOUNT)
    late_slots: Annotated[Literal["issue", "skip"], AnyCase] = Field(
        default="issue", description="issue or skip"
    )

    forward_credits: Annotated[Literal["all", "issued"], AnyCase] = Field(
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
    destination_tax_id: TaxId = Field(
        default="20.018.183/0001-80",
        description="a CPF like 000.000.000-00 or a CNPJ like 00.000.000/0000-00",
    )
    destination_account_type: Annotated[Literal["checking", "payment", "savings", "salary"], AnyCase] = Field(
        default="payment", description="checking, payment, savings or salary"
    )
    transfer_lease_seconds: Seconds = Field(default=60, description=_PUT_SECONDS)
    retry_base_seconds: Seconds = Field(default=5, description=_PUT_SECONDS)
    retry_max_seconds: Seconds = Field(default=3600, description=_PUT_SECONDS)
    reissue_max: Whole = Field(default=6, ge=0, le=20, description="a whole number from 0 to 20")

    bank_timeout_seconds: Seconds = Field(default=15, description=_PUT_SECONDS)
    reconcile_interval_seconds: Seconds = Field(default=300, description=_PUT_SECONDS)

    operator_token: OperatorToken | None = Field(
        default=None,
        description=f"{TOKEN_LENGTH_MIN} or more letters, digits and signs, or leave it out",
    )
    operators: Operators | None = Field(
        default=None,
        description="name:role:token for each person, separated by commas; the role is operator or reader, and a token "
        f"has {TOKEN_LENGTH_MIN} or more letters, digits and signs but no comma",
    )
    session_idle_seconds: AnySeconds = Field(
        default=1800, ge=60, le=43200, description="seconds from 60 to 43200"
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
    metrics_port: Whole | None = Field(
        default=None, ge=1, le=65535, description="a port number from 1 to 65535, or leave it out"
    )
    drain_seconds: AnySeconds = Field(
        default=0, ge=0, le=300, description="seconds from 0 to 300, fractions allowed"
    )
    time_zone: TimeZone = Field(default="America/Sao_Paulo", description="a name such as America/Sao_Paulo")
    operator_language: Annotated[Literal["pt-BR", "en"], AnyLanguage] | None = Field(
        default=None, description="pt-BR or en"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        default="info", description="debug, info, warning or error"
    )
    log_format: Annotated[Literal["json", "console"], AnyCase] = Field(
        default="json", description="json or console"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003, handed in by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
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

    @field_validator("*", mode="before")
    @classmethod
    def _holds_only_its_value(cls, value: object, info: ValidationInfo) -> object:
        # systemd's EnvironmentFile and `docker run --env-file` take a comment or quotes for a part of the value. A key
        # is freed of its quotes by private_key.unwrap.
        if not isinstance(value, str) or info.field_name == "starkbank_private_key":
            return value
        text = value.strip()
        if re.search(r"(?:^|\s)#", text):
            raise ValueError("holds a # comment as a part of its value, which belongs on a line of its own")
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            raise ValueError("holds quotation marks as a part of its value")
        return value

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
        shared = (
            [Account("", may_act=True, token=self.operator_token.get_secret_value())]
            if self.operator_token
            else []
        )
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


def load_settings(*, needs_bank: bool = True) -> Settings:
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
    return misspelt([name.upper() for name in Settings.model_fields])


# --- below: reading, and the sentences of its errors ---


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        _refuse_first(error)


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
        text = pem.get_secret_value() if pem is not None else private_key.read_key_file(str(path))
    except ValueError as error:
        _refuse("starkbank_private_key_path", str(error))
    try:
        return private_key.sec1_pem(text)
    except ValueError as error:
        if pem is not None:
            _refuse("starkbank_private_key", f"holds {error}")
        _refuse("starkbank_private_key_path", f"names a file that holds {error}")
