"""What the entities of /v2 look like in answers, as JSON Schemas by name.

Every key that a row has is here and no other; a test compares them with the rows of a populated bank. `fields`
can leave any key out, so none is required.
"""

from __future__ import annotations

from emulator.behaviour import events
from emulator.books import checks, deposits, dict_keys, invoices, split_profiles, transfers, workspaces
from emulator.books.fields import DATE_OR_TIME, Fields, Schema

_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "description": "Digits."}
_TAX_ID: Schema = {"type": "string", "description": "With punctuation.", "examples": ["012.345.678-90"]}
_CENTAVOS: Schema = {"type": "integer", "description": "Centavos."}
_TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "description": "UTC, with six decimals and `+00:00`.",
}
_TEXTS: Schema = {"type": "array", "items": _TEXT}


def reference(entity: str) -> Schema:
    """A reference to an entity of the description."""
    return {"$ref": f"#/components/schemas/{entity}"}


def _one_of(names: tuple[str, ...]) -> Schema:
    return {"enum": list(names)}


def _object(*texts: str, **others: Schema) -> Schema:
    """An object with these texts and these other keys."""
    properties = {**dict.fromkeys(texts, _TEXT), **others}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _entity(*texts: str, **others: Schema) -> Schema:
    """An object with an id."""
    return _object(*texts, id=_ID, **others)


def _sent(fields: Fields) -> dict[str, Schema]:
    """The fields of a request as they come back: checked and, except tax ids, in the form in which they were sent."""
    return {name: _TAX_ID if name == "taxId" else field.schema for name, field in fields.items()}


def _log(kind: str, types: tuple[str, ...]) -> Schema:
    entity = {kind: reference(kind.capitalize())}
    return _entity(created=_TIME, errors=_TEXTS, type=_one_of(types), **entity)


_MADE: dict[str, Schema] = {"created": _TIME, "updated": _TIME, "fee": _CENTAVOS, "transactionIds": _TEXTS}

ENTITIES: dict[str, Schema] = {
    "Invoice": _entity(
        "brcode", "link", "pdf",
        **{**_sent(checks.INVOICE), "due": DATE_OR_TIME, "amount": _CENTAVOS}, **_MADE,
        status=_one_of(invoices.STATUSES), nominalAmount=_CENTAVOS, fineAmount=_CENTAVOS,
        interestAmount=_CENTAVOS, discountAmount=_CENTAVOS,
    ),
    "InvoiceLog": _log("invoice", invoices.LOG_TYPES),
    "Payment": _object(
        "name", "bankCode", "branchCode", "accountNumber", "accountType", "endToEndId", "method",
        amount=_CENTAVOS, taxId=_TAX_ID,
    ),
    "Transfer": _entity(
        **{**_sent(checks.TRANSFER), "scheduled": _TIME}, **_MADE,
        status=_one_of(transfers.STATUSES), metadata={"type": "object"},
    ),
    "TransferLog": _log("transfer", transfers.LOG_TYPES),
    "Deposit": _entity(**{**_sent(deposits.DEPOSIT), "amount": _CENTAVOS}, **_MADE, status=_one_of(deposits.STATUSES)),
    "DepositLog": _log("deposit", deposits.LOG_TYPES),
    "Webhook": _entity(**_sent(checks.WEBHOOK)),
    "Event": _entity(
        created=_TIME, isDelivered={"type": "boolean"}, subscription=_one_of(checks.SUBSCRIPTIONS), workspaceId=_ID,
        log={"anyOf": [reference(f"{kind}Log") for kind in ("Invoice", "Transfer", "Deposit")]},
    ),
    "Attempt": _entity(
        "message", created=_TIME, eventId=_ID, webhookId=_ID,
        code=_one_of((events.BAD_STATUS, events.BAD_CONNECTION, events.TIMEOUT)),
    ),
    "Balance": _entity("currency", amount=_CENTAVOS, updated=_TIME),
    "Transaction": _entity(
        "description", "externalId", "source", amount=_CENTAVOS, fee=_CENTAVOS, balance=_CENTAVOS, created=_TIME,
        tags=_TEXTS, receiverId=_ID, senderId=_ID,
    ),
    "DictKey": _entity(
        "name", "taxId", "ownerType", "bankName", "ispb", "branchCode", "accountNumber", "accountType",
        type=_one_of(dict_keys.TYPES), status=_one_of(dict_keys.STATUSES),
    ),
    "Workspace": _entity(
        "username", "name", "pictureUrl", allowedTaxIds=_TEXTS, status=_one_of(workspaces.STATUSES),
        organizationId=_ID, created=_TIME,
    ),
    "SplitProfile": _entity(**_sent(split_profiles.PROFILE), status=_one_of(split_profiles.STATUSES), created=_TIME,
                            updated=_TIME),
    "Institution": _object("displayName", "name", "spiCode", "strCode"),
    "PublicKey": _object("content", created=_TIME),
    # Documented: OpenAPI components.schemas.Errors.
    "Errors": {
        "type": "object",
        "properties": {
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"code": _TEXT, "message": _TEXT},
                    "required": ["code", "message"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["errors"],
        "additionalProperties": False,
    },
}  # fmt: skip
