"""Notes: what is stored for people is a code with values, bounded, and its words have a sentence in each language."""

import ast
from pathlib import Path

import pytest

from payments.errors import BankError, NotSent, Refusal, Rejected, Throttled, Unclear
from payments.language import NAMES, language_of
from payments.note import PARTS_MAX, WORDS_LENGTH_MAX, Note, note, note_of, read_note
from payments.operator.wording import note_text, sentence
from tests.payments.builders import english

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path
    for folder in ("payments", "webhooks", "worker", "scripts", "repasse")
    for path in (ROOT / folder).rglob("*.py")
]


def test_a_note_is_read_as_it_was_written() -> None:
    """With its values; any other text is taken as it is, also one that only looks like a note."""
    assert read_note(note("lowered", centavos=5)) == Note("lowered", {"centavos": 5})
    for text in ("Account blocked", "", '{"code":', '{"code":"x"'):
        assert read_note(text) == Note("words", {"text": text})
        assert english(text) == text
    assert read_note(note("why", why=note("lowered", centavos=5))).stored == note(
        "why", why=note("lowered", centavos=5)
    )


def test_words_from_outside_cannot_fill_the_database() -> None:
    """They are cut, and only the first few of a list are kept; a note inside a note stays whole."""
    errors = [Refusal("invalidName", "x" * 10_000)] * 50
    stored = note("sending", why=note_of(Rejected(tuple(errors))))
    assert len(stored) < 2 * PARTS_MAX * WORDS_LENGTH_MAX
    assert read_note(read_note(stored).values["why"]).code == "rejected"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Throttled(), "the bank asked us to wait (429)"),
        (NotSent("refused"), "the bank could not be reached: “refused”"),
        (Unclear("GET /v2/transfer: status 503", 503), "the bank answered with error 503"),
        (Unclear("timeout"), "no conclusive answer from the bank: “timeout”"),
        (Rejected((Refusal("invalidTaxId", "odd"),)), "the bank refused: “invalidTaxId: odd”"),
        (
            Rejected((Refusal("invalidIp", "not allowed"),)),
            "the bank refused: “invalidIp: not allowed”. Add this machine's address to the project's allowed IPs, or "
            "remove the restriction",
        ),
    ],
)
def test_why_a_call_failed_keeps_the_banks_words_in_quotes(error: BankError, text: str) -> None:
    """And says what to do, where a person can do something."""
    assert english(note_of(error)) == text


def test_money_states_and_notes_within_are_written_for_people() -> None:
    """In the reader's language, as a sentence of its own where one is asked for."""
    stored = note("reversed_after_sending", centavos=123_419, external_id="credit-1", state="dead")
    assert "R$ 1.234,19" in english(stored)
    assert "(blocked)" in english(stored)
    assert "(bloqueada)" in sentence(stored, language_of("pt-BR"))
    nested = note("no_reissue_left", number=3, why=note("bank_says", words=["Account blocked"]))
    assert sentence(nested, language_of("en")).endswith(
        "no replacement is left: the bank says “Account blocked”."
    )
    assert sentence(None, language_of("en")) == ""
    assert english(note("of_a_newer_program", number=3)) == "of a newer program number=3"


@pytest.mark.parametrize("code", NAMES)
def test_every_note_that_the_program_writes_has_its_sentence_with_its_values(code: str) -> None:
    """A value that a sentence lacks would fail when an operator opens the page."""
    found = [each for path in PRODUCT for each in _written(ast.parse(path.read_text("utf-8")))]
    assert len(found) > 60
    for name, values in found:
        # A value that is missing is a KeyError; a code without a sentence is shown with "name=value".
        assert "=" not in note_text(Note(name, values), language_of(code)), name


def _written(tree: ast.Module) -> list[tuple[str, dict[str, object]]]:
    """The code and example values of each call of note() and Note() that names its code."""
    found: list[tuple[str, dict[str, object]]] = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        first = call.args[0]
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            continue
        if name == "note":
            found.append((first.value, {each.arg: _example(each.arg) for each in call.keywords if each.arg}))
        elif name == "Note" and len(call.args) == 2 and isinstance(call.args[1], ast.Dict):
            keys = [str(key.value) for key in call.args[1].keys if isinstance(key, ast.Constant)]
            if len(keys) == len(call.args[1].keys):
                found.append((first.value, {key: _example(key) for key in keys}))
    return found


def _example(name: str) -> object:
    if name.endswith("centavos"):
        return 1
    if name == "at":
        return "2026-03-02T15:00:00+00:00"
    return ["a"] if name in ("words", "parts", "codes", "fields") else "a"
