"""Reads ``.env`` in the folder that the process is in, by python-dotenv's own grammar.

A line that cannot be read is an error and not passed over, single quotes keep ``${X}`` as it is, and a pipe, which
gives its text once, is read once.
"""

import difflib
import io
import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from dotenv.main import resolve_variables
from dotenv.parser import parse_stream

from payments.errors import SettingsError

_ENV_FILE = Path(".env")

# Settings of earlier versions.
_REPLACED = {"ALERT_WEBHOOK_URL": "ALERT_URLS", "ALERT_WEBHOOK_SECRET": "ALERT_URLS"}

# HOST and PORT resemble too many names of other programs.
_MISSPELT_LENGTH_MIN = 7

# One or two letters wrong, missing or too many in a name of ordinary length; DATABASE_URI has a likeness of 0.92.
_MISSPELT_LIKENESS = 0.88


def read_env_file() -> Mapping[str, str]:
    """The names and values of ``.env``; none where there is no such file. Raises SettingsError."""
    try:
        text = _read_pipe(_ENV_FILE.resolve()) if _ENV_FILE.is_fifo() else _ENV_FILE.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        reason = error.strerror
        raise SettingsError(f".env cannot be read ({reason}): make it readable, or remove it") from None
    return _read(text)


def is_read_once() -> bool:
    """Whether ``.env`` is a pipe, which a second process would wait for in vain."""
    return _ENV_FILE.is_fifo()


def misspelt(known: Collection[str]) -> dict[str, str]:
    """Names in ``.env`` and the environment that are almost ``known`` ones, or were, with the one that is meant."""
    written = [*read_env_file(), *os.environ]
    found = {name: _REPLACED[name.upper()] for name in written if name.upper() in _REPLACED}
    for name in written:
        if name.upper() not in (*known, *_REPLACED) and len(name) >= _MISSPELT_LENGTH_MIN:
            for like in difflib.get_close_matches(name.upper(), known, 1, _MISSPELT_LIKENESS):
                found[name] = like
    return found


@cache
def _read_pipe(path: Path) -> str:
    return path.read_text("utf-8")


def _read(text: str) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise SettingsError(
                f".env cannot be read at line {binding.original.line}: write NAME=value, and put a value of several "
                "lines in double quotes"
            )
        if binding.key is None or binding.value is None:
            continue
        is_literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
        resolved = resolve_variables([*values.items(), (binding.key, binding.value)], override=True)
        values[binding.key] = binding.value if is_literal else str(resolved[binding.key])
    return MappingProxyType(values)
