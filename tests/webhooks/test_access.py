"""The gate: who has the token is let in at once, who guesses waits longer each time."""

from collections.abc import Callable

import pytest
from starlette.requests import HTTPConnection

from payments.authorization import Account
from tests.webhooks.conftest import WebApp
from webhooks.access import (
    CLIENTS_MAX,
    FORGET_SECONDS,
    WAIT_FIRST_SECONDS,
    WAIT_MAX_SECONDS,
    Gate,
    Refusal,
    address_of,
)

TOKEN = "a-token-of-thirty-two-characters"
SHARED = Account("", True, TOKEN)
BIA = Account("Bia", False, "a-token-of-her-own-to-read-with")
ANA, EVE = "203.0.113.1", "203.0.113.2"


class Watch:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    """A clock that stands still."""
    return Watch()


@pytest.fixture
def gate(watch: Watch) -> Gate:
    """A gate on that clock."""
    return Gate((SHARED, BIA), watch)


def connection(authorization: str | None, host: str = ANA) -> HTTPConnection:
    """A request with this header."""
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return HTTPConnection({"type": "http", "headers": headers, "client": (host, 1)})


def test_the_token_is_let_in_and_anything_else_is_not(gate: Gate) -> None:
    """By Bearer or Basic; without one nothing is counted."""
    assert gate.admit(connection(f"Bearer {TOKEN}")) == SHARED
    assert gate.admit(connection(f"Bearer {BIA.token}")) == BIA
    assert gate.admit(connection(None)) == Refusal()
    assert gate.admit(connection("Bearer x")) == Refusal()


def test_guesses_wait_twice_as_long_each_time_up_to_a_minute(gate: Gate, watch: Watch) -> None:
    """While it waits nothing is compared, not even the right token."""
    waits = []
    for _ in range(12):
        assert gate.check("wrong", EVE) == Refusal()
        refusal = gate.check(TOKEN, EVE)
        assert isinstance(refusal, Refusal)
        waits.append(refusal.wait_seconds)
        watch.now += refusal.wait_seconds
    assert waits[:4] == [WAIT_FIRST_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert waits[-1] == WAIT_MAX_SECONDS
    assert gate.check(TOKEN, EVE) == SHARED


def test_the_right_token_ends_the_count(gate: Gate, watch: Watch) -> None:
    """A person who mistyped begins anew."""
    gate.check("wrong", ANA)
    watch.now += WAIT_FIRST_SECONDS
    assert gate.check(TOKEN, ANA) == SHARED
    gate.check("wrong", ANA)
    assert gate.check(TOKEN, ANA) == Refusal(WAIT_FIRST_SECONDS)


def test_one_clients_guesses_do_not_keep_another_waiting(gate: Gate) -> None:
    """Each address counts for itself."""
    gate.check("wrong", EVE)
    assert gate.check(TOKEN, ANA) == SHARED


def test_a_client_that_was_quiet_is_forgotten(gate: Gate, watch: Watch) -> None:
    """A quarter of an hour after its last guess."""
    for _ in range(4):
        gate.check("wrong", EVE)
        watch.now += WAIT_MAX_SECONDS
    watch.now += FORGET_SECONDS
    gate.check("wrong", EVE)
    assert gate.check(TOKEN, EVE) == Refusal(WAIT_FIRST_SECONDS)


def test_strangers_cannot_fill_the_memory(gate: Gate) -> None:
    """The quietest is forgotten."""
    for number in range(CLIENTS_MAX + 50):
        gate.check("wrong", f"client {number}")
    assert len(gate._clients) == CLIENTS_MAX
    assert gate.check(TOKEN, "client 0") == SHARED
    assert isinstance(gate.check(TOKEN, f"client {CLIENTS_MAX + 49}"), Refusal)


def test_one_network_of_ipv6_is_one_client() -> None:
    """Whoever has one address of it has all of them."""
    one, other = (address_of(connection(None, f"2001:db8:1:2::{end}")) for end in ("1", "ffff"))
    assert one == other
    assert address_of(connection(None, "2001:db8:1:3::1")) != one
    assert address_of(connection(None, ANA)) == ANA


def test_metrics_slow_guesses_too(start_app: Callable[..., WebApp]) -> None:
    """One token opens both, so guessing it there would be as good."""
    client = start_app(operator_token=TOKEN).client
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    slowed = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert slowed.status_code == 429
    assert slowed.headers["retry-after"] == "1"
    assert client.get("/health/live").status_code == 200
