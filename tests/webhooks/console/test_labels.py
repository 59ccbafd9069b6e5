"""Every state, outcome and attention that the database knows has a label; an unknown name is shown as it is."""

from payments.ledger.attention import AttentionKind
from payments.ledger.inbox import Outcome
from payments.operator.lists import SHOWN_STATES
from webhooks.console.labels import ATTENTIONS, OUTCOMES, TRANSFER_STATES, label

# What the stylesheet has colours for.
TONES = {"good", "wait", "bad", "calm"}


def test_every_name_has_its_label() -> None:
    """A new one without a meaning would leave the operator guessing."""
    for labels, names in ((TRANSFER_STATES, SHOWN_STATES), (OUTCOMES, Outcome), (ATTENTIONS, AttentionKind)):
        assert set(labels) == {str(name) for name in names}
        assert all(each.meaning and each.tone in TONES for each in labels.values())


def test_an_unknown_name_is_shown_as_it_is() -> None:
    """In a neutral colour."""
    assert label(TRANSFER_STATES, "on_the_moon") == ("on the moon", "calm", "")
