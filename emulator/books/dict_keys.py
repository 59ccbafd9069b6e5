"""Pix keys: the workspace's own, and believable answers for all others.

The central bank's directory is not here: any other well-formed key resolves to an invented person or
company, the same one each time. It never says that a real key exists.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import uuid
from datetime import datetime

from emulator.books.formats import tax_id_text
from emulator.books.institutions import INSTITUTIONS, name_of
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Documented.
TYPES = ("cpf", "cnpj", "phone", "email", "evp")
STATUSES = ("created", "registered", "canceled", "failed")

_FORMS = (
    ("email", r"[^@\s]{1,64}@[^@\s]{1,200}\.[A-Za-z]{2,}"),
    ("phone", r"\+55\d{10,11}"),
    ("evp", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
)
_FIRST = ("Ana", "Bruno", "Carla", "Diego", "Elisa", "Fábio", "Gilda", "Heitor")
_LAST = ("Araújo", "Brito", "Campos", "Dias", "Esteves", "Freitas", "Gomes", "Lima")


class DictKeys:
    """The keys that the workspace owns."""

    def __init__(self, seed: int, opened_at: datetime) -> None:
        self._seed = seed
        self.rows = Table("dict-key")
        # Documented: a new workspace is given a random (evp) key.
        own = str(uuid.UUID(int=random.Random(f"{seed}:dict-key").getrandbits(128), version=4))
        owner = {
            "name": "Emulated Workspace S.A.",
            "taxId": "20.018.183/0001-80",
            "ownerType": "legalPerson",
            "bankName": name_of("20018183"),
            "ispb": "20018183",
            **_account(own),
            "accountType": "payment",
        }
        self.rows.add({"id": own, "type": "evp", "status": "registered", **owner}, opened_at)

    def get(self, key: str) -> Row:
        """Whose key this is, or the bank's refusal of a text that is none."""
        own = self.rows.get(key)
        if own is not None:
            return own
        kind = _kind_of(key)
        # Observed in the official tests: the code, for "0". Guess: an e-mail with "unknown" in it has no
        # owner, so that a client can see that case too.
        if kind is None or "unknown" in key:
            raise Refusal.of("invalidPixKey", f"{key[:100]} is not a registered Pix key")
        return self._invented_key(key, kind)

    def _invented_key(self, key: str, kind: str) -> Row:
        chance = random.Random(f"{self._seed}:dict-key:{key}")
        is_company = kind == "cnpj"
        person = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
        institution = chance.choice(INSTITUTIONS)
        middle = f"{chance.randrange(10**6):06d}"
        return {
            "id": tax_id_text(key) if kind in ("cpf", "cnpj") else key,
            "type": kind,
            "name": f"{person} Ltda." if is_company else person,
            # Documented: a CNPJ is shown whole and a CPF masked.
            "taxId": tax_id_text(key) if is_company else f"***.{middle[:3]}.{middle[3:]}-**",
            "ownerType": "legalPerson" if is_company else "naturalPerson",
            "bankName": institution["displayName"],
            "ispb": institution["spiCode"],
            **_account(key),
            "accountType": chance.choice(("checking", "payment", "savings")),
            "status": "registered",
        }


def _kind_of(key: str) -> str | None:
    for kind, form in _FORMS:
        if re.fullmatch(form, key, re.ASCII if kind == "phone" else 0):
            return kind
    try:
        return "cpf" if len(tax_id_text(key)) == 14 else "cnpj"
    except ValueError:
        return None


def _account(key: str) -> dict[str, str]:
    # Documented: branch and account are encrypted. Here they only look so.
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return {
        "branchCode": base64.b64encode(digest[:12]).decode(),
        "accountNumber": base64.b64encode(digest[12:30]).decode(),
    }
