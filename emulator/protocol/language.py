"""Error messages in Portuguese, for a caller that sends `Accept-Language: pt-BR`; codes are the same in each language.

Documented: the header chooses the language. Unknown: the bank's Portuguese texts; no public recording shows one. So
only the English texts that are known to be the bank's are translated. Inferred: their translations. All other messages
are this emulator's own words and stay in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# How each text begins.
_PORTUGUESE = {
    "Missing parameters in ": "Parâmetros ausentes em ",
    "Unknown parameters in ": "Parâmetros desconhecidos em ",
    "Duplicated transfer": "Transferência duplicada",
    "Insufficient balance": "Saldo insuficiente",
    "Houston, we have a problem": "Houston, temos um problema",
}


def in_language(headers: Mapping[str, str], body: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """The body of a refusal in the language that the request asks for."""
    if not headers.get("accept-language", "").lower().startswith("pt"):
        return body
    return {
        "errors": [{**error, "message": _translated(error["message"])} for error in body["errors"]],
    }


def _translated(message: str) -> str:
    for english, portuguese in _PORTUGUESE.items():
        if message.startswith(english):
            return portuguese + message.removeprefix(english)
    return message
