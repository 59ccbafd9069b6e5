"""What is written down for people to read later: a code with its values, never a sentence, so that its language, its
wording and R$ can change. payments/operator/wording.py puts it into words; nothing is decided from it.

Words from outside (the bank's, an operator's) are values and stay as they are. A value may be a note itself.
"""

import json
from dataclasses import dataclass
from typing import Any

from payments.errors import BankError, NotSent, Rejected, Throttled, Unclear

# The bank's sentences are shorter; an operator's reason has at most 500 characters.
WORDS_LENGTH_MAX = 600

# Of the bank's reasons for one refusal, and of the questions that one reconciliation asks.
PARTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was written. The code ``words`` means text as it is, under the value ``text``."""

    code: str
    values: dict[str, Any]

    @property
    def stored(self) -> str:
        """As it is stored."""
        return note(self.code, **self.values)


def note(code: str, **values: str | int | list[str]) -> str:
    """A note as it is stored: compact JSON, the same for the same values. Long words are cut."""
    bounded = {name: _bounded(value) for name, value in values.items()}
    return json.dumps({"code": code, **bounded}, ensure_ascii=False, separators=(",", ":"))


def read_note(text: str) -> Note:
    """Read a stored note; any other text is taken as it is."""
    if text.startswith('{"code":'):
        try:
            values = json.loads(text)
        except ValueError:
            return Note("words", {"text": text})
        return Note(values.pop("code"), values)
    return Note("words", {"text": text})


def bank_says(errors: tuple[str, ...] | list[str] | None, status: str) -> str:
    """Why a transfer moved no money: the bank's words, or else its status."""
    return (
        note("bank_says", words=list(dict.fromkeys(errors)))
        if errors
        else note("bank_reports", status=status)
    )


def note_of(error: BankError) -> str:
    """Why a call to the bank did not end in an answer that we can use."""
    match error:
        case Rejected():
            codes = [refusal.code for refusal in error.refusals]
            return note("rejected", words=[str(refusal) for refusal in error.refusals], codes=codes)
        case Throttled():
            return note("throttled")
        case NotSent():
            return note("not_sent", words=str(error))
        case Unclear(status=int(status)):
            return note("bank_status", status=status)
        case _:
            return note("no_answer", words=str(error))


def clock_step(host: str, seconds: float) -> str:
    """That the clock of a machine was set, by ``seconds`` (below 0: back)."""
    code = "clock_set_back" if seconds < 0 else "clock_set_forward"
    return note(code, host=host, seconds=round(abs(seconds)))


def _bounded(value: str | int | list[str]) -> str | int | list[str]:
    if isinstance(value, str):
        is_note = value.startswith('{"code":')  # whose own words are bounded
        return value if is_note or len(value) <= WORDS_LENGTH_MAX else f"{value[:WORDS_LENGTH_MAX]}…"
    if isinstance(value, list):
        return [str(_bounded(each)) for each in value[:PARTS_MAX]]
    return value
