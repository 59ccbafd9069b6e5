"""Reads ops/alerts.yml: the small part of YAML that it uses, line by line, refusing anything else."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).parents[2] / "ops" / "alerts.yml"
_LINE = re.compile(r"( *)(- )?([a-z_]+):(?: (.*))?")


@dataclass
class Rule:
    """One alert."""

    alert: str
    expr: str = ""
    wait: str = "0s"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def read_rules() -> list[Rule]:
    """Every alert of the file, in order."""
    rules: list[Rule] = []
    part: dict[str, str] = {}
    for number, line in enumerate(FILE.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match, f"line {number} is not a plain key and value: {line}"
        indent, _, key, raw = match.groups()
        value = _scalar(raw or "", number)
        if key == "alert":
            rules.append(Rule(value))
        elif len(indent) == 8 and key == "expr":
            rules[-1].expr = value
        elif len(indent) == 8 and key == "for":
            rules[-1].wait = value
        elif len(indent) == 8:
            assert not value, f"line {number}: {line}"
            assert key in ("labels", "annotations"), f"line {number}: {line}"
            part = getattr(rules[-1], key)
        elif len(indent) == 10:
            part[key] = value
        else:
            assert key in ("groups", "name", "rules"), f"line {number}: {line}"
    return rules


def _scalar(raw: str, number: int) -> str:
    if raw.startswith('"'):
        text: str = json.loads(raw)
        return text
    # What YAML would read otherwise than it stands there.
    assert not re.match(r"[&*!|>%@`'{\[]", raw), f"line {number} needs quotes"
    assert not re.search(r": | #", raw), f"line {number} needs quotes"
    return raw
