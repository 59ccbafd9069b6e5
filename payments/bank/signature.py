"""Checks whether a webhook body was signed by the bank, and keeps the bank's public keys for that.

It never accepts what it could not check, and no flood of forged requests makes it ask the bank more than
once a minute. The SDK's own ``event.parse`` fetches the key again at every bad signature, and takes forty
times longer.
"""

import binascii
import threading
from collections.abc import Callable
from hashlib import sha256

from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, der_to_cdata, signature_normalize
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from payments.errors import BankError, RepasseError

# DER of two 33-byte numbers is 72 bytes, and base64 of that 96 characters.
SIGNATURE_LENGTH_MAX = 96

# Documented: newest first; the older ones only check older messages (facts sheet 6.4). A delivery is repeated
# for at most 155 minutes, and no one rotates keys twice in that time.
KEYS_MAX = 3

# The bank has not rotated in five years (facts sheet 6.4), so a minute is soon enough, and bearable for the
# bank.
REFRESH_SECONDS_MIN = 60.0

# While no key is known nothing can be received at all, so the first one is asked for more eagerly.
FIRST_REFRESH_SECONDS_MIN = 5.0

# How long a request waits for a refresh that another has begun, and how many may wait: each holds a thread.
WAIT_SECONDS_MAX = 2.0
WAITERS_MAX = 8


class KeyUnavailable(RepasseError):
    """No public key of the bank is known, so nothing can be checked: answer 503, the bank will try again."""


def read_public_key(pem: str) -> PublicKey:
    """Read a PEM public key; raises ValueError when it is not one of secp256k1."""
    try:
        key = load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm:
        raise ValueError("a key of an unknown kind") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256K1):
        raise ValueError("not a secp256k1 key")
    return PublicKey(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


class BankKeys:
    """The bank's public keys, newest first: fetched when needed, by one caller at a time and seldom.

    ``fetch`` returns PEM texts and may raise BankError; ``clock`` is monotonic, in seconds. Thread-safe.

    When no key fits and asking again is not allowed yet, the answer is False although the key may just have
    been replaced: only a forger profits from anything else. A true event so refused comes again after five
    minutes (any answer but 200 does that, facts sheet 6.5), and reconciliation would find it too.
    """

    def __init__(self, fetch: Callable[[], list[str]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._failure = "not asked yet"
        self._refreshing = threading.Lock()
        self._waiters = threading.BoundedSemaphore(WAITERS_MAX)

    @property
    def fetched_at(self) -> float | None:
        """When the keys were last fetched with success, on ``clock``; None when no key is known."""
        return self._fetched_at

    @property
    def failure(self) -> str:
        """Why the last failed fetch failed; worth reporting while no key is known."""
        return self._failure

    def check_cached(self, body: bytes, digital_signature: str) -> bool | None:
        """Whether ``digital_signature`` (base64, DER, secp256k1, SHA-256) fits these very bytes, by the keys at hand.

        Without any I/O, fit for an event loop. None: only a refresh can decide, so call ``refresh_and_check`` in a
        thread. Raises KeyUnavailable when no key is known and it is too early to ask again.
        """
        signature = _low_s(digital_signature)
        if signature is None:
            return False
        digest = sha256(body).digest()
        for key in self._keys:
            if key.verify(signature, digest, hasher=None):
                return True
        if self._refreshing.locked() or self._is_due():
            return None
        return self._no_match()

    def refresh_and_check(self, body: bytes, digital_signature: str) -> bool:
        """Fetch the keys if allowed, or wait a little for the thread that does; then decide. Raises KeyUnavailable."""
        self.refresh()
        known = self.check_cached(body, digital_signature)
        return self._no_match() if known is None else known

    def refresh(self) -> bool:
        """Fetch the keys if that is allowed now; returns whether any key is known. Good to call once at start.

        A failed fetch counts like any other and leaves the known keys as they are.
        """
        if not self._waiters.acquire(blocking=False):
            return bool(self._keys)
        try:
            if self._refreshing.acquire(timeout=WAIT_SECONDS_MAX):
                try:
                    if self._is_due():
                        self._ask()
                finally:
                    self._refreshing.release()
        finally:
            self._waiters.release()
        return bool(self._keys)

    def _is_due(self) -> bool:
        pause = REFRESH_SECONDS_MIN if self._keys else FIRST_REFRESH_SECONDS_MIN
        return self._asked_at is None or self._clock() - self._asked_at >= pause

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            keys = _read_keys(self._fetch()[:KEYS_MAX])
        except (BankError, ValueError) as error:
            self._failure = str(error)
            return
        if keys:
            self._keys, self._fetched_at = keys, self._clock()
        else:
            self._failure = "the bank named no key"

    def _no_match(self) -> bool:
        if not self._keys:
            raise KeyUnavailable(
                f"no public key of the bank is known yet ({self._failure}); it is asked for again"
            )
        return False


def _read_keys(pems: list[str]) -> tuple[PublicKey, ...]:
    """Read the list; the newest, which is in use, must be readable, and an older one that is not is left out."""
    keys: list[PublicKey] = []
    for position, pem in enumerate(pems):
        try:
            keys.append(read_public_key(pem))
        except ValueError:
            if position == 0:
                raise
    return tuple(keys)


def _low_s(digital_signature: str) -> bytes | None:
    """The signature's DER with the lower of its two possible S, or None when it is no signature.

    Verified here: about half of the bank's signatures have the higher S, which libsecp256k1 calls wrong.
    """
    if len(digital_signature) > SIGNATURE_LENGTH_MAX:
        return None
    try:
        signature = der_to_cdata(binascii.a2b_base64(digital_signature, strict_mode=True))
        return cdata_to_der(signature_normalize(signature)[1])
    except ValueError:
        return None
