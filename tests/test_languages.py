"""The catalogues: every message has its translation, with the same values in it; no text of a page is without one."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from jinja2 import nodes

from payments.language import CATALOGUES, NAMES, language_of
from scripts.translate import extract, read_catalogue, texts, untranslated
from webhooks.console.rendering import make_environment

ROOT = Path(__file__).parents[1]
FILES = sorted(CATALOGUES.glob("*.po"))

# %(name)s, and %% for a percent sign; any other % would fail when the message is shown.
VALUE = re.compile(r"%(?:\(\w+\)[sd]|%)?")


@pytest.fixture(scope="module")
def in_code() -> Catalog:
    """Every message that the code and the templates have."""
    return extract()


def test_there_is_a_catalogue_for_every_language_but_english() -> None:
    """English stands in the code."""
    assert {file.stem.replace("_", "-") for file in FILES} == set(NAMES) - {"en"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_message_is_translated(file: Path, in_code: Catalog) -> None:
    """None is missing, none is left over or a guess; run scripts/translate, then fill in what it prints."""
    catalogue = read_catalogue(file)
    assert not catalogue.obsolete
    assert {_key(each) for each in catalogue if each.id} == {_key(each) for each in in_code if each.id}
    assert not [each.id for each in catalogue if each.id and each.fuzzy]
    assert not untranslated(catalogue)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_translation_has_the_values_of_its_message(file: Path) -> None:
    """A value that is missing hides a fact; one that is not handed in is an error when the message is shown."""
    for message in read_catalogue(file):
        if message.id:
            found = [set(VALUE.findall(text)) for text in (*texts(message.id), *texts(message.string))]
            # "1 item" may leave out the number that "%(num)d items" has.
            assert len({frozenset(each - {"%(num)d"}) for each in found}) == 1, message.id
            assert all("%" not in each for each in found), message.id


def _key(message: Message) -> tuple[str | None, str]:
    return message.context, texts(message.id)[0]


# --- the templates ---

TEMPLATES = sorted((ROOT / "webhooks" / "console" / "templates").glob("*.html"))

# The product's name, and what is written alike in every language.
WORDLESS = re.compile(r"repasse|SHA-256|R\$|JSON|CSV|UTC")


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_no_visible_text_stands_outside_a_translation(file: Path) -> None:
    """Neither between tags, nor in an attribute that people read, nor in an expression."""
    assert words_outside(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ('<p>{{ _("Right") }} · <code>{{ id }}</code></p>', []),
        ('<a href="/x" title="{{ _("Right") }}">→</a>', []),
        ("<p>Wrong {{ id }}</p>", ["Wrong"]),
        ('<a title="Wrong">→</a>', ["Wrong"]),
        ('<p>{{ "None found" if empty }}</p>', ["None found"]),
        ('{{ empty("Wrong.", _("Right")) }}', ["Wrong."]),
        ("{{ _(text) }}", ["a message that is not a constant"]),
    ],
)
def test_text_outside_a_translation_is_found(template: str, found: list[str]) -> None:
    """A rule that cannot fail protects nothing."""
    assert words_outside(template) == found


def words_outside(template: str) -> list[str]:
    """The words of a template that no catalogue can translate."""
    tree = make_environment(language_of("en")).parse(template)
    found: list[str] = []
    html: list[str] = []

    def walk(node: nodes.Node) -> None:
        if isinstance(node, nodes.TemplateData):
            html.append(node.data)
        elif isinstance(node, nodes.Call) and getattr(node.node, "name", "") in MESSAGES:
            arguments = node.args[: MESSAGES[node.node.name]]  # type: ignore[attr-defined]
            if not all(isinstance(each, nodes.Const) for each in arguments):
                found.append("a message that is not a constant")
            for each in (*node.args[len(arguments) :], *node.kwargs):
                walk(each)
        elif isinstance(node, nodes.Const):
            # Prose begins with a capital or has a space in it; what the program compares has neither.
            is_prose = isinstance(node.value, str) and re.search(r"^[A-Z][a-z]|[a-z] [a-z]", node.value)
            if is_prose and not re.fullmatch(r"[\w-]+\.html|repasse job show ", node.value):
                found.append(node.value)
        else:
            if not isinstance(node, nodes.Output | nodes.Template | nodes.Block):
                html.append(" ")  # a value
            for child in node.iter_child_nodes():
                walk(child)

    walk(tree)
    visible = _Visible()
    visible.feed("".join(html))
    return found + visible.words


# How many of a call's arguments are messages.
MESSAGES = {"_": 1, "gettext": 1, "ngettext": 2, "pgettext": 2, "npgettext": 3}

READ_BY_PEOPLE = {"title", "alt", "placeholder", "aria-label", "aria-description"}


class _Visible(HTMLParser):
    """Collects the words that a reader of the page sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        if re.search(r"[^\W\d_]{2}", WORDLESS.sub("", data)):
            self.words.append(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in READ_BY_PEOPLE or (name == "value" and tag == "button"):
                self.handle_data(value or "")
