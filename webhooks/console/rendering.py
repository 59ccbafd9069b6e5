"""The templates, read and compiled once at the start. Everything is escaped; nothing from outside is ever markup."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, pass_context
from jinja2.runtime import Context

from payments.language import NAMES, Language, language_of
from payments.money import format_brl
from payments.note import Note
from payments.operator.labels import ATTENTION_ACTIONS, STATE_ACTIONS, label, labels_of
from payments.operator.times import duration
from payments.operator.wording import account_text, note_text, sentence
from payments.tax_id import mask_tax_ids
from webhooks.console.charts import bar_of
from webhooks.console.times import ZONES
from webhooks.console.urls import HOME, STATIC, action_url, invoice_of, link_to, subject_link

_FOLDER = Path(__file__).parent
STATIC_FOLDER = _FOLDER / "static"

# Ids and codes are shown whole; what people wrote may be long.
_TEXT_LENGTH_MAX = 2000

# An event has 1 to 3 kB; a longer one is somebody's mistake, and would make the page slow.
_BODY_LENGTH_MAX = 12_000


def render(language: Language, name: str, **values: Any) -> str:
    """Render ``templates/<name>.html``. A value that the template needs and does not get is a bug."""
    return compiled(language.code)[f"{name}.html"].render(**values)


@cache  # compiling takes half a second, and a process may make more than one app
def compiled(code: str) -> dict[str, Template]:
    """The templates of a language by their names."""
    environment = make_environment(language_of(code))
    return {name: environment.get_template(name) for name in environment.list_templates()}


def make_environment(language: Language) -> Environment:
    """What the templates of one language may use."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    texts = language.translations
    # Newstyle: values are escaped and then put into the message, which is ours.
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        texts.gettext, texts.ngettext, newstyle=True, pgettext=texts.pgettext, npgettext=texts.npgettext
    )
    environment.filters.update(
        brl=format_brl,
        number=_number,
        duration=lambda seconds: duration(seconds, language.decimal_sign),
        account=lambda destination: account_text(destination, language),
        cut=_cut,
        said=_said,
        sentence=_sentence,
    )
    environment.globals.update(
        language=language,
        languages=NAMES,
        home=HOME,
        asset=_asset,
        label=label,
        labels=labels_of(language),
        attention_actions=ATTENTION_ACTIONS,
        state_actions=STATE_ACTIONS,
        bar_of=bar_of,
        link_to=link_to,
        action_url=action_url,
        subject_link=subject_link,
        invoice_of=invoice_of,
        zones=ZONES,
    )
    return environment


@dataclass(frozen=True, slots=True)
class ReadableBody:
    """An event's bytes as a page shows them; ``text`` is cut when there was more."""

    text: str
    is_json: bool
    is_cut: bool


def readable_body(body: bytes) -> ReadableBody:
    """Indent JSON, mask tax ids and bound the length. The result is text on the page, whatever it contains."""
    raw = body.decode("utf-8", "replace")
    try:
        # JSON may write a digit as an escape: mask the text that is shown.
        is_json, text = True, mask_tax_ids(json.dumps(json.loads(raw), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        is_json, text = False, mask_tax_ids(raw)
    return ReadableBody(text[:_BODY_LENGTH_MAX], is_json, len(text) > _BODY_LENGTH_MAX)


def _number(value: int) -> str:
    return f"{value:,}".replace(",", ".")  # as Brazilians write it


@pass_context
def _said(context: Context, note: Note | str | None) -> str:
    return _cut(note_text(note, context["language"], context["times"].text))


@pass_context
def _sentence(context: Context, note: Note | str | None) -> str:
    return _cut(sentence(note, context["language"], context["times"].text))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH_MAX else f"{text[:_TEXT_LENGTH_MAX]} …"


_VERSIONS = {
    file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in STATIC_FOLDER.iterdir()
}


def _asset(name: str) -> str:
    # The address changes with the content, so browsers may keep the file forever.
    return f"{STATIC}{name}?v={_VERSIONS[name]}"
