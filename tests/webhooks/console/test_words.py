"""Every state, outcome and matter that the ledger knows has a word on the pages; what is unknown is shown as it is."""

from payments.ledger.attention import AttentionKind
from payments.ledger.inbox import Outcome
from payments.transfer import TransferState
from webhooks.console.words import ATTENTIONS, OUTCOMES, TRANSFER_STATES, word

# What the stylesheet has colours for.
TONES = {"good", "wait", "bad", "calm"}


def test_every_name_of_the_ledger_has_its_word() -> None:
    """A new one without a meaning would leave the operator guessing."""
    for words, names in ((TRANSFER_STATES, TransferState), (OUTCOMES, Outcome), (ATTENTIONS, AttentionKind)):
        assert set(words) == {str(name) for name in names}
        assert all(each.meaning and each.tone in TONES for each in words.values())


def test_an_unknown_name_is_shown_as_it_is() -> None:
    """Calmly, since nothing is known of it."""
    assert word(TRANSFER_STATES, "on_the_moon") == ("on the moon", "calm", "")
