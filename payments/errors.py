"""The named errors of the domain: what the bank's answer, or the lack of one, allows us to conclude.

A *refusal* is an answer; *unclear* is the lack of one. Unclear is never turned into final.
"""

from dataclasses import dataclass


class RepasseError(Exception):
    """Any error that this project names; its text states the fact and the next step."""


class SettingsError(RepasseError):
    """A setting is missing or wrong. The process ends with status 2 and this one line."""


class LedgerUnavailable(RepasseError):
    """The database cannot be read or written now (locked, full, gone). Nothing was recorded; try again.

    ``remedy`` is what a person has to do before it can work, or None when it may recover by itself.
    """

    def __init__(self, text: str, remedy: str | None = None) -> None:
        super().__init__(text)
        self.remedy = remedy


class LedgerConflict(LedgerUnavailable):
    """PostgreSQL undid a transaction in favour of another (a deadlock). It may be repeated immediately."""


class LedgerUnusable(RepasseError):
    """The database can never serve this program as it is (newer version, not ours, no rights)."""


class BooksRefused(RepasseError):
    """The database cannot be copied, backed up or restored as asked; the text says why. Nothing was changed."""


class ActionRefused(RepasseError):
    """An operator's action is not allowed in the present state; the text names the state. Nothing was done."""


class BankError(RepasseError):
    """A call to the bank did not end in an answer that we can use."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry of the bank's ``errors``: a code and a message for people."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


# Documented / Observed: facts sheet 1.4. These say that *we* may not call, not that the content is wrong.
CALLER_CODES = frozenset({"invalidCredentials", "invalidProject", "invalidIp"})

# SDK tests name invalidBalance for the old synchronous refusal; the money may come later.
BALANCE_CODES = frozenset({"invalidBalance"})


class Rejected(BankError):
    """The bank answered 400: nothing of the request was done (a batch is all or nothing)."""

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        self.refusals = refusals
        super().__init__("; ".join(map(str, refusals)) or "refused without a reason")

    @property
    def concerns_caller(self) -> bool:
        """True when our key, project or address was refused, or something that we do not know: the content may be good.

        Every code that is known to mean the content begins with ``invalid`` (facts sheet 2.3).
        """
        return any(
            refusal.code in CALLER_CODES or not refusal.code.startswith("invalid")
            for refusal in self.refusals
        )

    @property
    def concerns_balance(self) -> bool:
        """True when the account was too empty: the same request may succeed later."""
        return any(refusal.code in BALANCE_CODES for refusal in self.refusals)

    @property
    def remedy(self) -> str:
        """What a person should do about it, in one sentence."""
        codes = {refusal.code for refusal in self.refusals}
        if "invalidCredentials" in codes:
            return (
                "check that STARKBANK_PRIVATE_KEY is the key whose public half is registered in the project"
            )
        if "invalidProject" in codes:
            return (
                "check STARKBANK_PROJECT_ID and STARKBANK_ENVIRONMENT: this environment has no such project"
            )
        if "invalidIp" in codes:
            return "add this machine's address to the project's allowed IPs, or remove the restriction"
        return "read the bank's message; the request was not carried out"


class NotSent(BankError):
    """The request never reached the bank (no connection): safe to repeat."""


class Throttled(BankError):
    """The bank answered 429: not done; wait before asking again.

    ``retry_after_seconds`` is the bank's wish, or None when it named none.
    """

    def __init__(self, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__("throttled by the bank (429)")


class Unclear(BankError):
    """We do not know whether the bank carried the request out (timeout, 5xx, broken or odd answer).

    ``status`` is that of an answer which says no more, such as 503; None where there was none.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(text)
