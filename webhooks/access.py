"""The operators' tokens, one of which /metrics and the console need.

A wrong token makes its client wait, longer each time, and until then nothing that it sends is compared. The token is
never logged. The memory it takes is bounded, and no connection is held open while a client waits.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

import structlog
from starlette.requests import HTTPConnection

from payments.authorization import Account, find_account, token_in

log = structlog.get_logger()

# A slip of the pen costs half a second; a thousand guesses cost most of a day.
WAIT_FIRST_SECONDS = 0.5
WAIT_MAX_SECONDS = 60.0

# A client that was quiet for this long starts again from the first wait.
FORGET_SECONDS = 900.0

# Beyond this the client that was quiet longest is forgotten, so that a stranger cannot fill our memory.
CLIENTS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client is not let in: no token, a wrong one, or (``wait_seconds`` above 0) too many wrong ones."""

    wait_seconds: float = 0.0


@dataclass(slots=True)
class _Client:
    wrong: int
    seen_at: float
    open_at: float


class Gate:
    """Compares tokens in constant time and slows down guessing. Used on the event loop; it never waits."""

    def __init__(self, accounts: Sequence[Account], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def admit(self, connection: HTTPConnection) -> Account | Refusal:
        """Whose token the request carries, as Bearer or as the password of HTTP Basic."""
        given = token_in(connection.headers.get("authorization", ""))
        return Refusal() if given is None else self.check(given, address_of(connection))

    def check(self, given: str, address: str) -> Account | Refusal:
        """Whose token ``given`` is; when it is no one's, that counts against ``address``."""
        now = self._monotonic()
        client = self._clients.get(address)
        if client is not None and now - client.seen_at > FORGET_SECONDS:
            del self._clients[address]
            client = None
        if client is not None and now < client.open_at:
            return Refusal(client.open_at - now)
        account = find_account(given, self._accounts)
        if account is not None:
            self._clients.pop(address, None)
            return account
        wrong = 1 if client is None else client.wrong + 1
        wait = min(WAIT_FIRST_SECONDS * 2 ** min(wrong - 1, 16), WAIT_MAX_SECONDS)
        self._clients[address] = _Client(wrong, now, now + wait)
        self._clients.move_to_end(address)
        if len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)
        log.warning("access.refused", client=address, wrong=wrong, wait_seconds=wait)
        return Refusal()


def address_of(connection: HTTPConnection) -> str:
    """The client's address; of IPv6 the network, since one client has 2^64 of them."""
    host = connection.client.host if connection.client else "unknown"
    try:
        address = IPv6Address(host)
    except AddressValueError:
        return host
    return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
