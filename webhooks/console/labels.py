"""What states, outcomes, attentions and actions are called on the pages, their colour, and what to do about them.

A name that is not listed here is shown as it is: the database may know more than these pages do.
"""

from typing import NamedTuple


class Label(NamedTuple):
    """One name as people read it. ``tone`` is good, wait, bad or calm; ``meaning`` is a sentence."""

    text: str
    tone: str
    meaning: str = ""


TRANSFER_STATES = {
    "pending": Label("pending", "wait", "queued; it is sent when it is due"),
    "sending": Label("sending", "wait", "being sent; the bank may have it"),
    "sent": Label("sent", "wait", "accepted by the bank; not paid yet"),
    "settled": Label("settled", "good", "the money is at the destination"),
    "failed": Label("failed", "bad", "not paid by the bank; another transfer replaced it"),
    "dead": Label("blocked", "bad", "manual action required: retry or abandon it"),
    "stopped": Label("stopped", "calm", "withdrawn before it was sent"),
    "abandoned": Label("abandoned", "calm", "given up by an operator; it will never be sent"),
}

OUTCOMES = {
    "credit": Label("credit", "good", "an invoice was credited"),
    "bank_report": Label("transfer update", "good", "about one of our transfers"),
    "ignored": Label("ignored", "calm", "stored; nothing follows from it"),
    "known_credit": Label("known credit", "calm", "the same credit again"),
    "repeated": Label("repeated", "calm", "the same event again"),
    "not_ours": Label("not ours", "calm", "a credit that is not forwarded, by the setting FORWARD_CREDITS"),
    "reversal": Label("reversal", "wait", "the bank reversed a credit"),
    "nothing_to_forward": Label("nothing to forward", "wait", "the fee was as much as the credit, or more"),
    "second_credit": Label("second credit", "bad", "an invoice was credited again: needs attention"),
    "unreadable": Label("unreadable", "bad", "signed, but not readable: needs attention"),
}

SLOT_STATES = {
    "planned": Label("planned", "wait"),
    "issuing": Label("issuing", "wait"),
    "issued": Label("issued", "good"),
    "issued_late": Label("issued late", "wait"),
    "overdue": Label("overdue", "bad"),
    "skipped": Label("skipped", "bad"),
    "next": Label("next", "next"),
    "coming": Label("scheduled", "calm"),
}

BATCH_STATES = {
    "requested": Label("requested", "wait"),
    "planned": Label("planned", "wait"),
    "issuing": Label("issuing", "wait"),
    "issued": Label("issued", "good"),
    "skipped": Label("skipped", "bad"),
}

INVOICE_STATES = {
    "planned": Label("planned", "wait", "not issued yet"),
    "open": Label("open", "calm", "issued, not paid yet"),
    "overdue": Label("overdue", "wait", "due, and not paid"),
    "expired": Label("expired", "calm", "never paid; it can no longer be paid"),
    "canceled": Label("canceled", "calm", "canceled at the bank, not paid"),
    "paid": Label("paid", "wait", "paid; the bank has not credited it yet"),
    "credited": Label("credited", "good", "its money has arrived"),
}

# What became of an invoice: its state, or that of its transfer once it was credited.
BECAME = {**INVOICE_STATES, **TRANSFER_STATES}

CREDIT_STATES = {
    **{
        name: TRANSFER_STATES[name] for name in ("pending", "sending", "sent", "settled", "dead", "abandoned")
    },
    "reversed": Label("reversed", "wait", "the bank took some or all of it back"),
    "nothing_to_forward": Label("nothing to forward", "calm", "the fee was as much as the credit, or more"),
    "not_ours": Label("not forwarded", "calm", "by the setting FORWARD_CREDITS"),
}

# What it means, and what to do first. docs/runbook.md says more about each.
ATTENTIONS = {
    "transfer_dead": Label(
        "Transfer blocked: manual action required",
        "bad",
        "repasse has stopped retrying. Fix what the bank reports, then retry. If you paid it manually, abandon it.",
    ),
    "transfer_stuck": Label(
        "Transfer delayed",
        "wait",
        "Ten or more attempts without a conclusive answer. repasse keeps trying; check the bank's status page first.",
    ),
    "transfer_unsettled": Label(
        "Transfer not settled",
        "wait",
        "The bank accepted it more than a day ago and has not reported an outcome. Look it up at the bank.",
    ),
    "paid_twice": Label(
        "Credit paid twice",
        "bad",
        "Two transfers of one credit succeeded at the bank. Claim one back from the destination.",
    ),
    "returned_after_settlement": Label(
        "Settled transfer returned", "bad", "The bank withdrew a success. Ask the bank why before you retry."
    ),
    "reversed_after_sending": Label(
        "Credit reversed after it was sent",
        "bad",
        "The payer got the money back. Claim it back from the destination.",
    ),
    "second_credit": Label(
        "Invoice credited again",
        "bad",
        "Only the first credit was forwarded. Decide what to do with the second one.",
    ),
    "unreadable_event": Label(
        "Event not readable",
        "bad",
        "It is signed and stored whole. Update repasse, then replay the event.",
    ),
    "nothing_to_forward": Label(
        "Nothing to forward",
        "wait",
        "The fee was equal to or greater than the amount. No action needed.",
    ),
    "bank_refuses_us": Label(
        "Authentication with Stark Bank failed",
        "bad",
        "Transfers are on hold until the key, project ID or allowed IP is fixed.",
    ),
    "batch_refused": Label(
        "Batch of invoices rejected",
        "bad",
        "repasse keeps trying; the bank's words say what is wrong.",
    ),
}

ACTIONS = {
    "retry": Label("Retry", "calm", "repasse checks with the bank first, and sends only if it is not there."),
    "abandon": Label(
        "Abandon",
        "bad",
        "For credits that were paid manually or given back. It will never be sent. This cannot be undone.",
    ),
    "recover": Label(
        "Mark as recovered",
        "calm",
        "For money that was forwarded before its credit was reversed, once it came back. It moves no money.",
    ),
    "resolve": Label("Resolve", "calm", "Mark this as dealt with. It moves no money."),
    "replay": Label(
        "Replay",
        "calm",
        "The stored event is processed again. Harmless for everything that is already recorded.",
    ),
    "pause": Label(
        "Pause", "bad", "Every process stops it until it is resumed. Work that has started is finished."
    ),
    "resume": Label("Resume", "calm", "Every process runs it again."),
    "reconcile": Label(
        "Reconcile now", "calm", "Ask the bank for anything we missed, and record it. It sends nothing."
    ),
    "forward": Label("Forward now", "calm", "Send every transfer that is due now."),
    "issue": Label(
        "Issue a batch now",
        "calm",
        "One batch of invoices outside the window. Only with an emulator; the worker issues it within seconds.",
    ),
}


def label(labels: dict[str, Label], name: str) -> Label:
    """The label for a name; a name that is not listed is shown as it is."""
    return labels.get(name) or Label(name.replace("_", " "), "calm")
