"""How the bank writes things: times, days, tax IDs, ids and BR codes.

Pure functions and one source of ids. It accepts what the bank accepts and writes what the bank writes;
nothing here decides whether a request is allowed.
"""

from __future__ import annotations

import binascii
import random
import re
from datetime import UTC, date, datetime, timedelta, timezone

# Observed: `after` and `before` are days of São Paulo (RG). Brazil has had no summer time since 2019.
SAO_PAULO = timezone(timedelta(hours=-3))

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def time_text(at: datetime) -> str:
    """The bank's text of an instant, always with six decimals and +00:00."""
    # Observed; and the Python SDK raises on `Z` or any other offset (starkcore 0.8.0 utils/checks.py).
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def parse_time(text: str) -> datetime:
    """Read an instant as clients send it; ValueError when it is none, or has no offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return at.astimezone(UTC)


def is_date(text: str) -> bool:
    """Whether the text is a plain calendar date."""
    return _DATE.fullmatch(text) is not None


def day_start(day: date) -> datetime:
    """The first instant of a São Paulo day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=SAO_PAULO).astimezone(UTC)


def day_end(day: date) -> datetime:
    """The first instant after a São Paulo day, in UTC."""
    return day_start(day) + timedelta(days=1)


def day_of(at: datetime) -> date:
    """The São Paulo day of an instant."""
    return at.astimezone(SAO_PAULO).date()


def tax_id_text(text: str) -> str:
    """A CPF or CNPJ with its punctuation; ValueError when length or check digits are wrong."""
    # Observed: it comes back formatted whichever way it was sent. Documented: the checksum is enforced.
    if re.fullmatch(r"\d{11}|\d{3}\.\d{3}\.\d{3}-\d{2}", text, re.ASCII):
        digits = re.sub(r"\D", "", text)
        if _check_digits_hold(digits, _CPF_WEIGHTS):
            return f"{digits[:3]}.{digits[3:6]}.{digits[6:9]}-{digits[9:]}"
    # Guess: letters in either case, in the first twelve places, as Receita Federal has issued them since July 2026.
    elif re.fullmatch(
        r"[0-9A-Za-z]{12}\d\d|[0-9A-Za-z]{2}(\.[0-9A-Za-z]{3}){2}/[0-9A-Za-z]{4}-\d\d", text, re.ASCII
    ):
        signs = re.sub("[^0-9A-Z]", "", text.upper())
        if _check_digits_hold(signs, _CNPJ_WEIGHTS):
            return f"{signs[:2]}.{signs[2:5]}.{signs[5:8]}/{signs[8:12]}-{signs[12:]}"
    raise ValueError("not a CPF or CNPJ")


def reais(centavos: int) -> str:
    """An amount as people in Brazil write it."""
    sign, digits = "-" if centavos < 0 else "", f"{abs(centavos) // 100:,}".replace(",", ".")
    return f"{sign}R$ {digits},{abs(centavos) % 100:02}"


# Of the digits before each of the two check digits, from the right.
_CPF_WEIGHTS = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def _check_digits_hold(signs: str, weights: tuple[int, ...]) -> bool:
    values = [ord(sign) - ord("0") for sign in signs]  # A is 17, says Receita Federal
    for length in (len(values) - 2, len(values) - 1):
        weighed = zip(values[:length], weights[-length:], strict=True)
        rest = sum(value * weight for value, weight in weighed) % 11
        if values[length] != (0 if rest < 2 else 11 - rest):
            return False
    return len(set(signs)) > 1


class Ids:
    """The one source of ids: the same seed gives the same ids in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}:ids")
        self._used: set[int] = set()

    def entity(self) -> str:
        """An id of 16 digits, never given twice."""
        # Observed: strings of 16 digits in the manner of Datastore keys.
        while True:
            number = self._random.randrange(4_503_599_627_370_496, 6_755_399_441_055_744)
            if number not in self._used:
                self._used.add(number)
                return str(number)

    def transaction(self) -> str:
        """An id of a ledger line."""
        # Observed: 32 digits today, 16 digits in 2020-22.
        return str(self._random.randrange(10**31, 10**32))

    def uuid(self) -> str:
        """32 hexadecimal digits, as in links and BR codes."""
        return f"{self._random.getrandbits(128):032x}"

    def end_to_end(self, now: datetime) -> str:
        """The central bank's id of a Pix payment."""
        # Observed: E, eight digits of ISPB, minute, eleven characters; it is added lower-cased to the tags.
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return f"E20018183{now:%Y%m%d%H%M}" + "".join(self._random.choices(letters, k=11))


def brcode(uuid: str) -> str:
    """The Pix copy-and-paste text of an invoice, with its checksum."""
    # Observed: three recordings of the sandbox check out against this pattern.
    text = (
        "00020101021226890014br.gov.bcb.pix2567brcode-h.sandbox.starkinfra.com/v2/"
        f"{uuid}5204000053039865802BR5925Stark Bank S.A. - Institu6009Sao Paulo62070503***6304"
    )
    return f"{text}{binascii.crc_hqx(text.encode('ascii'), 0xFFFF):04X}"
