"""Authentication: no page without the token, no action from another site, security headers on every answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx2 import Headers
from pydantic import SecretStr
from starlette.requests import Request
from starlette.testclient import TestClient

from payments.authorization import Account, session_secret
from tests.webhooks.conftest import WebApp
from tests.webhooks.console.conftest import OURS, TOKEN, Console
from webhooks.console.auth import is_same_origin
from webhooks.console.cookies import SESSION_LENGTH, Session, SignedCookies

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
IDLE = timedelta(minutes=30)
SHARED = Account("", True, TOKEN)

PAGES = (
    *(
        "",
        "/transfers",
        "/credits",
        "/credits/1",
        "/inbox",
        "/inbox/1",
        "/batches",
        "/batches/1",
        "/attention",
    ),
    *("/acts", "/system", "/search?q=1", "/act/pause/forwarding", "/changes", "/nowhere", "/sign-in/x"),
)
POSTS = ("/act/pause/forwarding", "/act/retry/credit-1", "/act/reconcile/now", "/preferences", "/sign-out")


def test_without_a_token_set_there_is_no_console(start_app: Callable[..., WebApp]) -> None:
    """404 for all of it, whatever is sent along."""
    client = start_app().client
    for path in (*PAGES, "/sign-in", "/static/style.css"):
        answer = client.get(f"/console{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 404, path
    assert client.post("/console/act/pause/forwarding", headers=OURS).status_code == 404


def test_a_page_without_the_token_leads_to_the_sign_in(console: Console) -> None:
    """A browser is redirected there and back; a program is asked for the token."""
    for path in PAGES:
        address = f"/console{path}"
        led = console.client.get(address, headers={"Accept": "text/html"}, follow_redirects=False)
        assert led.status_code == 303, path
        assert led.headers["location"].startswith("/console/sign-in?back=/console"), path
        asked = console.client.get(address)
        assert (asked.status_code, asked.text) == (401, "an operator's token is needed\n"), path
        assert asked.headers["www-authenticate"] == 'Basic realm="repasse"'


def test_a_page_with_a_wrong_token_is_refused_and_then_slowed(console: Console) -> None:
    """The first guess is wrong, the next ones must wait."""
    wrong = {"Authorization": "Bearer wrong", "Accept": "text/html"}
    answers = [console.client.get(f"/console{path}", headers=wrong, follow_redirects=False) for path in PAGES]
    assert (answers[0].status_code, answers[0].text) == (401, "an operator's token is needed\n")
    assert {answer.status_code for answer in answers} <= {401, 429}
    assert "too many wrong tokens: wait\n" in {answer.text for answer in answers}


def test_nothing_is_done_without_the_token(console: Console) -> None:
    """Not with none, not with a cookie that we did not sign, not with a wrong one."""
    another = SignedCookies("of other tokens", IDLE).begin_session(SHARED, "eve", datetime.now(UTC))
    forged = {"Cookie": f"repasse={another}"}
    form = {"who": "eve", "reason": "because"}
    attempts: tuple[dict[str, str], ...] = ({}, forged, {"Authorization": "Bearer wrong"})
    for path in POSTS:
        for headers in attempts:
            answer = console.client.post(
                f"/console{path}", data=form, headers={**OURS, **headers}, follow_redirects=False
            )
            assert answer.status_code in (401, 429), path
    assert console.web.count("actions") == 0


def test_nothing_is_done_from_another_site(console: Console) -> None:
    """Even with the token: browsers add cookies and Basic passwords by themselves."""
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
    ):
        for path in POSTS:
            key = {"Authorization": f"Bearer {TOKEN}", **headers}
            answer = console.client.post(f"/console{path}", headers=key, follow_redirects=False)
            assert answer.status_code == 403, (path, headers)
    assert console.web.count("actions") == 0


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"origin": "https://repasse.example", "host": "repasse.example"}, True),
        ({"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:8000"}, True),
        ({"origin": "http://127.0.0.1:8001", "host": "127.0.0.1:8000"}, False),
        ({"origin": "null", "host": ""}, False),
        ({"authorization": "Bearer x"}, True),
        ({"authorization": "Basic x"}, False),
        ({"cookie": "repasse=x"}, False),
    ],
)
def test_a_request_is_ours_when_the_browser_says_so_or_no_browser_could_have_made_it(
    headers: dict[str, str], is_ours: bool
) -> None:
    """What a browser adds by itself proves nothing."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert is_same_origin(Request({"type": "http", "method": "POST", "headers": raw})) is is_ours


def test_every_answer_has_the_headers(console: Console) -> None:
    """No inline script or style, no frame, no sniffing, and pages are not kept."""
    for path in ("", "/nowhere", "/static/style.css", "/transfers?state=x", "/sign-in", "/credits/1"):
        assert_headers(console.get(path).headers, is_kept="/static/" in path)


def assert_headers(headers: Headers, is_kept: bool) -> None:
    """Today's practice, on one answer."""
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    kept = "public, max-age=31536000, immutable" if is_kept else "no-store"
    assert headers["cache-control"] == kept


def test_a_refusal_has_the_headers_too(console: Console) -> None:
    """Those of the authentication itself."""
    for answer in (console.client.get("/console"), console.client.post("/console/preferences")):
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_sign_in_opens_a_session_and_the_sign_out_ends_it(console: Console) -> None:
    """The cookie is for this host alone, unseen by scripts, and is not the token."""
    form = {"token": TOKEN, "who": "Ana Souza", "back": "/console/credits?amount=10"}
    answer = console.client.post("/console/sign-in", data=form, headers=OURS, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/credits?amount=10")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # plain http here
    assert TOKEN not in cookie
    page = console.client.get("/console/acts")
    assert "Signed in as Ana Souza" in page.text
    console.client.post("/console/sign-out", headers=OURS)
    assert console.client.get("/console/acts").status_code == 401


def test_behind_tls_the_cookie_travels_encrypted_only(start_app: Callable[..., WebApp]) -> None:
    """And the browser itself guards its name."""
    client = start_app(operator_token=TOKEN).client
    client.base_url = "https://testserver"
    answer = client.post(
        "/console/sign-in", data={"token": TOKEN, "who": "Ana"}, headers=OURS, follow_redirects=False
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-repasse=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert client.get("/console").status_code == 200


def test_the_sign_in_leads_to_pages_of_ours_only(console: Console) -> None:
    """An address that came with the form is not trusted."""
    for back in ("https://evil.example/", "//evil.example", "/webhooks", "/console\\..", "/consolex", ""):
        form = {"token": TOKEN, "who": "Ana", "back": back}
        answer = console.client.post("/console/sign-in", data=form, headers=OURS, follow_redirects=False)
        assert answer.headers["location"] == "/console"


def test_a_wrong_token_at_the_sign_in_is_slowed_and_what_was_typed_stays(console: Console) -> None:
    """But for the token, which is never sent back."""
    form = {"token": "<wrong token>", "who": "<Ana>", "back": "/console/acts"}
    wrong = console.client.post("/console/sign-in", data=form, headers=OURS)
    assert wrong.status_code == 401
    assert 'value="&lt;Ana&gt;"' in wrong.text
    assert "<wrong token>" not in wrong.text
    slowed = console.client.post("/console/sign-in", data={**form, "token": TOKEN}, headers=OURS)
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "1")


def test_a_session_ends_by_itself_when_altered_and_with_its_token() -> None:
    """Nothing is stored: the signature alone decides."""
    cookies = SignedCookies(TOKEN, SESSION_LENGTH)
    signed = cookies.begin_session(SHARED, "Ana", NOW)
    session = cookies.read_session(signed, NOW + SESSION_LENGTH - timedelta(seconds=1))
    assert session is not None
    assert session.who == "Ana"
    assert cookies.read_session(signed, NOW + SESSION_LENGTH) is None
    assert SignedCookies("of other tokens", IDLE).read_session(signed, NOW) is None
    assert cookies.read_session(signed[:-1] + ("0" if signed[-1] != "0" else "1"), NOW) is None
    assert cookies.read_session("A" + signed, NOW) is None
    for nonsense in ("", ".", "a.b", "\u00e9.\u00e9"):
        assert cookies.read_session(nonsense, NOW) is None
    # The message of an action cannot be taken for a session.
    assert cookies.read_session(cookies.sign_flash("done", "good"), NOW) is None
    assert cookies.read_flash(signed) is None


def test_a_session_that_no_one_uses_ends_and_one_that_is_used_ends_with_the_shift() -> None:
    """Half an hour after the last use; each use renews it, up to its twelve hours."""
    cookies = SignedCookies(TOKEN, IDLE)
    signed, now = cookies.begin_session(ANA, "", NOW), NOW
    assert cookies.read_session(signed, NOW + IDLE) is not None
    assert cookies.read_session(signed, NOW + IDLE + timedelta(seconds=1)) is None
    assert cookies.was_idle(signed, NOW + IDLE + timedelta(seconds=1))
    assert not cookies.was_idle(signed, NOW + SESSION_LENGTH)
    while session := cookies.read_session(signed, now):
        signed = cookies.renewed(session, now) or signed
        now += IDLE
    assert now == NOW + SESSION_LENGTH


ANA = Account("Ana Souza", True, "ana-has-a-token-of-her-own")
BIA = Account("Bia", False, "bia-reads-with-this-token")


@pytest.fixture
def staffed(start_app: Callable[..., WebApp]) -> Console:
    """A console with the shared token, an operator and a reader."""
    people = f"{ANA.name}:operator:{ANA.token}, {BIA.name}:reader:{BIA.token}"
    return Console(start_app(operator_token=TOKEN, operators=SecretStr(people)))


def sign_in(console: Console, token: str, who: str = "") -> None:
    """As a browser does; the cookie stays."""
    form = {"token": token, "who": who}
    answer = console.client.post("/console/sign-in", data=form, headers=OURS, follow_redirects=False)
    assert answer.status_code == 303


def test_a_token_of_ones_own_says_who_whatever_is_typed(staffed: Console) -> None:
    """On record: proved by the token, or typed with the shared one, from a browser and from a program."""
    form = {"who": "Someone Else", "reason": "it must be done"}
    sign_in(staffed, ANA.token, "Someone Else")
    assert "Signed in as Ana Souza." in staffed.client.get("/console").text
    asked = staffed.client.get("/console/act/pause/issuing").text
    assert 'name="who"' not in asked
    assert staffed.client.post("/console/act/pause/issuing", data=form, headers=OURS).status_code == 200
    bearer = {"Authorization": f"Bearer {ANA.token}"}
    staffed.client.cookies.clear()
    assert staffed.client.post("/console/act/resume/issuing", data=form, headers=bearer).status_code == 200
    sign_in(staffed, TOKEN, "Someone Else")
    staffed.client.post("/console/act/pause/issuing", data=form, headers=OURS)
    assert staffed.web.rows("SELECT who, is_proved FROM actions ORDER BY id") == [
        ("Ana Souza", 1),
        ("Ana Souza", 1),
        ("Someone Else", 0),
    ]
    page = staffed.client.get("/console/acts").text
    assert (page.count(">own token<"), page.count(">typed<")) == (2, 1)


def test_a_reader_sees_everything_and_does_nothing(staffed: Console) -> None:
    """No button on any page, and 403 with a page that says why; signing out and reading metrics work."""
    staffed.web.deliver(b"what is this")
    staffed.act("pause/issuing")
    sign_in(staffed, BIA.token)
    for path in ("", "/transfers", "/credits", "/inbox", "/batches", "/attention", "/acts", "/system"):
        page = staffed.client.get(f"/console{path}")
        assert page.status_code == 200, path
        assert "/console/act/" not in page.text, path
        assert "Signed in as Bia (reader)" in page.text
    form = {"who": "Bia", "reason": "it must be done"}
    for path in (*POSTS[:3], "/act/resume/issuing", "/act/abandon/credit-1"):
        for answer in (
            staffed.client.post(f"/console{path}", data=form, headers=OURS),
            staffed.client.get(f"/console{path}"),
            staffed.client.post(f"/console{path}", headers={"Authorization": f"Bearer {BIA.token}"}),
        ):
            assert answer.status_code == 403, path
            assert "an operator must do this" in answer.text
    assert staffed.web.count("actions") == 1
    metrics = staffed.client.get("/metrics", headers={"Authorization": f"Bearer {BIA.token}"})
    assert metrics.status_code == 200
    assert staffed.client.post("/console/preferences", data={"zone": "UTC"}, headers=OURS).status_code == 200
    staffed.client.post("/console/sign-out", headers=OURS)
    assert staffed.client.get("/console/acts").status_code == 401


def test_a_page_that_reloads_itself_does_not_keep_a_session_open(staffed: Console) -> None:
    """Only a person's request renews the cookie; the sign-in says why the session ended."""
    cookies = SignedCookies(session_secret((SHARED, ANA, BIA)), IDLE)
    now = datetime.now(UTC)
    used = Session.of(ANA, "", now + SESSION_LENGTH, now - IDLE / 2)
    client = staffed.client
    client.cookies.set("repasse", cookies.sign_session(used))
    assert "set-cookie" not in client.get("/console", headers={"X-Repasse-Refresh": "1"}).headers
    assert "set-cookie" not in client.get("/console/static/style.css").headers
    renewed = client.get("/console").headers["set-cookie"]
    assert renewed.startswith("repasse=")
    assert "HttpOnly" in renewed
    assert "set-cookie" not in client.get("/console").headers
    client.cookies.clear()
    client.cookies.set("repasse", cookies.sign_session(replace(used, used_at=now - 2 * IDLE)))
    page = client.get("/console/acts", headers={"Accept": "text/html"})
    assert page.url.path == "/console/sign-in"
    assert "You were signed out after 30 min without use." in page.text


@pytest.mark.parametrize(
    ("bank", "says"),
    [
        ({}, "Emulator"),
        ({"starkbank_api_url": None}, "Sandbox"),
        ({"starkbank_api_url": None, "starkbank_environment": "production"}, "Production"),
    ],
)
def test_every_page_says_which_bank_it_is_about(
    open_console: Callable[..., TestClient], bank: dict[str, Any], says: str
) -> None:
    """Before the sign-in, on pages, on errors."""
    client = open_console(**bank)
    for path in ("/sign-in", "", "/nowhere", "/act/pause/issuing"):
        page = client.get(f"/console{path}").text
        assert f'aria-label="Environment"><strong>{says}</strong>' in page, path
