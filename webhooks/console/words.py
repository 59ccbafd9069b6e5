"""What our states, outcomes, matters and acts are called on the pages, how they look, and what to do about them.

A name that is not listed here is shown as it is: the ledger may know more than these pages do.
"""

from typing import NamedTuple


class Word(NamedTuple):
    """One name as people read it. ``tone`` is good, wait, bad or calm; ``meaning`` is a sentence."""

    text: str
    tone: str
    meaning: str = ""


TRANSFER_STATES = {
    "pending": Word("pending", "wait", "to be sent when due"),
    "sending": Word("sending", "wait", "on its way; the bank may have it"),
    "sent": Word("sent", "wait", "the bank has accepted it; not paid yet"),
    "settled": Word("settled", "good", "the money is at the destination"),
    "failed": Word("failed", "bad", "the bank did not pay it; another took its place"),
    "dead": Word("dead", "bad", "only a person may move it"),
    "stopped": Word("stopped", "calm", "withdrawn before the bank had it"),
}

OUTCOMES = {
    "credit": Word("credit", "good", "an invoice's money arrived"),
    "transfer_news": Word("transfer news", "good", "about a transfer of ours"),
    "no_interest": Word("no interest", "calm", "stored; nothing follows from it"),
    "known_credit": Word("known credit", "calm", "the same credit again"),
    "repeated": Word("repeated", "calm", "the same event again"),
    "not_ours": Word("not ours", "calm", "a credit that the settings say not to forward"),
    "reversal": Word("reversal", "wait", "the bank took money back"),
    "nothing_to_forward": Word("nothing to forward", "wait", "the fee ate the credit"),
    "second_credit": Word("second credit", "bad", "an invoice was credited again: for a person"),
    "unreadable": Word("unreadable", "bad", "signed, but we cannot read it: for a person"),
}

SLOT_STATES = {
    "planned": Word("planned", "wait"),
    "issuing": Word("issuing", "wait"),
    "issued": Word("issued", "good"),
    "late": Word("issued late", "wait"),
    "skipped": Word("skipped", "bad"),
    "next": Word("next", "next"),
    "coming": Word("coming", "calm"),
}

BATCH_STATES = {
    "planned": Word("planned", "wait"),
    "issuing": Word("issuing", "wait"),
    "issued": Word("issued", "good"),
    "skipped": Word("skipped", "bad"),
}

INVOICE_STATES = {
    "planned": Word("planned", "wait", "not at the bank yet"),
    "at_bank": Word("open", "calm", "at the bank, not credited"),
    "credited": Word("credited", "wait", "its money arrived"),
    **TRANSFER_STATES,
}

# What it means, and what to do first. docs/runbook.md says more of each.
ATTENTIONS = {
    "transfer_dead": Word(
        "A transfer is dead",
        "bad",
        "Nothing moves it but you. Find out why the bank refuses, mend that, then retry; or abandon it when it was "
        "paid by hand.",
    ),
    "transfer_stuck": Word(
        "A transfer is stuck",
        "wait",
        "Ten or more attempts without a conclusive answer. It goes on by itself; look at the bank's status first.",
    ),
    "transfer_unsettled": Word(
        "A transfer does not settle",
        "wait",
        "The bank accepted it more than a day ago and has not said what became of it. Look it up in the web bank.",
    ),
    "paid_twice": Word(
        "A credit was paid twice",
        "bad",
        "Two transfers of one credit succeeded at the bank. Claim one back from the destination.",
    ),
    "returned_after_settlement": Word(
        "A paid transfer came back", "bad", "The bank took a success back. Ask the bank why before you retry."
    ),
    "reversed_after_sending": Word(
        "Reversed after it was sent", "bad", "The payer got the money back. Claim it from the destination."
    ),
    "second_credit": Word(
        "An invoice was credited again",
        "bad",
        "Only the first was forwarded. Decide what the second one is for.",
    ),
    "unreadable_event": Word(
        "An event cannot be read",
        "bad",
        "It is signed and stored whole. Update the program, then replay the event.",
    ),
    "nothing_to_forward": Word(
        "Nothing to forward", "wait", "The bank's fee ate the whole credit. Nothing to do but to know."
    ),
    "bank_refuses_us": Word(
        "The bank refuses us", "bad", "Key, project or address is wrong: nothing goes out until it is mended."
    ),
    "batch_refused": Word(
        "A batch of invoices is refused",
        "bad",
        "It is tried again by itself; the bank's words say what is wrong.",
    ),
}

ACTS = {
    "retry": Word("Retry", "calm", "The bank is asked first; it is sent only if it is not there."),
    "abandon": Word(
        "Abandon",
        "bad",
        "For good: it stays dead, its matter is closed, and nothing will ever send it. For credits that were paid "
        "by hand or given back.",
    ),
    "resolve": Word("Resolve", "calm", "Close a matter that you have dealt with. It moves no money."),
    "replay": Word(
        "Replay",
        "calm",
        "The stored bytes are read again, and what follows from them is recorded. Harmless for what is known.",
    ),
    "pause": Word(
        "Pause", "bad", "Every process stops it until somebody resumes. What is under way is finished."
    ),
    "resume": Word("Resume", "calm", "Every process lets it run again."),
    "reconcile": Word(
        "Reconcile now", "calm", "Ask the bank what we missed, and record it. It sends nothing."
    ),
    "forward": Word(
        "Forward now", "calm", "Send every transfer that is due, without waiting for the next turn."
    ),
    "issue": Word(
        "Issue a batch now",
        "calm",
        "One batch of invoices outside the window. Only with an emulator; the worker does it within seconds.",
    ),
}


def word(words: dict[str, Word], name: str) -> Word:
    """The word for a name; one that is not listed is shown as it is."""
    return words.get(name) or Word(name.replace("_", " "), "calm")
