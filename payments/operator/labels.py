"""What states, outcomes, attentions and actions are called, in each language, their tone, and what to do about them.

A name that is not listed here is shown as it is: the database may know more than this program does.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from payments.language import Language


class Label(NamedTuple):
    """One name as people read it. ``tone`` is good, wait, bad or calm; ``meaning`` is a sentence."""

    text: str
    tone: str
    meaning: str = ""


class Labels:
    """Every label in one language, by the name that the database has."""

    def __init__(self, language: Language) -> None:
        _, pgettext = language.gettext, language.pgettext
        self.transfer_states = {
            "pending": Label(pgettext("transfer", "pending"), "wait", _("queued; it is sent when it is due")),
            "sending": Label(pgettext("transfer", "sending"), "wait", _("being sent; the bank may have it")),
            "sent": Label(pgettext("transfer", "sent"), "wait", _("accepted by the bank; not paid yet")),
            "settled": Label(pgettext("transfer", "settled"), "good", _("the money is at the destination")),
            "failed": Label(
                pgettext("transfer", "failed"), "bad", _("not paid by the bank; another transfer replaced it")
            ),
            "dead": Label(
                pgettext("transfer", "blocked"), "bad", _("manual action required: retry or abandon it")
            ),
            "stopped": Label(pgettext("transfer", "stopped"), "calm", _("withdrawn before it was sent")),
            "abandoned": Label(
                pgettext("transfer", "abandoned"), "calm", _("given up by an operator; it will never be sent")
            ),
        }
        self.outcomes = {
            "credit": Label(pgettext("event", "credit"), "good", _("an invoice was credited")),
            "bank_report": Label(
                pgettext("event", "transfer update"), "good", _("about one of our transfers")
            ),
            "ignored": Label(pgettext("event", "ignored"), "calm", _("stored; nothing follows from it")),
            "known_credit": Label(pgettext("event", "known credit"), "calm", _("the same credit again")),
            "repeated": Label(pgettext("event", "repeated"), "calm", _("the same event again")),
            "not_ours": Label(
                pgettext("event", "not ours"),
                "calm",
                _("a credit that is not forwarded, by the setting FORWARD_CREDITS"),
            ),
            "reversal": Label(pgettext("event", "reversal"), "wait", _("the bank reversed a credit")),
            "nothing_to_forward": Label(
                pgettext("event", "nothing to forward"),
                "wait",
                _("the fee was as much as the credit, or more"),
            ),
            "second_credit": Label(
                pgettext("event", "second credit"), "bad", _("an invoice was credited again: needs attention")
            ),
            "unreadable": Label(
                pgettext("event", "unreadable"), "bad", _("signed, but not readable: needs attention")
            ),
        }
        # Of batches, and of the slots that have none yet.
        self.batch_states = {
            "requested": Label(pgettext("batch", "requested"), "wait"),
            "planned": Label(pgettext("batch", "planned"), "wait"),
            "issuing": Label(pgettext("batch", "issuing"), "wait"),
            "issued": Label(pgettext("batch", "issued"), "good"),
            "issued_late": Label(pgettext("batch", "issued late"), "wait"),
            "overdue": Label(pgettext("batch", "overdue"), "bad"),
            "skipped": Label(pgettext("batch", "skipped"), "bad"),
            "next": Label(pgettext("batch", "next"), "next"),
            "coming": Label(pgettext("batch", "scheduled"), "calm"),
        }
        self.invoice_states = {
            "planned": Label(pgettext("invoice", "planned"), "wait", _("not issued yet")),
            "open": Label(pgettext("invoice", "open"), "calm", _("issued, not paid yet")),
            "overdue": Label(pgettext("invoice", "overdue"), "wait", _("due, and not paid")),
            "expired": Label(
                pgettext("invoice", "expired"), "calm", _("never paid; it can no longer be paid")
            ),
            "canceled": Label(pgettext("invoice", "canceled"), "calm", _("canceled at the bank, not paid")),
            "paid": Label(pgettext("invoice", "paid"), "wait", _("paid; the bank has not credited it yet")),
            "credited": Label(pgettext("invoice", "credited"), "good", _("its money has arrived")),
        }
        # What became of an invoice: its state, or that of its transfer once it was credited.
        self.became = {**self.invoice_states, **self.transfer_states}
        # What is to become of a credit.
        self.dispositions = {
            "forward": Label(_("to be forwarded"), "calm"),
            "nothing_to_forward": Label(
                _("nothing to forward"), "calm", _("the fee was as much as the credit, or more")
            ),
            "not_ours": Label(
                _("not to be forwarded"),
                "calm",
                _("a credit that is not forwarded, by the setting FORWARD_CREDITS"),
            ),
        }
        # Where a credit's money is: the state of its transfer, or why it has none, or that the bank took it back.
        self.credit_states = {
            **{
                name: self.transfer_states[name]
                for name in ("pending", "sending", "sent", "settled", "dead", "abandoned")
            },
            "reversed": Label(
                pgettext("credit", "reversed"), "wait", _("the bank took some or all of it back")
            ),
            **{name: self.dispositions[name] for name in ("nothing_to_forward", "not_ours")},
        }
        # What it means, and what to do first. docs/runbook.md says more about each.
        self.attentions = {
            "transfer_dead": Label(
                _("Transfer blocked: manual action required"),
                "bad",
                _(
                    "repasse has stopped retrying. Fix what the bank reports, then retry. If you paid it manually, "
                    "abandon it."
                ),
            ),
            "transfer_stuck": Label(
                _("Transfer delayed"),
                "wait",
                _(
                    "Ten or more attempts without a conclusive answer. repasse keeps trying; check the bank's status "
                    "page first."
                ),
            ),
            "transfer_unsettled": Label(
                _("Transfer not settled"),
                "wait",
                _(
                    "The bank accepted it more than a day ago and has not reported an outcome. Look it up at the bank."
                ),
            ),
            "paid_twice": Label(
                _("Credit paid twice"),
                "bad",
                _("Two transfers of one credit succeeded at the bank. Claim one back from the destination."),
            ),
            "returned_after_settlement": Label(
                _("Settled transfer returned"),
                "bad",
                _("The bank withdrew a success. Ask the bank why before you retry."),
            ),
            "reversed_after_sending": Label(
                _("Credit reversed after it was sent"),
                "bad",
                _("The payer got the money back. Claim it back from the destination."),
            ),
            "second_credit": Label(
                _("Invoice credited again"),
                "bad",
                _("Only the first credit was forwarded. Decide what to do with the second one."),
            ),
            "unreadable_event": Label(
                _("Event not readable"),
                "bad",
                _("It is signed and stored whole. Update repasse, then replay the event."),
            ),
            "nothing_to_forward": Label(
                _("Nothing to forward"),
                "wait",
                _("The fee was equal to or greater than the amount. No action needed."),
            ),
            "bank_refuses_us": Label(
                _("Authentication with Stark Bank failed"),
                "bad",
                _("Transfers are on hold until the key, project ID or allowed IP is fixed."),
            ),
            "batch_refused": Label(
                _("Batch of invoices rejected"),
                "bad",
                _("repasse keeps trying; the bank's words say what is wrong."),
            ),
            "clock_stepped": Label(
                _("Clock was changed"),
                "wait",
                _(
                    "Transfers were waiting, and repasse has tried them again. Check NTP on that machine, then "
                    "resolve."
                ),
            ),
        }
        self.actions = {
            "retry": Label(
                _("Retry"),
                "calm",
                _("repasse checks with the bank first, and sends only if it is not there."),
            ),
            "abandon": Label(
                _("Abandon"),
                "bad",
                _(
                    "For credits that were paid manually or given back. It will never be sent. This cannot be undone."
                ),
            ),
            "recover": Label(
                _("Mark as recovered"),
                "calm",
                _(
                    "For money that was forwarded before its credit was reversed, once it came back. It moves no "
                    "money."
                ),
            ),
            "resolve": Label(_("Resolve"), "calm", _("Mark this as dealt with. It moves no money.")),
            "replay": Label(
                _("Replay"),
                "calm",
                _("The stored event is processed again. Harmless for everything that is already recorded."),
            ),
            "pause": Label(
                _("Pause"),
                "bad",
                _("Every process stops it until it is resumed. Work that has started is finished."),
            ),
            "resume": Label(_("Resume"), "calm", _("Every process runs it again.")),
            "reconcile": Label(
                _("Reconcile now"),
                "calm",
                _("Ask the bank for anything we missed, and record it. It sends nothing."),
            ),
            "forward": Label(_("Forward now"), "calm", _("Send every transfer that is due now.")),
            "issue": Label(
                _("Issue a batch now"),
                "calm",
                _(
                    "One batch of invoices outside the window. Only with an emulator; the worker issues it within "
                    "seconds."
                ),
            ),
        }
        # What the last call of a process to the bank came to.
        self.verdicts = {
            "accepted": Label(_("answered"), "good"),
            "rejected": Label(_("refused"), "wait", _("the bank answered, and refused what was asked")),
            "throttled": Label(_("rate-limited"), "wait", _("the bank asked us to wait (429)")),
            "not_sent": Label(_("not connected"), "bad", _("the request never left")),
            "unclear": Label(_("no answer"), "bad", _("no conclusive answer came")),
        }
        # Which bank all this is about: on every page, also before the sign-in.
        self.environments = {
            "emulator": Label(_("Emulator"), "calm", _("A bank on your own machine. No real money.")),
            "sandbox": Label(_("Sandbox"), "wait", _("Stark Bank's test environment. No real money.")),
            "production": Label(_("Production"), "bad", _("Real money.")),
        }
        # What an id in a timeline is of.
        self.id_kinds = {
            "event": Label(_("event"), "calm"),
            "invoice": Label(_("invoice"), "calm"),
            "log": Label(_("log"), "calm"),
            "external_id": Label(_("external ID"), "calm"),
            "bank_transfer": Label(_("transfer at the bank"), "calm"),
            "subject": Label(_("target"), "calm"),
            "attention": Label(_("item"), "calm"),
        }
        # By switch, what its two buttons say.
        self._switches = {
            "forwarding": {"pause": _("Pause forwarding"), "resume": _("Resume forwarding")},
            "issuing": {"pause": _("Pause issuing"), "resume": _("Resume issuing")},
        }

    def button(self, kind: str, subject: str) -> str:
        """What the button of an action says; of a pause, also what it pauses."""
        return self._switches.get(subject, {}).get(kind) or label(self.actions, kind).text


@cache
def labels_of(language: Language) -> Labels:
    """The labels of a language, made once."""
    return Labels(language)


def label(labels: Mapping[str, Label], name: str) -> Label:
    """The label for a name; a name that is not listed is shown as it is."""
    return labels.get(name) or Label(name.replace("_", " "), "calm")


# Names of the database, for those who need no words.
ACTION_KINDS = (
    *("retry", "abandon", "recover", "resolve", "replay", "pause", "resume", "reconcile", "forward", "issue"),
)


# What ends each kind of attention, by its subject; to resolve it is possible always.
ATTENTION_ACTIONS = {
    "transfer_dead": ("retry", "abandon"),
    "transfer_stuck": ("retry",),
    "reversed_after_sending": ("recover",),
    "unreadable_event": ("replay",),
    "bank_refuses_us": ("reconcile",),
}

# What may be done to all transfers of a list in one of these states.
STATE_ACTIONS = {"dead": ("retry", "abandon"), "pending": ("retry",)}
