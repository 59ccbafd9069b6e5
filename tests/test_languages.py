"""The catalogues: every message has its translation, with the same values in it, and nothing else is kept."""

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po

from payments.language import CATALOGUES, NAMES

ROOT = Path(__file__).parents[1]
SOURCES = ("payments", "webhooks", "worker", "scripts")
FILES = sorted(CATALOGUES.glob("*.po"))

# %(name)s, and %% for a percent sign; any other % would fail when the message is shown.
VALUE = re.compile(r"%(?:\(\w+\)[sd]|%)?")


@pytest.fixture(scope="module")
def in_code(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Every message that the code and the templates have, as scripts/translate finds them."""
    file = tmp_path_factory.mktemp("messages") / "messages.pot"
    sources = [str(ROOT / folder) for folder in SOURCES]
    mapping = ["--mapping-file", str(ROOT / "pyproject.toml")]
    CommandLineInterface().run(
        [  # type: ignore[no-untyped-call]
            "pybabel",
            "-q",
            "extract",
            *mapping,
            "--output-file",
            str(file),
            *sources,
        ]
    )
    with file.open("rb") as content:
        return read_po(content)


def test_there_is_a_catalogue_for_every_language_but_english() -> None:
    """English stands in the code."""
    assert {file.stem.replace("_", "-") for file in FILES} == set(NAMES) - {"en"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_message_is_translated(file: Path, in_code: Catalog) -> None:
    """None is missing, none is left over or a guess; run scripts/translate, then fill in what it prints."""
    with file.open("rb") as content:
        catalogue = read_po(content, locale=file.stem)
    assert not catalogue.obsolete
    assert {_key(each) for each in catalogue if each.id} == {_key(each) for each in in_code if each.id}
    assert not [each.id for each in catalogue if each.id and each.fuzzy]
    assert not [each.id for each in catalogue if each.id and not all(_texts(each.string) or [""])]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_translation_has_the_values_of_its_message(file: Path) -> None:
    """A value that is missing hides a fact; one that is not handed in is an error when the message is shown."""
    with file.open("rb") as content:
        catalogue = read_po(content, locale=file.stem)
    for message in catalogue:
        if message.id:
            found = [set(VALUE.findall(text)) for text in (*_texts(message.id), *_texts(message.string))]
            # "1 item" may leave out the number that "%(num)s items" has.
            assert len({frozenset(each - {"%(num)s"}) for each in found}) == 1, message.id
            assert all("%" not in each for each in found), message.id


def _key(message: Message) -> tuple[str | None, str]:
    return message.context, _texts(message.id)[0]


def _texts(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())
