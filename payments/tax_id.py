"""Brazilian tax ids (CPF of a person, CNPJ of a company): checked, masked for pages and logs, hashed for search. Pure.

Formatted ones are recognised by their shape and keep their middle digits, which is enough to tell two payers apart;
unformatted ones are recognised by the name in front of them.
"""

import hmac
import re
from collections.abc import Sequence

# One quick search decides whether a text can hold anything to mask, which nearly none can.
_SUSPECT = re.compile(r"\d[-.]\d\d|/[0-9A-Z]{4}-\d\d|tax_?id|cpf|cnpj", re.IGNORECASE)

_CPF = re.compile(r"(?<!\d)\d{3}\.(\d{3}\.\d{3})-\d{2}(?!\d)")
_CNPJ = re.compile(
    r"(?<![0-9A-Z])[0-9A-Z]{2}\.([0-9A-Z]{3}\.[0-9A-Z]{3})/[0-9A-Z]{4}-\d{2}(?!\d)", re.IGNORECASE
)
_NAMED = re.compile(
    r"((?:tax_?id|cpf|cnpj)[\"']?\s*[=:]?\s*[\"']?)([0-9A-Z]{12}\d{2}|\d{11})(?!\d)", re.IGNORECASE
)

# Bare or with their usual signs, named or not; since July 2026 a CNPJ may have letters. Ids of the bank have 16 digits.
_ANY = re.compile(
    r"(?<![0-9A-Za-z])([0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}"
    r"|[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?[0-9]{2})(?![0-9A-Za-z])"
)

_CPF_DIGITS = 11
_CNPJ_SIGNS = 14


# Receita Federal: each check digit is 11 minus the weighted sum modulo 11, or 0 where that is 10 or 11. A letter counts
# as its ASCII code minus 48, as a digit does (Instrução Normativa RFB 2.229/2024).
_CPF_WEIGHTS = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def cpf(nine_digits: str) -> str:
    """A CPF with its check digits and its punctuation."""
    signs = _with_check_digits(nine_digits, _CPF_WEIGHTS)
    return f"{signs[:3]}.{signs[3:6]}.{signs[6:9]}-{signs[9:]}"


def cnpj(twelve_signs: str) -> str:
    """A CNPJ with its check digits and its punctuation, from digits and capital letters."""
    signs = _with_check_digits(twelve_signs, _CNPJ_WEIGHTS)
    return f"{signs[:2]}.{signs[2:5]}.{signs[5:8]}/{signs[8:12]}-{signs[12:]}"


def has_right_check_digits(tax_id: str) -> bool:
    """Whether the last two digits of a whole tax id are those of the others; the same digit eleven times is no CPF."""
    signs = _signs_of(tax_id)
    whole = cpf(signs[:-2]) if len(signs) == _CPF_DIGITS else cnpj(signs[:-2])
    return _signs_of(whole) == signs and len(set(signs)) > 1


def _with_check_digits(signs: str, weights: Sequence[int]) -> str:
    for _ in range(2):
        values = [ord(sign) - 48 for sign in signs]
        total = sum(value * weight for value, weight in zip(values, weights[-len(values) :], strict=True))
        rest = 11 - total % 11
        signs += str(rest if rest < 10 else 0)
    return signs


def mask_tax_id(tax_id: str) -> str:
    """One tax id, masked: ``***.456.789-**`` or ``**.345.678/****-**``; anything else becomes ``***``."""
    signs = _signs_of(tax_id)
    if len(signs) == _CPF_DIGITS:
        return f"***.{signs[3:6]}.{signs[6:9]}-**"
    if len(signs) == _CNPJ_SIGNS:
        return f"**.{signs[2:5]}.{signs[5:8]}/****-**"
    return "***"


def read_tax_id(text: str) -> str | None:
    """The letters and digits of a whole tax id, with or without its punctuation; None for anything else."""
    return _signs_of(text) if _ANY.fullmatch(text.strip().upper()) else None


def hash_tax_id(key: bytes, tax_id: str) -> str | None:
    """A tax id as the database can be searched for it: HMAC-SHA-256 with a secret key, 32 hexadecimal digits.

    There are only a thousand million CPFs, so a hash without a key would hide none. None without a key.
    """
    return hmac.digest(key, _signs_of(tax_id).encode(), "sha256")[:16].hex() if key else None


def mask_tax_ids(text: str) -> str:
    """A text with every tax id in it masked."""
    if not _SUSPECT.search(text):
        return text
    text = _CPF.sub(r"***.\1-**", text)
    text = _CNPJ.sub(r"**.\1/****-**", text)
    return _NAMED.sub(lambda found: found[1] + mask_tax_id(found[2]), text)


def without_tax_ids(text: str) -> str:
    """A refusal of the bank without anything that may be a tax id, including bare numbers that nothing names."""
    return _ANY.sub("[tax id]", text)


def _signs_of(tax_id: str) -> str:
    return "".join(filter(str.isalnum, tax_id)).upper()
