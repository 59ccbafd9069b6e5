"""Every state, outcome and attention that the database knows has a label; an unknown name is shown as it is."""

import pytest

from payments.language import NAMES, language_of
from payments.ledger.attention import AttentionKind
from payments.ledger.inbox import Outcome
from payments.operator.labels import ACTION_KINDS, label, labels_of
from payments.operator.lists import SHOWN_STATES

# What the stylesheet has colours for.
TONES = {"good", "wait", "bad", "calm"}


@pytest.mark.parametrize("code", NAMES)
def test_every_name_has_its_label(code: str) -> None:
    """A new one without a meaning would leave the operator guessing."""
    labels = labels_of(language_of(code))
    for found, names in (
        (labels.transfer_states, SHOWN_STATES),
        (labels.outcomes, Outcome),
        (labels.attentions, AttentionKind),
        (labels.actions, ACTION_KINDS),
    ):
        assert set(found) == {str(name) for name in names}
        assert all(each.meaning and each.tone in TONES for each in found.values())


def test_an_unknown_name_is_shown_as_it_is() -> None:
    """In a neutral colour."""
    states = labels_of(language_of("en")).transfer_states
    assert label(states, "on_the_moon") == ("on the moon", "calm", "")
