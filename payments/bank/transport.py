"""The way to the bank: all that the official SDK sends goes through here, and each call gets a true verdict.

The SDK stays unmodified: we replace the five functions of ``requests`` that it calls. In their place stand
pooled connections, one deadline for all of a call, a bounded answer, and the knowledge of whether the
request was begun. No redirect is followed and nothing is repeated, but a GET whose pooled connection was
dead. Nothing is read from the environment (proxy, netrc, CA bundle), against the real bank either: a proxy
could turn "never sent" into a guess, and a stray HTTPS_PROXY must not decide which way money takes.
"""

import re
import ssl
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import certifi
import msgspec
import requests
import starkcore.utils.rest as rest

from payments.bank.connection import Connections, HttpAnswer, Progress, ProtocolError
from payments.errors import BankError, NotSent, Refusal, Rejected, SettingsError, Throttled, Unclear
from payments.tax_id import without_tax_ids

Answer = TypeVar("Answer")

# on_call(method, resource, verdict, seconds), as ("POST", "transfer", "accepted", 0.031). It must not raise.
OnCall = Callable[[str, str, str, float], None]

# A wish beyond a day is a mistake, and a huge one would overflow a date.
RETRY_AFTER_SECONDS_MAX = 86_400.0

# What a person reads of the bank's text; no sentence of the bank's is longer.
TEXT_LENGTH_MAX = 300


class Verdict(StrEnum):
    """What one call to the bank allows us to conclude."""

    ACCEPTED = "accepted"  # 200, and the answer says what we asked for
    NOT_SENT = "not_sent"  # no byte of the request left us: safe to repeat
    REJECTED = "rejected"  # 400 with readable errors: not done
    THROTTLED = "throttled"  # 429: not done, wait
    UNCLEAR = "unclear"  # anything else: it may have been done


class LastCall(NamedTuple):
    """The last call that was made: its verdict, and how long ago it ended."""

    verdict: str
    age_seconds: float


class OddAnswer(Exception):
    """A 200 that does not say what was asked for; ``Transport.call`` makes it Unclear."""


class Transport:
    """One way to the bank for all threads. ``api_url`` is an emulator's scheme, host and port, or None.

    Raises SettingsError when the URL is malformed or the SDK is not the one that we know.
    """

    def __init__(
        self, timeout_seconds: float, api_url: str | None = None, on_call: OnCall | None = None
    ) -> None:
        _install()
        self.timeout_seconds = timeout_seconds
        self._base_url = None if api_url is None else _base_of(api_url)
        self._on_call = on_call
        self._last: tuple[Verdict, float] | None = None  # with the moment, on the monotonic clock
        is_plain = self._base_url is not None and self._base_url.startswith("http:")
        self._connections = Connections(
            None if is_plain else ssl.create_default_context(cafile=certifi.where())
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def deadline(self) -> float:
        """Return when a call that begins now must be over, on the monotonic clock."""
        return monotonic() + self.timeout_seconds

    def last_call(self) -> LastCall | None:
        """The last call of any thread; None before the first one."""
        if self._last is None:
            return None
        verdict, ended_at = self._last
        return LastCall(verdict.value, monotonic() - ended_at)

    def call(self, ask: Callable[[], Answer], deadline: float | None = None) -> Answer:
        """Run ``ask``, which makes one request through the SDK and reads its answer; return what it returns.

        Raises NotSent, Throttled, Rejected or Unclear, no matter what the SDK made of it. ``ask`` raises
        OddAnswer when a 200 is not what was asked for: that is Unclear, like any error once the request was
        made. An error before that is a bug and goes through. Calls that together must keep one ``deadline``
        hand it in; None means one of its own.
        """
        started_at = monotonic()
        call = _Call(self, Progress(started_at + self.timeout_seconds if deadline is None else deadline))
        verdict = Verdict.UNCLEAR
        token = _call.set(call)
        try:
            answer = call.conclude(ask)
            verdict = Verdict.ACCEPTED
            return answer
        except BankError as error:
            verdict = _VERDICTS.get(type(error), Verdict.UNCLEAR)
            raise
        finally:
            _call.reset(token)
            if call.method:
                self._last = verdict, monotonic()
                if self._on_call is not None:
                    self._on_call(call.method, call.resource, verdict.value, monotonic() - started_at)

    def answer(self, call: "_Call", url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Stand in for one function of ``requests``: return the bank's 200, or note why there is none."""
        if self._base_url is not None:
            stock = urlsplit(url)
            url = url.replace(f"{stock.scheme}://{stock.netloc}", self._base_url, 1)
        try:
            try:
                answer = self._connections.exchange(call.method, url, body, headers, call.progress)
            except _NETWORK_ERRORS as error:
                if call.method != "GET" or not call.progress.is_reused or not _was_closed(error):
                    raise
                call.progress.fresh_only = True
                answer = self._connections.exchange(call.method, url, body, headers, call.progress)
        except _NETWORK_ERRORS as error:
            call.error = call.no_answer(_reason(error, self.timeout_seconds))
            return _NOTHING
        if answer.status_code != 200:
            call.error = _error_in(answer, call.name)
        return answer


@dataclass(slots=True)
class _Call:
    """One call under way, as the seam sees it."""

    transport: Transport
    progress: Progress
    method: str = ""
    path: str = ""
    error: BankError | None = None

    @property
    def name(self) -> str:
        """For messages: method and path. The query is left out."""
        return f"{self.method} {self.path}"

    @property
    def resource(self) -> str:
        """For metrics: the path without version and ids."""
        parts = self.path.split("/")[2:]
        return "/".join(part for part in parts if part and not any(map(str.isdigit, part)))

    def conclude(self, ask: Callable[[], Answer]) -> Answer:
        failure: Exception | None = None
        try:
            answer = ask()
        except Exception as error:
            # The SDK raises what its parsing meets (KeyError, RuntimeError, JSONDecodeError, ...), and a
            # request was made: the verdict is ours in any case.
            failure = error
        else:
            if self.error is None and self.method:
                return answer
        # Outside of the except clause: the SDK's error quotes the bank unmasked, and must be no part of ours.
        if self.error is not None:
            raise self.error
        if not self.method:
            # Either a bug before the request, or our place in the SDK was taken since.
            raise failure or Unclear("the SDK did not use our transport: was it replaced?")
        text = _readable(str(failure))
        if not isinstance(failure, OddAnswer):
            text = f"the answer could not be read ({type(failure).__name__}: {text})"
        if not self.progress.request_begun:
            raise NotSent(f"{self.name} was not sent: {text}")
        raise Unclear(f"{self.name}: {text}")

    def no_answer(self, reason: str) -> BankError:
        if self.progress.request_begun:
            return Unclear(f"{self.name}: the request left and no whole answer came back ({reason})")
        return NotSent(f"{self.name} was not sent ({reason})")


_NOTHING = HttpAnswer(0, b"")
_NETWORK_ERRORS = (ProtocolError, OSError)
_VERDICTS: dict[type[BankError], Verdict] = {
    NotSent: Verdict.NOT_SENT,
    Rejected: Verdict.REJECTED,
    Throttled: Verdict.THROTTLED,
}

# --- the seam: the five names in starkcore ---

_NAMES = ("get", "post", "put", "patch", "delete")
_STOCK: dict[str, Any] = {name: getattr(requests, name) for name in _NAMES}
_call: ContextVar[_Call | None] = ContextVar("call", default=None)
_install_lock = threading.Lock()


def _install() -> None:
    """Put our functions in place of the five, any number of times. Others who use the SDK notice nothing."""
    with _install_lock:
        for name in _NAMES:
            # Read: starkcore 0.8.0 utils/rest.py line 1, and its functions pass these names to
            # fetch(method=...).
            if getattr(rest, name, None) not in (_STOCK[name], _OURS[name]):
                raise SettingsError(
                    f"starkcore.utils.rest.{name} is not requests.{name}: we know starkcore 0.8.0; "
                    "install the versions in requirements.txt (scripts/setup)"
                )
        for name in _NAMES:
            setattr(rest, name, _OURS[name])


def _stand_in(name: str) -> Callable[..., Any]:
    def request(*, url: str, data: str = "", headers: Mapping[str, str], timeout: float) -> Any:
        call = _call.get()
        if call is None:
            # Not one of our calls: someone else in this process uses the SDK, and gets what it always was.
            return _STOCK[name](url=url, data=data, headers=headers, timeout=timeout)
        call.method, call.path = name.upper(), urlsplit(url).path
        return call.transport.answer(call, url, data.encode(), headers)

    return request


_OURS = {name: _stand_in(name) for name in _NAMES}


def _base_of(api_url: str) -> str:
    try:
        parts = urlsplit(api_url)
        is_well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_well_formed = False
    if not is_well_formed or not re.fullmatch(r"https?://[A-Za-z0-9.:_\[\]-]+/?", api_url):
        raise SettingsError(
            "STARKBANK_API_URL is not a base URL; put scheme, host and port, as http://127.0.0.1:8900"
        )
    return api_url.rstrip("/")


# --- what an answer, or its absence, means ---


class _ErrorJson(msgspec.Struct):
    code: str
    message: str


class _ErrorsJson(msgspec.Struct):
    # Documented: objects (facts sheet 2.1). One project reports a bare string (5.3): readable all the same.
    errors: list[_ErrorJson | str]


_decode_errors = msgspec.json.Decoder(_ErrorsJson)


def _error_in(answer: HttpAnswer, name: str) -> BankError:
    error: BankError
    if answer.status_code == 429:
        # Unknown whether the bank ever says it (facts sheet 2.5); a gateway in front of it would.
        error = Throttled(_retry_after(answer.headers))
    elif answer.status_code == 400 and (refusals := _refusals(answer.content)):
        error = Rejected(refusals)
    else:
        hint = " without readable errors" if answer.status_code == 400 else ""
        text = f"{name}: the bank answered with status {answer.status_code}{hint}"
        return Unclear(text, answer.status_code)
    error.add_note(name)
    return error


def _refusals(content: bytes) -> tuple[Refusal, ...]:
    try:
        errors = _decode_errors.decode(content).errors
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(
        Refusal("unnamed", _readable(error))
        if isinstance(error, str)
        else Refusal(_readable(error.code), _readable(error.message))
        for error in errors
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, or an HTTP date, which is measured against the answer's own Date: our clock may differ."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(wait.total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)


def _readable(text: str) -> str:
    """One line of bounded length without tax IDs, which must never reach a log or a page."""
    return without_tax_ids(" ".join(text.split()))[:TEXT_LENGTH_MAX]


def _was_closed(error: BaseException) -> bool:
    return isinstance(error, (ConnectionError, ssl.SSLEOFError))


def _reason(error: BaseException, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"not done within {timeout_seconds:g} s"
    return _readable(f"{type(error).__name__}: {error}")
