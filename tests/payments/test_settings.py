"""Settings: what is accepted, and the one line that each wrong value gets."""

import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from dotenv import dotenv_values
from ellipticcurve.privateKey import PrivateKey

from payments.authorization import Account
from payments.errors import SettingsError
from payments.policy import ForwardingPolicy
from payments.settings import Settings, load_settings, misspelt_settings
from payments.transfer import Destination

ROOT = Path(__file__).parents[2]
KEY = ec.derive_private_key(20018183, ec.SECP256K1())
SEC1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
LOCKED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
EDWARDS = (
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
OTHER_CURVE = (
    ec.derive_private_key(7, ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)

# openssl ecparam -name secp256k1 -genkey -param_enc explicit
EXPLICIT = """-----BEGIN EC PRIVATE KEY-----
MIIBUQIBAQQgpzwcLCdv8qpNCWbM5t1uiFX+tG2FbmuivBUsvospL1yggeMwgeAC
AQEwLAYHKoZIzj0BAQIhAP////////////////////////////////////7///wv
MEQEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABCAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAABwRBBHm+Zn753LusVaBilc6HCwcCm/zbLc4o
2VnygVsW+BeYSDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj/sQ1LgCIQD/////
///////////////+uq7c5q9IoDu/0l6M0DZBQQIBAaFEA0IABJOazy+SvxtlpvMh
YSTbhkx8XUooEjgtdJwf+mLiURi0SKLlSc4T0L0VgMkRrGMh7WzrUh5Cz0iVXwef
We77DKk=
-----END EC PRIVATE KEY-----
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An empty working directory, and an environment with the two required settings and no other."""
    monkeypatch.chdir(tmp_path)
    ours = {name.upper() for name in Settings.model_fields}
    for name in [name for name in os.environ if name.upper() in ours]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STARKBANK_PROJECT_ID", "5656565656565656")
    monkeypatch.setenv("STARKBANK_PRIVATE_KEY", SEC1)
    return monkeypatch


def assert_refused() -> str:
    """The settings of this moment are refused in one line, which is returned."""
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return text


def test_the_defaults_are_those_of_the_challenge() -> None:
    """Eight slots of 8 to 12 invoices, forwarded to Stark Bank S.A., in the sandbox, on SQLite."""
    settings = load_settings()
    assert settings.slots == 8
    assert (settings.invoices_per_batch_min, settings.invoices_per_batch_max) == (8, 12)
    assert settings.starkbank_environment == "sandbox"
    assert settings.database_url.get_secret_value() == "sqlite:///data/repasse.db"
    assert settings.operator_token is None
    assert settings.destination == Destination(
        bank_code="20018183",
        branch_code="0001",
        account_number="6341320293482496",
        account_type="payment",
        name="Stark Bank S.A.",
        tax_id="20.018.183/0001-80",
    )
    policy = settings.forwarding_policy
    assert policy == ForwardingPolicy(settings.destination, False, 60, 5, 3600, 6, settings.tax_id_search_key)


def test_forwarding_can_be_limited_to_our_own_invoices(environment: pytest.MonkeyPatch) -> None:
    """FORWARD_CREDITS=issued leaves other money of the account where it is."""
    environment.setenv("FORWARD_CREDITS", "issued")
    assert load_settings().forwarding_policy.only_issued


WRONG = [
    ("STARKBANK_ENVIRONMENT", "staging", "none of its choices"),
    ("STARKBANK_PROJECT_ID", "", "is missing"),
    ("STARKBANK_PROJECT_ID", "project/5656565656565656", "right shape"),
    ("STARKBANK_PRIVATE_KEY", "", "is missing"),
    ("STARKBANK_PRIVATE_KEY", "MHQCAQEEIA", "no whole PEM"),
    ("STARKBANK_PRIVATE_KEY", SEC1.splitlines()[0], "no whole PEM"),
    ("STARKBANK_PRIVATE_KEY", SEC1.replace("M", "*"), "damaged"),
    ("STARKBANK_PRIVATE_KEY", SEC1.replace("M", "A"), "damaged"),
    ("STARKBANK_PRIVATE_KEY", LOCKED, "password"),
    ("STARKBANK_PRIVATE_KEY", PUBLIC, "public key"),
    ("STARKBANK_PRIVATE_KEY", EDWARDS, "not EC secp256k1"),
    ("STARKBANK_PRIVATE_KEY", OTHER_CURVE, "not EC secp256k1"),
    ("STARKBANK_PRIVATE_KEY", EXPLICIT, "-param_enc named_curve"),
    ("STARKBANK_API_URL", "localhost:8900", "is not an http://"),
    ("STARKBANK_API_URL", "ftp://localhost", "is not an http://"),
    ("STARKBANK_API_URL", "http://127.0.0.1:99999", "well-formed"),
    ("STARKBANK_API_URL", "http://127.0.0.1:8900/v2", "more than"),
    ("DATABASE_URL", "mysql://root:hunter2hunter2@db/repasse", "neither"),
    ("DATABASE_URL", "postgresql://root:hunter2hunter2@db/repasse", "neither"),
    ("DATABASE_URL", "postgresql+psycopg://root:hunter2hunter2@db:port/repasse", "well-formed"),
    ("DATABASE_URL", "sqlite://", "names no file"),
    ("DATABASE_URL", "sqlite:///:memory:", "names no file"),
    ("HOST", "http://localhost", "right shape"),
    ("PORT", "http", "not a whole number"),
    ("PORT", "80.5", "not a whole number"),
    ("PORT", "8.000", "digits alone"),
    ("PORT", "0", "too small"),
    ("PORT", "65536", "too large"),
    ("WEB_WORKERS", "0", "too small"),
    ("INVOICE_INTERVAL_SECONDS", "0", "too small"),
    ("INVOICE_INTERVAL_SECONDS", "-1", "too small"),
    ("INVOICE_INTERVAL_SECONDS", "3h", "not a number"),
    ("INVOICE_INTERVAL_SECONDS", "nan", "not a finite number"),
    ("INVOICE_WINDOW_SECONDS", "inf", "not a finite number"),
    ("INVOICE_WINDOW_SECONDS", "1e300", "too large"),
    ("INVOICE_WINDOW_SECONDS", "86401", "not a multiple"),
    ("INVOICE_WINDOW_SECONDS", "60", "not a multiple"),
    ("INVOICE_WINDOW_SECONDS", "21600000", "more than 1440"),
    ("INVOICES_PER_BATCH_MIN", "0", "too small"),
    ("INVOICES_PER_BATCH_MIN", "13", "more than INVOICES_PER_BATCH_MAX"),
    ("INVOICES_PER_BATCH_MAX", "101", "too large"),
    ("INVOICE_AMOUNT_MIN_CENTAVOS", "0", "too small"),
    ("INVOICE_AMOUNT_MIN_CENTAVOS", "50001", "more than INVOICE_AMOUNT_MAX_CENTAVOS"),
    ("INVOICE_AMOUNT_MAX_CENTAVOS", "10,00", "not a whole number"),
    ("LATE_SLOTS", "later", "none of its choices"),
    ("FORWARD_CREDITS", "none", "none of its choices"),
    ("DESTINATION_BANK_CODE", "2001818", "right shape"),
    ("DESTINATION_BRANCH_CODE", "one", "right shape"),
    ("DESTINATION_ACCOUNT_NUMBER", "6341 3202", "right shape"),
    ("DESTINATION_NAME", "S" * 101, "right shape"),
    ("DESTINATION_TAX_ID", "20.018.183/0001", "right shape"),
    ("DESTINATION_TAX_ID", "20.018.183/0001-81", "wrong check digits"),
    ("DESTINATION_TAX_ID", "12.ABC.345/01DE-36", "wrong check digits"),
    ("DESTINATION_TAX_ID", "111.111.111-11", "wrong check digits"),
    ("DESTINATION_ACCOUNT_TYPE", "investment", "none of its choices"),
    ("TRANSFER_LEASE_SECONDS", "0", "too small"),
    ("RETRY_BASE_SECONDS", "3601", "more than RETRY_MAX_SECONDS"),
    ("RETRY_MAX_SECONDS", "-5", "too small"),
    ("REISSUE_MAX", "-1", "too small"),
    ("BANK_TIMEOUT_SECONDS", "60", "not smaller than half of TRANSFER_LEASE_SECONDS"),
    ("RECONCILE_INTERVAL_SECONDS", "0", "too small"),
    ("OPERATOR_TOKEN", "", "is empty"),
    ("OPERATOR_TOKEN", "hunter2hunter2!", "shorter than 16"),
    ("OPERATOR_TOKEN", "hunter2hunter2 hunter2", "HTTP header"),
    ("OPERATORS", "Ana:hunter2hunter2!!", "a role in entry 1 that is neither operator nor reader"),
    ("OPERATORS", "Ana:reader:hunter2hunter2!", "a token in entry 1 that is shorter than 16"),
    ("SESSION_IDLE_SECONDS", "59", "too small"),
    ("TAX_ID_KEY", "hook-secret", "16 or more"),
    ("ALERT_URLS", "alerts.example.com/hook-secret", "Apprise cannot read"),
    ("ALERT_URLS", "https://alerts.example.com/hook-secret", "Apprise cannot read"),
    ("ALERT_URLS", "json://alerts.example.com/hook-secret smoke-signal://hill", "Apprise cannot read"),
    ("ALERT_URLS", "hook-secret json://alerts.example.com/", "Apprise cannot read"),
    ("METRICS_PORT", "70000", "too large"),
    ("DRAIN_SECONDS", "-1", "too small"),
    ("LOG_LEVEL", "loud", "none of its choices"),
    ("OPERATOR_LANGUAGE", "fr", "put pt-BR or en"),
    ("TIME_ZONE", "Mars/Olympus", "is no time zone that this machine knows"),
    ("TIME_ZONE", "../etc/passwd", "is no time zone that this machine knows"),
    ("LOG_FORMAT", "xml", "none of its choices"),
]


@pytest.mark.parametrize(("name", "value", "wrong"), WRONG)
def test_a_wrong_value_gets_one_line_that_names_its_variable(
    environment: pytest.MonkeyPatch, name: str, value: str, wrong: str
) -> None:
    """The line says which variable, what is wrong and what to put; it never repeats the value."""
    environment.setenv(name, value)
    text = assert_refused()
    assert text.startswith(f"{name} ")
    assert wrong in text
    assert ": put " in text
    assert len(value) < 10 or value not in text
    assert "hunter2" not in text
    assert "MHQ" not in text


def names_of(kind: str) -> list[str]:
    """The settings that take values of a JSON type."""
    properties = Settings.model_json_schema()["properties"]
    return [
        name.upper()
        for name, schema in properties.items()
        if kind in {each.get("type") for each in [schema, *schema.get("anyOf", ())]}
    ]


@pytest.mark.parametrize("name", names_of("integer"))
def test_a_whole_number_is_digits_alone(environment: pytest.MonkeyPatch, name: str) -> None:
    """A Brazilian writes 1.000 for a thousand, and it must not become 1."""
    for value in ("1.000", "1_000", "+10", "1e1", "10.0", "\u0661\u0660", "0x10", "1 0"):
        environment.setenv(name, value)
        said = f"{name} is not a whole number, written as digits alone, such as 1000: put "
        assert assert_refused().startswith(said), value


@pytest.mark.parametrize("name", names_of("number"))
def test_seconds_are_never_read_as_a_thousandth_of_what_was_meant(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    """To a Brazilian 10.800 is three hours."""
    for value in ("10.800", "1.000", "86.400", "1.296.000"):
        environment.setenv(name, value)
        assert assert_refused().startswith(f"{name} may mean a thousand times as much, and has no point")


def test_seconds_may_have_a_fraction(environment: pytest.MonkeyPatch) -> None:
    """One that no one takes for a thousand: less than three digits, more, or a zero in front."""
    for value in ("2.5", "12.25", "0.125", "1.0625"):
        environment.setenv("RETRY_BASE_SECONDS", value)
        assert load_settings().retry_base_seconds == float(value)


@pytest.mark.parametrize("name", sorted({*names_of("string"), *names_of("integer"), *names_of("number")}))
def test_a_comment_or_quotes_in_a_value_are_refused(environment: pytest.MonkeyPatch, name: str) -> None:
    """systemd's EnvironmentFile and docker's --env-file hand them over as a part of the value."""
    if name == "STARKBANK_PRIVATE_KEY":
        return  # is taken with quotes, see below
    for value, wrong in (
        ("1    # openssl rand -hex 24", "a # comment"),
        ("# openssl rand -hex 24", "a # comment"),
        ('"sandbox"', "quotation marks"),
        ("'sandbox'", "quotation marks"),
    ):
        environment.setenv(name, value)
        assert assert_refused().startswith(f"{name} holds {wrong}")
        assert "openssl" not in assert_refused()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///data/#1/50%/it's.db"),
        ("DESTINATION_NAME", 'Bar "Zé" Ltda.'),
        ("DESTINATION_TAX_ID", "12.ABC.345/01DE-35"),
        ("DESTINATION_TAX_ID", "529.982.247-25"),
        ("ALERT_URLS", "json://alerts.example.com/#general"),
    ],
)
def test_what_only_looks_like_a_slip_is_taken(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Signs inside a value, and a CNPJ with letters, as issued since July 2026."""
    environment.setenv(name, value)
    found = getattr(load_settings(), name.lower())
    assert (found if isinstance(found, str) else found.get_secret_value()) == value


def test_every_setting_has_a_wrong_value_above() -> None:
    """A new setting comes with the line that its wrong value gets."""
    tried = {name for name, _, _ in WRONG} | {"STARKBANK_PRIVATE_KEY_PATH"}
    assert tried == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize(
    "urls",
    [
        "json://operator:hunter2@alerts.example.com/hook",
        " mailtos://operator:hunter2@gmail.com\njsons://alerts.example.com/a?x=1, json://b,tgram://123456789:hunter2_hunter2/1/",
    ],
)
def test_alert_urls_are_those_of_apprise(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], urls: str
) -> None:
    """One or several, separated by spaces or commas; none of them is printed."""
    environment.setenv("ALERT_URLS", urls)
    settings = load_settings()
    assert settings.alert_urls is not None
    assert settings.alert_urls.get_secret_value() == urls
    assert "hunter2" not in repr(settings)
    assert capsys.readouterr() == ("", "")


def test_wrong_alert_urls_are_not_printed_by_apprise_either(
    environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It logs each URL that it cannot read, and nothing has set up the logs yet when settings are read."""
    environment.setenv("ALERT_URLS", "smoke-signal://hunter2")
    assert_refused()
    assert capfd.readouterr() == ("", "")


def test_settings_of_before_are_named_with_what_replaced_them(environment: pytest.MonkeyPatch) -> None:
    """An operator who still has them believes that alerts are sent."""
    environment.setenv("ALERT_WEBHOOK_URL", "https://alerts.example.com")
    environment.setenv("ALERT_WEBHOOK_SECRET", "hunter2")
    assert misspelt_settings() == {
        "ALERT_WEBHOOK_URL": "ALERT_URLS",
        "ALERT_WEBHOOK_SECRET": "ALERT_URLS",
    }


def test_a_persons_token_is_not_the_shared_one(environment: pytest.MonkeyPatch) -> None:
    """It would not say who; and people's tokens open everything without a shared one."""
    environment.setenv("OPERATORS", "Ana:operator:hunter2hunter2hunter2")
    environment.setenv("METRICS_PORT", "9101")
    settings = load_settings()
    assert settings.accounts == (Account("Ana", True, "hunter2hunter2hunter2"),)
    assert "hunter2" not in repr((settings, settings.accounts))
    environment.setenv("OPERATOR_TOKEN", "hunter2hunter2hunter2")
    text = assert_refused()
    assert text.startswith("OPERATORS has the token of OPERATOR_TOKEN")
    assert "hunter2" not in text


def test_the_workers_metrics_need_the_token(environment: pytest.MonkeyPatch) -> None:
    """They tell of money, on a port of their own."""
    environment.setenv("METRICS_PORT", "9101")
    assert assert_refused().startswith("OPERATOR_TOKEN is missing, and METRICS_PORT is set: put ")


def test_names_that_are_nearly_ours_are_noticed(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A misspelt setting is ignored, while its author believes that it holds."""
    environment.setenv("TRANSFER_LEASE_SECOND", "90")
    environment.setenv("DATABASE_URI", "sqlite:///other.db")
    for name in ("DATABASE_NAME", "HOSTNAME", "SPORT", "PATH", "STARKBANK_SDK_HOME", "OTHER_TOKEN"):
        environment.setenv(name, "another program's")
    (tmp_path / ".env").write_text("INVOICES_PER_BATCHMAX=3\nPORT=8000\nlog_level=info\nSOMETHING=else\n")
    assert misspelt_settings() == {
        "TRANSFER_LEASE_SECOND": "TRANSFER_LEASE_SECONDS",
        "DATABASE_URI": "DATABASE_URL",
        "INVOICES_PER_BATCHMAX": "INVOICES_PER_BATCH_MAX",
    }


def test_without_an_env_file_only_the_environment_is_looked_at(environment: pytest.MonkeyPatch) -> None:
    """And an ordinary environment has nothing that resembles our settings."""
    assert misspelt_settings() == {}


def test_the_other_wrong_variables_are_named_too(environment: pytest.MonkeyPatch) -> None:
    """Three mistakes do not take three starts to find."""
    environment.setenv("PORT", "http")
    environment.setenv("LOG_LEVEL", "loud")
    environment.setenv("REISSUE_MAX", "many")
    text = assert_refused()
    assert text.startswith("PORT ")
    assert text.endswith("(also wrong: LOG_LEVEL, REISSUE_MAX)")


def test_an_emulator_is_refused_in_production(environment: pytest.MonkeyPatch) -> None:
    """Production's requests must never go to a bank of paper."""
    environment.setenv("STARKBANK_API_URL", "http://127.0.0.1:8900")
    environment.setenv("STARKBANK_ENVIRONMENT", "production")
    assert assert_refused().startswith("STARKBANK_API_URL is set, and production")


def test_an_emulator_url_loses_its_last_slash(environment: pytest.MonkeyPatch) -> None:
    """Paths are appended to it."""
    environment.setenv("STARKBANK_API_URL", "http://127.0.0.1:8900/")
    assert load_settings().starkbank_api_url == "http://127.0.0.1:8900"


@pytest.mark.parametrize(
    "text",
    [
        SEC1,
        PKCS8,
        SEC1.replace("\n", "\\n"),
        '"' + SEC1.replace("\n", "\\n") + '"',
        "'" + SEC1 + "'",
        SEC1.replace("\n", "\r\n"),
        "-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n-----END EC PARAMETERS-----\n" + SEC1,
    ],
    ids=["sec1", "pkcs8", "escaped", "quoted and escaped", "quoted", "windows", "with parameters"],
)
def test_a_key_is_taken_in_every_usual_form(environment: pytest.MonkeyPatch, text: str) -> None:
    """In each case the SDK gets SEC1, the only one that it reads."""
    environment.setenv("STARKBANK_PRIVATE_KEY", text)
    assert load_settings().private_key_pem == SEC1
    assert PrivateKey.fromPem(load_settings().private_key_pem).secret == 20018183


def test_a_short_key_made_by_the_sdk_is_taken(environment: pytest.MonkeyPatch) -> None:
    """The SDK writes one key in 256 without its leading zero; cryptography alone refuses those."""
    short = PrivateKey(secret=2**240 - 1)
    with pytest.raises(ValueError, match="too short"):
        load_pem_private_key(short.toPem().encode(), None)
    environment.setenv("STARKBANK_PRIVATE_KEY", short.toPem())
    assert PrivateKey.fromPem(load_settings().private_key_pem).secret == short.secret


def test_a_key_is_read_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """STARKBANK_PRIVATE_KEY_PATH alone is enough."""
    (tmp_path / "key.pem").write_text(SEC1)
    environment.delenv("STARKBANK_PRIVATE_KEY")
    environment.setenv("STARKBANK_PRIVATE_KEY_PATH", "key.pem")
    assert load_settings().private_key_pem == SEC1


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("absent.pem", "No such file"),
        (".", "Is a directory"),
        ("binary.pem", "not text"),
        ("words.pem", "no whole PEM"),
        (SEC1, "a key and not a path"),
    ],
    ids=["absent", "directory", "binary", "words", "a key"],
)
def test_a_wrong_key_file_names_its_variable(
    environment: pytest.MonkeyPatch, tmp_path: Path, path: str, wrong: str
) -> None:
    """The line names STARKBANK_PRIVATE_KEY_PATH, not the file: it may hold a pasted key."""
    (tmp_path / "binary.pem").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "words.pem").write_text("my key")
    environment.delenv("STARKBANK_PRIVATE_KEY")
    environment.setenv("STARKBANK_PRIVATE_KEY_PATH", path)
    text = assert_refused()
    assert text.startswith("STARKBANK_PRIVATE_KEY_PATH ")
    assert wrong in text
    assert "MHQ" not in text


def test_two_keys_are_refused(environment: pytest.MonkeyPatch) -> None:
    """Which one is meant cannot be known."""
    environment.setenv("STARKBANK_PRIVATE_KEY_PATH", "key.pem")
    assert assert_refused().startswith("STARKBANK_PRIVATE_KEY and STARKBANK_PRIVATE_KEY_PATH are both set")


def test_a_key_in_the_environment_wins_over_a_path_in_the_file(tmp_path: Path) -> None:
    """The environment wins also where the file names the same thing in the other way."""
    (tmp_path / ".env").write_text("STARKBANK_PRIVATE_KEY_PATH=absent.pem\n")
    assert load_settings().private_key_pem == SEC1


def test_the_env_file_is_read_and_the_environment_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A value in both places is the environment's; an unknown name in the file is ignored."""
    key = SEC1.replace("\n", "\\n")
    (tmp_path / ".env").write_text(f'STARKBANK_PRIVATE_KEY="{key}"\nPORT=9000\nHOST=0.0.0.0\nEDITOR=ed\n')
    environment.delenv("STARKBANK_PRIVATE_KEY")
    environment.setenv("PORT", "9001")
    settings = load_settings()
    assert (settings.host, settings.port) == ("0.0.0.0", 9001)
    assert settings.private_key_pem == SEC1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # An unquoted value of several lines would otherwise lose all but its first.
        (b"PORT=9000\n= oops\n", ".env cannot be read at line 2: "),
        (b"PORT=9000 \xff\n", ".env is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_an_env_file_that_cannot_be_read_gets_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    """It is not passed over, and there is no traceback from it."""
    (tmp_path / ".env").write_bytes(content)
    assert assert_refused().startswith(said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_env_file_without_rights_gets_one_line(tmp_path: Path) -> None:
    """It says why, and what to do."""
    (tmp_path / ".env").write_text("PORT=9000\n")
    (tmp_path / ".env").chmod(0)
    assert assert_refused().startswith(".env cannot be read (Permission denied)")


def test_single_quotes_keep_a_value_as_it_is(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``${X}`` is a variable in double quotes and without any, as in a shell."""
    environment.setenv("X", "expanded")
    lines = ("DESTINATION_NAME='${X}'", 'DATABASE_URL="sqlite:///${X}.db"', "HOST=${X}")
    (tmp_path / ".env").write_text("\n".join(lines))
    settings = load_settings()
    assert settings.destination_name == "${X}"
    assert settings.database_url.get_secret_value() == "sqlite:///expanded.db"
    assert settings.host == "expanded"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """It gives its text to the first who reads; a process reads its settings several times."""
    os.mkfifo(tmp_path / ".env")
    writer = threading.Thread(target=(tmp_path / ".env").write_text, args=("PORT=9000\n",))
    writer.start()
    assert load_settings().port == 9000
    writer.join()
    assert misspelt_settings() == {}
    assert load_settings().port == 9000


def test_an_empty_value_means_the_default(environment: pytest.MonkeyPatch) -> None:
    """Containers pass NAME= for "not set"; an empty token is more likely a secret that did not arrive."""
    defaults = load_settings()
    required = {"STARKBANK_PROJECT_ID", "STARKBANK_PRIVATE_KEY"}
    for name in {name for name, _, _ in WRONG} - required - {"OPERATOR_TOKEN"}:
        environment.setenv(name, " ")
    assert load_settings() == defaults
    for name in required:
        with environment.context() as apart:
            apart.setenv(name, " ")
            assert assert_refused().startswith(f"{name} is missing")


def test_choices_are_read_in_any_case(environment: pytest.MonkeyPatch) -> None:
    """INFO and info are one level."""
    environment.setenv("LOG_LEVEL", "DEBUG")
    assert load_settings().log_level == "debug"


@pytest.mark.parametrize(
    ("interval", "window", "slots"), [("0.1", "0.3", 3), ("7.5", "60", 8), ("5", "5", 1)]
)
def test_seconds_may_be_fractions(
    environment: pytest.MonkeyPatch, interval: str, window: str, slots: int
) -> None:
    """A demo's day lasts a minute; binary fractions do not make it uneven."""
    environment.setenv("INVOICE_INTERVAL_SECONDS", interval)
    environment.setenv("INVOICE_WINDOW_SECONDS", window)
    assert load_settings().slots == slots


def test_a_command_without_the_bank_needs_no_key(environment: pytest.MonkeyPatch) -> None:
    """The statement is read from our own books."""
    environment.delenv("STARKBANK_PROJECT_ID")
    environment.delenv("STARKBANK_PRIVATE_KEY")
    settings = load_settings(needs_bank=False)
    assert settings.slots == 8
    with pytest.raises(SettingsError, match="STARKBANK_PRIVATE_KEY is missing"):
        _ = settings.private_key_pem


def test_no_secret_is_in_the_representation(environment: pytest.MonkeyPatch) -> None:
    """Neither the key, nor the token, nor a database password shows when settings are printed."""
    environment.setenv("OPERATOR_TOKEN", "correct-horse-battery")
    environment.setenv("DATABASE_URL", "postgresql+psycopg://repasse:hunter2@db/repasse")
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert not any(secret in text for secret in ("MHQ", "PRIVATE KEY-", "correct-horse", "hunter2"))


def test_the_example_names_exactly_the_settings_and_their_defaults(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """.env.example is complete, and a copy of it changes nothing but what is edited."""
    example = (ROOT / ".env.example").read_text()
    named = [line.removeprefix("# ").partition("=")[0] for line in example.splitlines() if "=" in line]
    assert named == [name.upper() for name in Settings.model_fields]

    settings = load_settings()
    for name in dotenv_values(ROOT / ".env.example"):
        environment.delenv(name, raising=False)
    (tmp_path / ".env").write_text(example)
    copied = load_settings(needs_bank=False)
    ours = {"starkbank_project_id", "starkbank_private_key", "starkbank_private_key_path"}
    assert copied.model_dump(exclude=ours) == settings.model_dump(exclude=ours)
