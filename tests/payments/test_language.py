"""Which language an operator reads, and how messages take their values."""

import pytest

from payments.language import code_of_zone, language_of, preferred_code
from payments.settings import Settings


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("pt-BR,pt;q=0.9,en-US;q=0.8,en;q=0.7", "pt-BR"),
        ("en-US,en;q=0.9,pt;q=0.8", "en"),
        ("de-DE, pt;q=0.5, en;q=0.6", "en"),
        ("pt-PT", "pt-BR"),
        ("PT-br", "pt-BR"),
        ("pt;q=0, en;q=0.1", "en"),
        ("de, fr;q=0.9", None),
        ("*", None),
        ("pt;q=high, ,;", None),
        ("", None),
    ],
)
def test_the_browsers_order_decides_among_our_languages(asked: str, code: str | None) -> None:
    """By quality, then by order; what cannot be read is left out, because it comes from outside."""
    assert preferred_code(asked) == code


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "pt-BR"),  # São Paulo is the default zone
        ({"time_zone": "America/Noronha"}, "pt-BR"),
        ({"time_zone": "Brazil/East"}, "pt-BR"),
        ({"time_zone": "Europe/Lisbon"}, "en"),
        ({"time_zone": "UTC"}, "en"),
        ({"operator_language": "en"}, "en"),
        ({"operator_language": "pt_br", "time_zone": "UTC"}, "pt-BR"),
    ],
)
def test_the_settings_language_is_that_of_the_zone_unless_set(settings: dict[str, str], code: str) -> None:
    """Portuguese first where the operator's zone is Brazilian."""
    read = Settings(_env_file=None, **settings)  # type: ignore[arg-type, call-arg]
    assert read.language.code == code


def test_zones_outside_brazil_are_english() -> None:
    """Also one that no list has."""
    assert code_of_zone("Asia/Kathmandu") == code_of_zone("Mars/Olympus") == "en"


def test_a_message_takes_its_values_by_name() -> None:
    """In both languages; one of two messages by its number."""
    english, portuguese = language_of("en"), language_of("pt-BR")
    assert english.gettext("%(duration)s ago", duration="5 s") == "5 s ago"
    assert portuguese.gettext("%(duration)s ago", duration="5 s") == "há 5 s"
    assert english.ngettext("%(num)d cat", "%(num)d cats", 2) == "2 cats"
