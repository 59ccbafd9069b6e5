"""Logs: one JSON line a fact, on standard output.

Private keys, tokens, passwords and full tax ids are masked on the way out, wherever they are in a value. A line that
cannot be written (full disk, closed pipe) is lost, and never interrupts the work that it reports.
"""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from payments.tax_id import mask_tax_ids

# They log a line for every job and every request; their warnings still come through.
_TALKATIVE = ("apscheduler", "uvicorn.access")

# Both log addresses of requests at the level debug, and the URL of an alert is a secret.
_INDISCREET = ("urllib3.connectionpool", "apprise")


def configure_logging(level: str, format: str, process: str) -> None:
    """Send every log line of this process to standard output.

    ``level`` and ``format`` are those of the settings; ``process`` (web, worker) is on every line. Lines of libraries
    get the event ``<library>.logged`` and their text as ``message``. Loggers are cached, so call it once, before the
    first line. Start uvicorn with ``log_config=None``, or it sets up its own.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def add_process(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        line["process"] = process
        return line

    common: list[Processor] = [
        structlog.processors.format_exc_info,  # before redact, because a traceback may quote a secret
        redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
        *(_json_ending() if format == "json" else _console_ending()),
    ]
    structlog.configure(
        processors=common,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=_Stdout()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Stdout())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                _name_library_event,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *common,
            ]
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(threshold if level == "debug" else logging.WARNING)
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.CRITICAL)


# --- below: how a line is written ---


class _Stdout:
    """Standard output as it is at the moment of each line, which never raises.

    Money is sent and recorded around these lines, and a full disk or a closed pipe must not interrupt that.
    """

    def write(self, text: str) -> int:
        try:
            return sys.stdout.write(text)
        except UnicodeEncodeError:
            return self.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError):  # ValueError: it was closed
            return 0

    def flush(self) -> None:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            return


def _name_library_event(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Keep ``event`` a small vocabulary: the free text of a library goes to ``message``."""
    record: logging.LogRecord = line["_record"]
    line["message"] = line["event"]
    line["logger"] = record.name
    line["event"] = f"{record.name.partition('.')[0]}.logged"
    return line


def _json_ending() -> list[Processor]:
    return [_in_reading_order, structlog.processors.JSONRenderer(serializer=_to_json)]


def _in_reading_order(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    first: EventDict = {name: line.pop(name, None) for name in ("timestamp", "level", "event", "process")}
    return {**first, **line}


def _to_json(line: EventDict, **_: object) -> str:
    return msgspec.json.encode(line, enc_hook=repr).decode()


def _console_ending() -> list[Processor]:
    # Plain tracebacks, because the pretty ones print local variables, keys among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=plain)]


# --- below: masking ---

MASK = "[masked]"

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:token|password|secret|authorization|cookie|private_?key|key_pem)s?$", re.IGNORECASE
)
_TAX_ID_NAME = re.compile(r"(?:^|_)(?:tax_?ids?|cpf|cnpj)$", re.IGNORECASE)

# One quick search decides whether a text can hold a secret, which nearly none can.
_SUSPECT = re.compile(r"PRIVATE KEY|bearer|basic |://|token|passw|secret", re.IGNORECASE)
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Up to its end, or to the end of the text when it was cut short.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(://[^\s:/@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"((?:token|passw(?:or)?d|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+", re.I), rf"\1{MASK}"),
)


def redact(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Mask private keys, tokens, passwords and tax ids in every value of a line, however deep.

    In a text, a CPF or CNPJ keeps its middle digits (see tax_id.py). An unformatted one in a field named for it
    (``tax_id``, ``cpf``, ``cnpj``) is masked whole.
    """
    for name, value in line.items():
        line[name] = _masked(name, value)
    return line


@lru_cache(maxsize=1024)
def _is_named_for_a_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


@lru_cache(maxsize=1024)
def _is_named_for_a_tax_id(name: str) -> bool:
    return _TAX_ID_NAME.search(name) is not None


def _masked(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return MASK if _is_named_for_a_tax_id(name) else value
    if isinstance(value, Mapping):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(name, item) for item in value]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if text and _is_named_for_a_secret(name):
        return MASK
    masked = masked_text(text)
    return MASK if masked == text and _is_named_for_a_tax_id(name) else masked


def masked_text(text: str) -> str:
    """Return the text with private keys, tokens, passwords and tax ids masked."""
    if _SUSPECT.search(text):
        for pattern, mask in _MASKS:
            text = pattern.sub(mask, text)
    return mask_tax_ids(text)
