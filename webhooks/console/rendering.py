"""The templates, read and compiled once at the start. Everything is escaped; nothing from outside is ever markup."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from payments.money import format_brl
from webhooks.console import words
from webhooks.console.charts import bar_of
from webhooks.console.door import HOME, STATIC
from webhooks.console.links import act_on, link_to, subject_link
from webhooks.console.reader import ZONES, duration

_FOLDER = Path(__file__).parent
STATIC_FOLDER = _FOLDER / "static"

# Ids and codes are shown whole; what people wrote may be long.
_TEXT_MAX = 2000


class Pages:
    """Renders pages by name. Safe to use from several threads."""

    def __init__(self) -> None:
        environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["brl"] = format_brl
        environment.filters["number"] = _number
        environment.filters["duration"] = duration
        environment.filters["cut"] = lambda text: text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " …"
        environment.globals.update(
            home=HOME,
            asset=_asset,
            word=words.word,
            words=words,
            bar_of=bar_of,
            link_to=link_to,
            act_on=act_on,
            subject_link=subject_link,
            zones=tuple(ZONES),
        )
        self._templates: Mapping[str, Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }

    def render(self, name: str, **values: Any) -> str:
        """Render ``templates/<name>.html``. A value that the template needs and does not get is a bug."""
        return self._templates[f"{name}.html"].render(**values)


def _number(value: int) -> str:
    return f"{value:,}".replace(",", ".")  # as Brazilians write it


_VERSIONS = {
    file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in STATIC_FOLDER.iterdir()
}


def _asset(name: str) -> str:
    # The name changes with the content, so that it may be kept for ever.
    return f"{STATIC}{name}?v={_VERSIONS[name]}"
