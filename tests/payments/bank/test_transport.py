"""Every way in which a call can end, over real sockets, and the verdict on each."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import starkbank
import starkcore.utils.rest as rest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from payments.bank import connection
from payments.bank.transport import OddAnswer, Transport
from payments.errors import NotSent, Refusal, Rejected, SettingsError, Throttled, Unclear
from tests.payments.bank.scripted_server import (
    Act,
    ScriptedServer,
    drip,
    flood,
    hang,
    raw,
    reply,
    reset,
    reset_unread,
)
from tests.running import free_port, wait_until

# For the tests that wait for it: their peers never finish, so that the call would last until the test is killed. The
# others are patient, so that a busy machine is no failure.
SHORT_SECONDS = 0.3
OVERDUE = r"not done within 0\.3 s"
PATIENT_SECONDS = 30.0

OK_START = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
ERRORS = {"errors": [{"code": "invalidAmount", "message": "Amount must be positive"}]}

Ask = Callable[[], bytes]


class Asker:
    """A transport to the scripted server, with one call that may be repeated and one that must not."""

    def __init__(self, url: str, pem: str, timeout_seconds: float = PATIENT_SECONDS) -> None:
        self.seen: list[tuple[str, str, str, float]] = []
        self.transport = Transport(timeout_seconds, url, on_call=lambda *call: self.seen.append(call))
        self._project = starkbank.Project(id="5656565656565656", private_key=pem, environment="sandbox")
        key = self._project.private_key()
        self._project.private_key = lambda: key

    def get(self) -> bytes:
        """GET /v2/event, the raw way."""
        return self.transport.call(
            lambda: _json(starkbank.request.get(path="event", query={"limit": 1}, user=self._project))
        )

    def post(self, body: object = None) -> bytes:
        """POST /v2/transfer, the raw way."""
        return self.transport.call(
            lambda: _json(starkbank.request.post(path="transfer", body=body or {"a": 1}, user=self._project))
        )


def _json(answer: Any) -> bytes:
    answer.json()
    return bytes(answer.content)


@pytest.fixture
def asker(server: ScriptedServer, private_key_pem: str) -> Iterator[Asker]:
    """An asker of the scripted server."""
    asker = Asker(server.url, private_key_pem)
    yield asker
    asker.transport.close()


def connect_and_hurry(server: ScriptedServer, asker: Asker) -> None:
    """Open a connection in peace; the calls that use it have a short deadline."""
    server.script = [reply({})]
    asker.post()
    asker.transport.timeout_seconds = SHORT_SECONDS


# --- accepted ---


def test_a_200_is_accepted_and_its_bytes_are_handed_over(server: ScriptedServer, asker: Asker) -> None:
    """The answer comes back byte for byte, and the observer sees method, resource, verdict and time."""
    server.script = [reply(b'{"events": [ ] }')]
    assert asker.get() == b'{"events": [ ] }'
    [(method, resource, verdict, seconds)] = asker.seen
    assert (method, resource, verdict) == ("GET", "event", "accepted")
    assert 0 < seconds < PATIENT_SECONDS


def test_the_path_and_query_survive_the_change_of_host(server: ScriptedServer, asker: Asker) -> None:
    """Only scheme, host and port are replaced."""
    server.script = [reply({})]
    asker.get()
    assert server.arrived[0].target == "/v2/event?limit=1"
    assert server.arrived[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_calls_share_one_connection(server: ScriptedServer, asker: Asker) -> None:
    """Three calls, one TCP connection."""
    server.script = [reply({}), reply({}), reply({})]
    asker.get()
    asker.post()
    asker.get()
    assert [request.connection for request in server.arrived] == [1, 1, 1]


def test_many_threads_share_a_transport_without_mixing_answers(server: ScriptedServer, asker: Asker) -> None:
    """Each thread gets the verdict of its own call."""
    server.script = [reply(ERRORS, status=400), reply({})] * 20

    def ask(_: int) -> str:
        try:
            asker.get()
        except Rejected:
            return "rejected"
        return "accepted"

    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(ask, range(40)))
    assert outcomes == ["accepted"] * 20 + ["rejected"] * 20
    assert sorted(verdict for _, _, verdict, _ in asker.seen) == outcomes


def test_an_id_is_no_part_of_the_resource(server: ScriptedServer, asker: Asker) -> None:
    """Metrics must not get one series per event."""
    server.script = [reply({})]
    project = asker._project
    asker.transport.call(lambda: starkbank.request.get(path="event/5415223380934656", user=project))
    assert asker.seen[0][:2] == ("GET", "event")


# --- never sent ---


def test_a_refused_connection_means_that_nothing_was_sent(private_key_pem: str) -> None:
    """The message names method, path and reason."""
    asker = Asker(f"http://127.0.0.1:{free_port()}", private_key_pem)
    with pytest.raises(NotSent, match=r"POST /v2/transfer was not sent \(ConnectionRefusedError"):
        asker.post()
    assert asker.seen[0][2] == "not_sent"


STOCK_RESOLVER = socket.getaddrinfo


@pytest.fixture
def resolve_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Have names looked up by a function of a test's; numeric addresses are read as ever."""

    def install(look_up: Callable[..., Any]) -> None:
        def resolve(host: str, port: int, **options: Any) -> Any:
            return STOCK_RESOLVER(host, port, **options) if options.get("flags") else look_up(**options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return install


def test_an_unknown_host_means_that_nothing_was_sent(
    private_key_pem: str, resolve_by: Callable[[Callable[..., Any]], None]
) -> None:
    """The resolver answers that there is no such name."""

    def look_up(**_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve_by(look_up)
    with pytest.raises(NotSent, match="Name or service not known"):
        Asker("http://bank.invalid", private_key_pem).post()


def test_a_resolver_that_hangs_is_left_at_the_deadline(
    private_key_pem: str, resolve_by: Callable[[Callable[..., Any]], None]
) -> None:
    """The C library's resolver knows no deadline, so we keep it for it."""
    over = threading.Event()

    def look_up(**_: Any) -> Any:
        over.wait(10)
        return []

    resolve_by(look_up)
    with pytest.raises(NotSent, match=OVERDUE):
        Asker("http://bank.invalid", private_key_pem, SHORT_SECONDS).post()
    over.set()


def test_a_host_that_does_not_take_connections_is_left_at_the_deadline(private_key_pem: str) -> None:
    """A full backlog drops the SYN: a connect timeout, and nothing was sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(NotSent, match=OVERDUE):
            Asker(f"http://127.0.0.1:{port}", private_key_pem, SHORT_SECONDS).post()
        for filler in fillers:
            filler.close()


def test_the_second_address_of_a_host_is_tried(
    server: ScriptedServer, private_key_pem: str, resolve_by: Callable[[Callable[..., Any]], None]
) -> None:
    """A host with one dead address is reachable."""
    ports = (free_port(), server.port)
    resolve_by(
        lambda **options: [found for port in ports for found in STOCK_RESOLVER("127.0.0.1", port, **options)]
    )
    server.script = [reply({})]
    asker = Asker(f"http://bank.invalid:{server.port}", private_key_pem)
    assert asker.post() == b"{}"
    asker.transport.close()


# --- unclear ---

UNCLEAR: dict[str, tuple[Act, str]] = {
    "reset after the request": (reset, "no whole answer came back .*(reset|closed before an answer)"),
    "closed without an answer": (raw(b""), "closed before an answer came"),
    "cut in the head": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed before an answer came"),
    "cut in the body": (raw(OK_START + b'{"transfers": ['), "no whole answer came back .*ProtocolError"),
    "not HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no whole answer came back .*ProtocolError"),
    "compressed unasked": (reply(b"nonsense", headers={"Content-Encoding": "gzip"}), "could not be read"),
    "201": (reply({}, status=201), "status 201"),
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "status 204"),
    "302": (reply({}, status=302, headers={"Location": "http://127.0.0.1:1/"}), "status 302"),
    "307": (reply({}, status=307, headers={"Location": "/v2/elsewhere"}), "status 307"),
    "400 without errors": (reply({"message": "no"}, status=400), "status 400 without readable errors"),
    "400 with no error": (reply({"errors": []}, status=400), "status 400 without readable errors"),
    "400 with odd errors": (reply({"errors": [{"code": 7}]}, status=400), "status 400 without"),
    "400 not JSON": (reply(b"<html>", status=400), "status 400 without readable errors"),
    "401": (reply(ERRORS, status=401), "status 401"),
    "403": (reply(b"", status=403), "status 403"),
    "404": (reply(b"", status=404), "status 404"),
    "500": (reply({"errors": [{"code": "internalServerError", "message": "x"}]}, status=500), "status 500"),
    "502": (reply(b"<html>", status=502), "status 502"),
    "503": (reply(b"", status=503), "status 503"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_anything_but_a_whole_200_400_or_429_is_unclear(
    server: ScriptedServer, asker: Asker, case: str
) -> None:
    """The message names method and path, and the request is never repeated."""
    act, message = UNCLEAR[case]
    server.script = [act]
    with pytest.raises(Unclear, match=rf"^POST /v2/transfer: .*({message})"):
        asker.post()
    assert len(server.arrived) == 1
    assert asker.seen[0][:3] == ("POST", "transfer", "unclear")


DRIPS: dict[str, Act] = {
    "silence": hang,
    "a dripping status line": drip(b"HTTP/1.1 2"),
    "dripping headers": drip(b"HTTP/1.1 200 OK\r\n", each=b"X-A: b\r\n"),
    "a dripping body": drip(OK_START),
    "dripping chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", each=b"1\r\nx\r\n"),
    "100 Continue forever": drip(b"HTTP/1.1 100 Continue\r\n\r\n", each=b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("case", DRIPS)
def test_no_peer_holds_a_call_longer_than_its_deadline(
    server: ScriptedServer, asker: Asker, case: str
) -> None:
    """The stock timeout is per read: a byte now and then would hold it forever."""
    connect_and_hurry(server, asker)
    server.script = [DRIPS[case]]
    with pytest.raises(Unclear, match=OVERDUE):
        asker.post()


def test_a_peer_that_does_not_read_cannot_hold_a_large_request(server: ScriptedServer, asker: Asker) -> None:
    """The writing of a request is within the deadline too, and it was begun."""
    server.narrow()
    connect_and_hurry(server, asker)
    server.at_request = hang
    with pytest.raises(Unclear, match=OVERDUE):
        asker.post({"a": "x" * 4_000_000})


def test_a_reset_before_the_request_was_read_is_unclear(server: ScriptedServer, asker: Asker) -> None:
    """We wrote it; whether it was read is not for us to know."""
    server.at_accept = [reset_unread]
    with pytest.raises(Unclear, match="POST /v2/transfer"):
        asker.post()


@pytest.mark.parametrize("head", [b"Content-Length: 999999999", b"Connection: close"])
def test_an_endless_answer_is_cut_off(
    server: ScriptedServer, asker: Asker, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    """What an answer may take of our memory is bounded."""
    monkeypatch.setattr(connection, "ANSWER_BYTES_MAX", 1_000_000)
    server.script = [flood(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", 50_000_000)]
    with pytest.raises(Unclear, match="larger than 1000000 bytes"):
        asker.get()


def test_whatever_reading_the_answer_raises_is_unclear(server: ScriptedServer, asker: Asker) -> None:
    """The SDK's own parsing raises KeyError, RuntimeError and others: the order may have been carried out."""
    server.script = [reply({"message": "?"}), reply(b"[1]")]

    def odd() -> None:
        starkbank.request.post(path="transfer", body={"a": 1}, user=asker._project)
        raise OddAnswer("credit-1 is missing")

    for ask, message in (
        (lambda: starkbank.balance.get(user=asker._project), "could not be read .KeyError: 'balances'"),
        (odd, "POST /v2/transfer: credit-1 is missing"),
    ):
        with pytest.raises(Unclear, match=message):
            asker.transport.call(ask)
    assert [verdict for _, _, verdict, _ in asker.seen] == ["unclear", "unclear"]


# --- rejected and throttled ---


def test_a_400_with_errors_is_rejected_with_the_banks_words(server: ScriptedServer, asker: Asker) -> None:
    """All of the reasons, in order; a bare string counts."""
    server.script = [reply({"errors": [*ERRORS["errors"], "Duplicated transfer"]}, status=400)]
    with pytest.raises(Rejected, match="invalidAmount: Amount must be positive") as caught:
        asker.post()
    assert caught.value.refusals == (
        Refusal("invalidAmount", "Amount must be positive"),
        Refusal("unnamed", "Duplicated transfer"),
    )
    assert caught.value.__notes__ == ["POST /v2/transfer"]
    assert asker.seen[0][2] == "rejected"


@pytest.mark.parametrize(
    "tax_id", ["012.345.678-90", "01234567890", "20.018.183/0001-80", "20018183000180", "12.ABC.345/01DE-35"]
)
def test_a_tax_id_in_the_banks_words_is_masked(server: ScriptedServer, asker: Asker, tax_id: str) -> None:
    """Neither in the message nor anywhere in what a log would print of it; an id of 16 digits stays."""
    message = f"Invalid taxId: {tax_id} of 5656565656565656"
    server.script = [reply({"errors": [{"code": "invalidTaxId", "message": message}]}, status=400)]
    with pytest.raises(Rejected) as caught:
        asker.post()
    assert str(caught.value) == "invalidTaxId: Invalid taxId: [tax id] of 5656565656565656"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


DATE = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "999999999"}, 86_400.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:02:05 GMT", "Date": DATE}, 125.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:02:05 GMT"}, None),
        ({"Retry-After": "soon", "Date": DATE}, None),
        ({"Retry-After": "-5", "Date": DATE}, None),
        ({"Retry-After": "1e9", "Date": DATE}, None),
    ],
)
def test_a_429_is_throttled_and_says_how_long(
    server: ScriptedServer, asker: Asker, headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds, or a date by the bank's own clock; a wish that cannot be read is none."""
    server.script = [reply(b"slow down", status=429, headers=headers)]
    with pytest.raises(Throttled) as caught:
        asker.get()
    assert caught.value.retry_after_seconds == seconds
    assert asker.seen[0][2] == "throttled"


# --- pooled connections that the other side has closed ---


def test_a_get_into_a_dead_pooled_connection_is_repeated_once(server: ScriptedServer, asker: Asker) -> None:
    """It is on a new connection, and the caller notices nothing."""
    server.script = [reply({"n": 1}), raw(b""), reply({"n": 2})]
    asker.get()
    assert asker.get() == b'{"n": 2}'
    assert [request.connection for request in server.arrived] == [1, 1, 2]


def test_a_get_is_not_repeated_twice(server: ScriptedServer, asker: Asker) -> None:
    """A second break is an outcome and not a coincidence."""
    server.script = [reply({}), raw(b""), raw(b""), reply({})]
    asker.get()
    with pytest.raises(Unclear, match="GET /v2/event"):
        asker.get()
    assert len(server.arrived) == 3


def test_a_get_into_a_fresh_connection_is_not_repeated(server: ScriptedServer, asker: Asker) -> None:
    """Only a stale connection explains a break harmlessly."""
    server.script = [raw(b""), reply({})]
    with pytest.raises(Unclear):
        asker.get()
    assert len(server.arrived) == 1


def test_a_post_into_a_dead_pooled_connection_is_unclear(server: ScriptedServer, asker: Asker) -> None:
    """It may have been carried out before the break; it is never repeated by us."""
    server.script = [reply({}), raw(b""), reply({})]
    asker.post()
    with pytest.raises(Unclear, match="POST /v2/transfer"):
        asker.post()
    assert len(server.arrived) == 2


def test_a_connection_that_was_closed_between_calls_is_replaced(server: ScriptedServer, asker: Asker) -> None:
    """The close has arrived before we write, so even a POST is safe."""
    server.script = [reply({}, then_close=True), reply({"n": 2})]
    asker.post()
    wait_until(lambda: server.closed == 1, "the other side has closed it")
    assert asker.post() == b'{"n": 2}'
    assert [request.connection for request in server.arrived] == [1, 2]


def test_a_connection_that_was_idle_for_long_is_given_up(
    server: ScriptedServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the other side closes it, so that a POST seldom meets a dead one."""
    server.script = [reply({}), reply({})]
    asker.post()
    monkeypatch.setattr(connection, "IDLE_SECONDS_MAX", 0.0)
    asker.post()
    assert [request.connection for request in server.arrived] == [1, 2]


def test_an_answer_that_was_left_half_read_spoils_no_later_call(server: ScriptedServer, asker: Asker) -> None:
    """The rest of a late answer must never be taken for the next one."""
    connect_and_hurry(server, asker)
    server.script = [drip(OK_START), reply({"n": 2})]
    with pytest.raises(Unclear, match=OVERDUE):
        asker.post()
    asker.transport.timeout_seconds = PATIENT_SECONDS
    assert asker.post() == b'{"n": 2}'
    assert [request.connection for request in server.arrived] == [1, 1, 2]


# --- the environment and the SDK ---


def test_a_proxy_in_the_environment_is_not_used(
    server: ScriptedServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is it asked, nor does it keep the call from the bank."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    server.script = [reply({})]
    assert asker.get() == b"{}"


def test_an_sdk_that_is_not_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another library has put a function in the place that we take."""
    monkeypatch.setattr(rest, "patch", lambda **request: None)
    with pytest.raises(SettingsError, match=r"starkcore\.utils\.rest\.patch is not requests\.patch"):
        Transport(1.0)


def test_a_call_that_passes_our_transport_by_is_not_believed(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If our place in the SDK is taken later, nothing that it says is accepted."""
    monkeypatch.setattr(rest, "get", lambda **request: None)
    with pytest.raises(Unclear, match="did not use our transport"):
        asker.transport.call(lambda: b"fine")


def test_another_user_of_the_sdk_gets_the_stock_function(
    server: ScriptedServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of our calls the five names do what they always did."""
    server.script = [reply({"stock": True})]
    answer = rest.get(url=f"{server.url}/v2/x", data="", headers={}, timeout=1)
    assert isinstance(answer, requests.Response)
    assert answer.json() == {"stock": True}
    answer.close()


def test_a_bug_before_the_request_is_no_verdict_on_the_bank(asker: Asker) -> None:
    """It goes through as it is, and nothing is counted as a call."""
    with pytest.raises(ZeroDivisionError):
        asker.transport.call(lambda: 1 // 0)
    assert asker.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8900",
        "ftp://127.0.0.1",
        "http://",
        "http://:8900",
        "http://host:notaport",
        "http://host:70000",
        "http://host:0",
        "http://host/v2",
        "http://host?x=1",
        "http://user:secret@host",
        "http://ho st",
        "http://host\r\nX: y",
        "http://[::1",
    ],
)
def test_a_malformed_base_url_is_refused_by_name(url: str) -> None:
    """The line names the variable and what to put, and shows nothing of the value."""
    with pytest.raises(SettingsError, match="STARKBANK_API_URL") as caught:
        Transport(1.0, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8900", "http://localhost:8900/", "https://[::1]:8900"])
def test_a_base_url_is_scheme_host_and_port(url: str) -> None:
    """A closing slash and IPv6 are fine."""
    Transport(1.0, url).close()


# --- TLS ---


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server whose certificate (for 127.0.0.1) is the only one that certifi names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted bank")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ScriptedServer(tls=context)
    monkeypatch.setattr("certifi.where", lambda: str(file))
    yield server
    server.close()


def test_a_call_over_tls_is_accepted_on_one_connection(
    tls_server: ScriptedServer, private_key_pem: str
) -> None:
    """The same pool, deadline and verdicts as without."""
    tls_server.script = [reply({"n": 1}), reply({"n": 2})]
    asker = Asker(tls_server.url, private_key_pem)
    assert (asker.get(), asker.post()) == (b'{"n": 1}', b'{"n": 2}')
    assert tls_server.accepted == 1
    asker.transport.close()


def test_a_certificate_that_no_one_vouches_for_means_that_nothing_was_sent(
    tls_server: ScriptedServer, private_key_pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A false bank gets no byte of the request."""
    monkeypatch.undo()
    with pytest.raises(NotSent, match=r"POST /v2/transfer was not sent .*certificate verify failed"):
        Asker(tls_server.url, private_key_pem).post()
    assert tls_server.arrived == []


def test_a_certificate_for_another_name_means_that_nothing_was_sent(
    tls_server: ScriptedServer, private_key_pem: str
) -> None:
    """The name is checked too."""
    with pytest.raises(NotSent, match="certificate"):
        Asker(tls_server.url.replace("127.0.0.1", "localhost"), private_key_pem).post()
    assert tls_server.arrived == []


HANDSHAKES: dict[str, tuple[Act, float, str]] = {
    "hang": (hang, SHORT_SECONDS, OVERDUE),
    "drip": (drip(b"\x16\x03\x03\x40\x00\x02"), SHORT_SECONDS, OVERDUE),
    "reset": (reset, PATIENT_SECONDS, "Connection|SSL|EOF"),
    "plain http": (raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), PATIENT_SECONDS, "SSL|WRONG_VERSION"),
}


@pytest.mark.parametrize("case", HANDSHAKES)
def test_a_failed_handshake_means_that_nothing_was_sent_and_keeps_the_deadline(
    tls_server: ScriptedServer, private_key_pem: str, case: str
) -> None:
    """urllib3 alone cannot tell a reset in the handshake from one after the request."""
    act, seconds, message = HANDSHAKES[case]
    tls_server.at_accept = [act]
    with pytest.raises(NotSent, match=message):
        Asker(tls_server.url, private_key_pem, seconds).post()


@pytest.mark.parametrize("act", [hang, drip(OK_START)], ids=["hang", "drip"])
def test_the_deadline_holds_over_tls(tls_server: ScriptedServer, private_key_pem: str, act: Act) -> None:
    """After the handshake, too."""
    asker = Asker(tls_server.url, private_key_pem)
    connect_and_hurry(tls_server, asker)
    tls_server.script = [act]
    with pytest.raises(Unclear, match=OVERDUE):
        asker.post()
