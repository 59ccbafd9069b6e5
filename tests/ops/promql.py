"""Which metrics, labels and label values a PromQL expression names. Not a parser: enough for expressions like ours."""

import re
from dataclasses import dataclass

_WORDS = {
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf'\s*(?:(?P<braces>\{{(?:[^}}"]|{_STRING})*\}})|(?P<number>\d[\w.+]*)|(?P<name>[a-zA-Z_:][\w:]*)|(?P<sign>.))'
)
_MATCHER = re.compile(rf"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({_STRING})\s*(?:,|$)")
_RANGE = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Matcher:
    """One condition inside braces."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selector:
    """One metric's name and the conditions on it."""

    name: str
    matchers: tuple[Matcher, ...]


def selectors(expression: str) -> list[Selector]:
    """Every metric that the expression selects."""
    bare = _GROUPING.sub(" ", _RANGE.sub(" ", expression))
    tokens = [(match.lastgroup, match[match.lastgroup or 0]) for match in _TOKEN.finditer(bare.strip())]
    found = []
    for (kind, text), (next_kind, next_text) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        if kind == "name" and text not in _WORDS and next_text != "(":
            found.append(Selector(text, _matchers(next_text) if next_kind == "braces" else ()))
    return found


def grouping_labels(expression: str) -> set[str]:
    """The labels in by (...), on (...) and their like."""
    inside = ",".join(_GROUPING.findall(expression))
    return {label.strip() for label in inside.split(",") if label.strip()}


def _matchers(braces: str) -> tuple[Matcher, ...]:
    inside = braces[1:-1]
    assert not _MATCHER.sub("", inside).strip(), f"cannot read {braces}"
    return tuple(Matcher(label, sign, text[1:-1]) for label, sign, text in _MATCHER.findall(inside))
