"""The description of both APIs as an OpenAPI 3.1 document, made from the tables that check requests.

Nothing is described here twice: paths, parameters, bodies and answers come from the operations of /v2 and the calls of
the management API. Only the words around them are written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from emulator.books.fields import Schema
from emulator.management.endpoint import Call
from emulator.protocol import routes
from emulator.protocol.entities import ENTITIES, reference

_ABOUT = """A small Stark Bank on this machine. It moves no money.

`/v2` speaks the bank's protocol. Every call but `GET /v2/public-key` and an invoice's public PDF is signed with three
headers: `Access-Id` (`project/<id>`), `Access-Time` (seconds since 1970) and `Access-Signature` (base64 of the DER
ECDSA signature on secp256k1 and SHA-256 over `<Access-Id>:<Access-Time>:<body>`). Success is exactly 200 and a refusal
exactly 400; a client sees no other status unless a fault or a rate limit is switched on.

`/emulator` is the management API: what no bank lets its customers do. It is not signed and answers this machine alone.
"""
_HEADERS = {
    "accessId": ("Access-Id", "`project/<id>` or `organization/<id>`: who calls."),
    "accessTime": ("Access-Time", "Seconds since 1970, as signed; a fraction is allowed."),
    "accessSignature": (
        "Access-Signature",
        "Base64 of the DER ECDSA signature (secp256k1, SHA-256) over `<Access-Id>:<Access-Time>:<body>`, with the "
        "bytes of the body as sent and empty for a call without one.",
    ),
}
_SIGNED: list[dict[str, list[str]]] = [{name: [] for name in _HEADERS}]


def document(calls: Iterable[Call], *, origin: str = "/") -> dict[str, Any]:
    """The whole document; `calls` are those of the management API."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in routes.ROUTES.items():
        paths.setdefault(f"/v2/{path}", {})[method.lower()] = _operation(method, path, operation)
    for call in calls:
        paths.setdefault(f"/emulator/{call.path}", {})[call.method.lower()] = _call(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stark Bank emulator", "version": "2", "description": _ABOUT},
        "servers": [{"url": origin}],
        "paths": paths,
        "components": {
            "schemas": ENTITIES,
            "securitySchemes": {
                name: {"type": "apiKey", "in": "header", "name": header, "description": words}
                for name, (header, words) in _HEADERS.items()
            },
        },
    }


def _operation(method: str, path: str, operation: routes.Operation) -> dict[str, Any]:
    """One call of /v2."""
    words = "The language of error messages; Portuguese for the few texts of the bank that are known."
    language = {
        "in": "header", "name": "Accept-Language", "description": words, "schema": {"enum": ["en-US", "pt-BR"]},
    }  # fmt: skip
    return {
        "operationId": _id(method, f"v2/{path}"),
        "tags": [path.split("/")[0]],
        "summary": operation.words,
        "parameters": [
            *_path_parameters(path),
            *_query_parameters({name: field.schema for name, field in operation.parameters.items()}),
            language,
        ],
        **_request_body(operation.body),
        "responses": {
            "200": _answer(operation.media_type, operation.answer),
            "400": _refusal("The bank's refusal."),
        },
        "security": [{}, *_SIGNED] if operation.is_public else _SIGNED,
    }


def _call(call: Call) -> dict[str, Any]:
    """One call of the management API."""
    body = None if call.method == "GET" or not call.body.get("properties") else call.body
    refusals = {
        "400": _refusal("What is wrong with the request."),
        "403": _refusal("A page of another site asked."),
    }
    not_ready = {"503": _answer("application/json", {"status": {"type": "string"}})}
    return {
        "operationId": _id(call.method, f"emulator/{call.path}"),
        "tags": ["emulator"],
        "summary": call.words,
        "parameters": [
            *_path_parameters(call.path),
            *_query_parameters(call.query),
        ],
        **_request_body(body),
        "responses": {
            "200": _answer("application/json", call.answer),
            **refusals,
            **(not_ready if call.path == "health/ready" else {}),
        },
        "security": [],
    }


def _id(method: str, path: str) -> str:
    """The name of a call for generated clients, such as `getV2InvoiceId`."""
    return method.lower() + "".join(word.capitalize() for word in re.findall(r"[a-z0-9]+", path))


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1}
    return [
        {"in": "path", "name": name, "required": True, "schema": schema}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(parameters: Mapping[str, Schema]) -> list[dict[str, Any]]:
    return [
        {
            "in": "query",
            "name": name,
            "schema": schema,
            **({"description": schema["description"]} if "description" in schema else {}),
            # Lists travel comma-joined.
            **({"style": "form", "explode": False} if schema.get("type") == "array" else {}),
        }
        for name, schema in parameters.items()
    ]


def _request_body(schema: Schema | None) -> dict[str, Any]:
    if schema is None:
        return {}
    content = {"application/json": {"schema": schema, "example": _example(schema)}}
    return {"requestBody": {"required": bool(schema.get("required")), "content": content}}


def _example(schema: Schema) -> Any:
    """The shortest value that fits: of an object what is required, of a list one element."""
    if schema.get("type") == "object":
        return {name: _example(schema["properties"][name]) for name in schema.get("required", ())}
    for values in (schema.get("examples"), schema.get("enum")):
        if values:
            return values[0]
    if "const" in schema:
        return schema["const"]
    return [_example(schema["items"])] if "items" in schema else None


def _answer(media_type: str, properties: Mapping[str, Schema]) -> dict[str, Any]:
    schema: Schema = {"type": "string", "contentMediaType": media_type}
    if media_type == "application/json":
        schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {"description": "Done.", "content": {media_type: {"schema": schema}}}


def _refusal(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": reference("Errors")}}}
