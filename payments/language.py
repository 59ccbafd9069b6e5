"""The languages that operators read: English stands in the code, every other one in a catalogue (gettext).

A language is handed in, as the time is; nothing here knows who reads. ``_ = language.gettext`` at the top of a function
makes each sentence a plain ``_("%(who)s has paused it", who=who)``. CONTRIBUTING.md says how a sentence is added.
"""

import gettext
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel.core import get_global
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

CATALOGUES = Path(__file__).parent / "languages"

# By the code that HTML, a browser and the setting use, as its speakers call it.
NAMES = {"pt-BR": "Português", "en": "English"}


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language. Every message takes its values by name, as ``%(name)s``, so a percent sign is written ``%%``."""

    code: str  # a key of NAMES
    translations: gettext.NullTranslations
    day_format: str  # for strftime
    date_format: str
    decimal_sign: str

    def gettext(self, message: str, /, **values: object) -> str:
        """A message in this language, with its values."""
        return self.translations.gettext(message) % values

    def ngettext(self, one: str, many: str, num: int, /, **values: object) -> str:
        """One of two messages, by the number, which both may name as ``%(num)s``."""
        return self.translations.ngettext(one, many, num) % {"num": num, **values}

    def pgettext(self, context: str, message: str, /, **values: object) -> str:
        """A message that has several translations: ``context`` says what it is about, as in ``invoice``."""
        return self.translations.pgettext(context, message) % values


def N_(message: str) -> str:
    """A message that is written before it is known who reads it; ``language.gettext`` translates it then."""
    return message


@cache
def language_of(code: str) -> Language:
    """The language of a code in NAMES; its catalogue is read the first time."""
    if code == "en":
        return Language(code, gettext.NullTranslations(), "%d %b", "%d %b %Y", ".")
    name = code.replace("-", "_")
    with (CATALOGUES / f"{name}.po").open("rb") as file:
        catalogue = read_po(file)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Language(code, gettext.GNUTranslations(compiled), "%d/%m", "%d/%m/%Y", ",")


def code_of_zone(time_zone: str) -> str:
    """The language of those who live in a time zone: Portuguese in Brazil's, else English."""
    zone = get_global("zone_aliases").get(time_zone, time_zone)
    return "pt-BR" if get_global("zone_territories").get(zone) == "BR" else "en"


def preferred_code(accept_language: str) -> str | None:
    """The best of our languages by a browser's ``Accept-Language``; None when it asks for none of them."""
    for tag in _tags(accept_language):
        for code in NAMES:
            # Portugal's readers are better served by Brazil's Portuguese than by English.
            if tag.partition("-")[0] == code.partition("-")[0]:
                return code
    return None


def _tags(accept_language: str) -> Iterable[str]:
    found = []
    for part in accept_language[:1000].split(","):
        if match := _TAG.fullmatch(part.strip()):
            quality = float(match[2] or 1)
            if quality > 0:
                found.append((-quality, match[1].lower()))
    return [tag for _, tag in sorted(found, key=lambda each: each[0])]  # equal ones in their order


# Documented: RFC 9110, 12.5.4 and 12.4.2.
_TAG = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?", re.ASCII)
