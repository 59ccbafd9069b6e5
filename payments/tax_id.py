"""Masks Brazilian tax ids (CPF of a person, CNPJ of a company) for pages and logs. Pure.

Formatted ones are recognised by their shape and keep their middle digits, which is enough to tell two payers apart;
unformatted ones are recognised by the name in front of them.
"""

import re

# One quick search decides whether a text can hold anything to mask, which nearly none can.
_SUSPECT = re.compile(r"\d[-.]\d\d|/[0-9A-Z]{4}-\d\d|tax_?id|cpf|cnpj", re.IGNORECASE)

_CPF = re.compile(r"(?<!\d)\d{3}\.(\d{3}\.\d{3})-\d{2}(?!\d)")
_CNPJ = re.compile(r"(?<![0-9A-Z])[0-9A-Z]{2}\.([0-9A-Z]{3}\.[0-9A-Z]{3})/[0-9A-Z]{4}-\d{2}(?!\d)")
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


def mask_tax_id(tax_id: str) -> str:
    """One tax id, masked: ``***.456.789-**`` or ``**.345.678/****-**``; anything else becomes ``***``."""
    signs = "".join(filter(str.isalnum, tax_id)).upper()
    if len(signs) == _CPF_DIGITS:
        return f"***.{signs[3:6]}.{signs[6:9]}-**"
    if len(signs) == _CNPJ_SIGNS:
        return f"**.{signs[2:5]}.{signs[5:8]}/****-**"
    return "***"


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
