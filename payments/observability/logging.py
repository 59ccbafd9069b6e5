"""What the processes say about themselves: one JSON line a fact. (The metrics are in metrics.py.)

Private keys, tokens, passwords and full tax ids are masked on the way out, wherever they stand in a value;
a line that cannot be written (full disk, closed pipe) is lost and never stops the work that it tells of.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from payments.tax_id import mask_tax_ids

# Their ordinary chatter is a line for every job and every request; what is wrong still comes through.
_TALKATIVE = ("apscheduler", "uvicorn.access")


# Writes the path of every request at the level debug, and of odd answers at warning; an alert hook's is a secret.
_TELLTALE = "urllib3.connectionpool"


def configure_logging(level: str, format: str, process: str) -> None:
    """Send every log line of this process to standard output.

    ``level`` and ``format`` are those of the settings; ``process`` (web, worker) is on every line. Lines of
    libraries get the event ``<library>.logged`` and their text as ``message``. Loggers are cached: call it
    once, before the first line. Start uvicorn with ``log_config=None``, or it sets up its own.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    _bulk.threshold = threshold
    _bulk.process = process if format == "json" else None
    said_by = _SaidBy(process)
    ending = _json_ending() if format == "json" else _console_ending()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *_common(said_by),
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=_Stdout()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Stdout())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, _name_library_event],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_common(said_by),
                *ending,
            ],
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(threshold if level == "debug" else logging.WARNING)
    logging.getLogger(_TELLTALE).setLevel(logging.ERROR)


def write_facts(event: str, level: str, facts: Iterable[Mapping[str, str | int | None]]) -> None:
    """Log many facts of one kind at once: the same lines as one by one, at a tenth of the cost.

    For ids, counts and our own words; a text that is no plain word or id is masked like any other.
    """
    if not _bulk.is_on(level):
        return
    if _bulk.process is None:
        for fact in facts:
            getattr(structlog.get_logger(), level)(event, **fact)
        return
    head = {**_stamp(None, level, {}), "level": level, "event": event, "process": _bulk.process}
    beginning = msgspec.json.encode(head)[:-1]
    facts = list(facts)
    lines = list(map(msgspec.json.encode, facts))
    if not _PLAIN_FACTS.match(b"".join(lines)):
        lines = [msgspec.json.encode(redact(None, level, dict(fact))) for fact in facts]
    out = _Stdout()
    out.write("".join(f"{beginning.decode()},{line[1:].decode()}\n" for line in lines))
    out.flush()


# Objects of nothing but plain words, ids, counts and null. Looked at once for all, for they nearly always are.
_PLAIN_FACTS = re.compile(rb'(?:\{(?:"\w+":(?:"[A-Za-z0-9_-]{1,96}"|-?[0-9]+|null),?)*\})*\Z')


@dataclass
class _Bulk:
    """How this process logs: set once, by configure_logging. ``process`` is None when lines are for people."""

    threshold: int = logging.INFO
    process: str | None = None

    def is_on(self, level: str) -> bool:
        return logging.getLevelNamesMapping()[level.upper()] >= self.threshold


_bulk = _Bulk()


# --- below: where lines go, and what is in every one of them ---


class _Stdout:
    """Standard output as it is at the moment of each line, which never raises.

    Money is sent and recorded around these lines: a full disk or a closed pipe must not interrupt that.
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


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


class _SaidBy:
    """Adds the process's name to every line."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        line["process"] = self._process
        return line


def _common(said_by: Processor) -> list[Processor]:
    return [
        _stamp,
        said_by,
        # Turned into text here, because a traceback may quote a secret too.
        structlog.processors.format_exc_info,
        redact,
    ]


def _json_ending() -> list[Processor]:
    return [_in_reading_order, structlog.processors.JSONRenderer(serializer=_to_json)]


def _console_ending() -> list[Processor]:
    # Plain tracebacks: the pretty ones print the local variables, keys among them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _in_reading_order(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    first: EventDict = {name: line.pop(name, None) for name in ("timestamp", "level", "event", "process")}
    first.update(line)
    return first


def _to_json(line: EventDict, **_: object) -> str:
    return msgspec.json.encode(line, enc_hook=repr).decode()


def _name_library_event(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Keep ``event`` a small vocabulary: the free text of a library goes to ``message``."""
    record: logging.LogRecord = line["_record"]
    line["message"] = line["event"]
    line["logger"] = record.name
    line["event"] = f"{record.name.partition('.')[0]}.logged"
    return line


# --- below: masking ---

MASK = "[masked]"

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:token|password|secret|authorization|cookie|private_?key|key_pem)s?$", re.IGNORECASE
)
_TAX_ID_NAME = re.compile(r"(?:^|_)(?:tax_?ids?|cpf|cnpj)$", re.IGNORECASE)

# One quick search decides whether a text can hold a secret; nearly none can.
_SUSPECT = re.compile(r"PRIVATE KEY|bearer|basic |://|token|passw|secret", re.IGNORECASE)
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Up to its end, or to the end of the text when it was cut short.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(://[^\s:/@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"((?:token|passw(?:or)?d|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+", re.I), rf"\1{MASK}"),
)


def redact(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Mask private keys, tokens, passwords and tax ids in every value of a line, however deep.

    In a text, a CPF or CNPJ keeps its middle digits (see tax_id.py); a field that is named for one (``tax_id``,
    ``cpf``, ``cnpj``) and holds it unformatted is masked whole.
    """
    for name, value in line.items():
        line[name] = _masked(name, value)
    return line


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if value and _SECRET_NAME.search(name):
            return MASK
        masked = masked_text(value)
        if masked == value and _TAX_ID_NAME.search(name):
            return MASK
        return masked
    if isinstance(value, Mapping):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(name, item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return MASK if _TAX_ID_NAME.search(name) else value
    return masked_text(str(value))


def masked_text(text: str) -> str:
    """Return the text with private keys, tokens, passwords and tax ids masked."""
    if _SUSPECT.search(text):
        for pattern, mask in _MASKS:
            text = pattern.sub(mask, text)
    return mask_tax_ids(text)
