"""What a request may hold, as tables: each field with its check and the JSON Schema that says the same.

Both come from one type (msgspec's), so the description of the API cannot differ from what is checked. A field
added to a table is accepted, checked and described.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from emulator.books.refusal import Refusal

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a request.

    `check` returns the value in the bank's own form or raises `Refusal`. Null means the same as nothing (read: SDKs
    drop null values), and both mean `default`.
    """

    check: Callable[[Any], Any]
    schema: Schema
    required: bool = False
    default: Any = None

    @property
    def needed(self) -> Field:
        """The same field where it must not be left out."""
        return replace(self, required=True)

    def such_as(self, example: Any) -> Field:
        """The same field with a value to try it with."""
        return replace(self, schema={**self.schema, "examples": [example]})

    def described(self, words: str) -> Field:
        """The same field with what it means, for people."""
        return replace(self, schema={**self.schema, "description": words})

    def defaulting(self, default: Any) -> Field:
        """The same field with what is meant when it is left out."""
        return replace(self, default=default)


Fields = Mapping[str, Field]
DATE_OR_TIME: Schema = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}


def read(element: Mapping[str, Any], what: str, fields: Fields, code: str = "invalidJson") -> dict[str, Any]:
    """The fields that were given, each in the bank's own form; unknown and missing ones are refused with `code`."""
    unknown = sorted(set(element) - set(fields))
    if unknown:
        raise Refusal.of(code, f"Unknown parameters in {what}: {', '.join(unknown)}")
    missing = [name for name, field in fields.items() if field.required and element.get(name) is None]
    if missing:
        raise Refusal.of(code, f"Missing parameters in {what}: {', '.join(missing)}")
    return {
        name: field.check(element[name]) for name, field in fields.items() if element.get(name) is not None
    }


def complete(given: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """What `read` returned, with the default of each field that was not given."""
    return {name: given.get(name, field.default) for name, field in fields.items()}


def object_schema(fields: Fields) -> Schema:
    """The JSON Schema of an object with these fields and no others."""
    properties = {name: field.schema if field.required else _or_null(field) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _or_null(field: Field) -> Schema:
    default = {} if field.default is None else {"default": field.default}
    return {"anyOf": [field.schema, {"type": "null"}], **default}


# --- kinds of fields --------------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


# A value that is checked elsewhere.
ANYTHING = Field(_same, {})


def typed(
    kind: Any, code: str, words: str, form: Callable[[Any], Any] = _same, schema: Schema | None = None
) -> Field:
    """A value of a type that msgspec knows, brought into the bank's form by `form`, which may raise ValueError.

    `schema` adds to the schema of the type what the type cannot say.
    """

    def check(value: Any) -> Any:
        try:
            return form(msgspec.convert(value, kind))
        except (msgspec.ValidationError, ValueError, OverflowError):
            raise Refusal.of(code, words) from None

    return Field(check, {**msgspec.json.schema(kind), **(schema or {})})


def whole(code: str, words: str, at_least: int, at_most: int) -> Field:
    """A whole number."""
    return typed(Annotated[int, Meta(ge=at_least, le=at_most)], code, words)


def flag(code: str, words: str) -> Field:
    """True or false."""
    return typed(bool, code, words)


def only_true(code: str, words: str) -> Field:
    """True, and nothing else."""

    def true(value: bool) -> bool:  # noqa: FBT001 - one of many that check one value
        if not value:
            raise ValueError(words)
        return value

    return typed(bool, code, words, true, {"const": True})


def one_of(names: tuple[str, ...], name: str, code: str, form: Callable[[str], str] = _same) -> Field:
    """One of some words."""
    return typed(Literal[names], code, f"{name} must be one of {', '.join(filter(None, names))}", form)


def some_of(names: tuple[str, ...], name: str, code: str) -> Field:
    """A list of one or more of some words, each once."""
    word: Any = Literal[names]
    words = f"{name} must be a list of one or more of {', '.join(names)}"
    kind = Annotated[list[word], Meta(min_length=1)]
    return typed(kind, code, words, lambda given: list(dict.fromkeys(given)))


def text(name: str, code: str, at_most: int, *, empty: bool = False) -> Field:
    """A text that is more than blanks, or with `empty` any."""
    if empty:
        words = f"{name} must be a text of at most {at_most} characters"
        return typed(Annotated[str, Meta(max_length=at_most)], code, words).defaulting("")
    words = f"{name} must be a text of 1 to {at_most} characters"
    return typed(Annotated[str, Meta(max_length=at_most, pattern=r"\S")], code, words)


def pattern(expression: str, code: str, words: str, at_most: int | None = None) -> Field:
    """A text that is wholly of a form."""
    # `$` alone would let a line break follow in Python.
    kind = Annotated[str, Meta(pattern=rf"^(?:{expression})$(?!\n)", max_length=at_most)]
    return typed(kind, code, words)


def objects(
    name: str, what: str, fields: Fields, at_most: int, code: str, keys_code: str = "invalidJson"
) -> Field:
    """A list of objects; `code` is for a list that is none or too long, `keys_code` for wrong keys in it."""

    def check(value: Any) -> list[dict[str, Any]]:
        elements = list_of_objects(value, name, at_most, code)
        return [complete(read(each, what, fields, keys_code), fields) for each in elements]

    return Field(check, _list_schema(object_schema(fields), at_most), default=[])


def rules(kinds: Fields) -> Field:
    """Rules, each with a value that fits its key; the emulator shows them back and does not act on them."""
    key = one_of(tuple(kinds), "the key of a rule", "invalidRule").needed

    def check(value: Any) -> list[dict[str, Any]]:
        elements = list_of_objects(value, "rules", 15, "invalidRule")
        found = [read(each, "rule", {"key": key, "value": ANYTHING.needed}) for each in elements]
        return [{"key": rule["key"], "value": kinds[rule["key"]].check(rule["value"])} for rule in found]

    choices = [
        object_schema({"key": Field(_same, {"const": name}).needed, "value": kind.needed})
        for name, kind in kinds.items()
    ]
    return Field(check, _list_schema({"anyOf": choices}, 15), default=[])


def list_of_objects(value: Any, name: str, at_most: int, code: str) -> list[dict[str, Any]]:
    """The value, when it is a list of at most so many objects."""
    if (
        not isinstance(value, list)
        or len(value) > at_most
        or not all(isinstance(each, dict) for each in value)
    ):
        raise Refusal.of(code, f"{name} must be a list of at most {at_most} objects")
    return value


def _list_schema(items: Schema, at_most: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": at_most}
