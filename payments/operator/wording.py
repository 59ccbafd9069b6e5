"""What is stored, in words: the one place where a code becomes a sentence, in the language of who reads it.

A note (payments/note.py) has one sentence here. The bank's own words stay as they are, in quotes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from payments.language import Language
from payments.money import format_brl
from payments.note import Note, read_note
from payments.operator.labels import label, labels_of
from payments.operator.lists import DestinationLine
from payments.operator.times import duration

# How a note's moment is written, such as "02/03 15:00:00": in the zone of who reads it.
When = Callable[[datetime], str]


def note_text(note: Note | str | None, language: Language, when: When | None = None) -> str:
    """A note in a sentence without its full stop; nothing for None.

    A code that this program does not know is shown with its values. ``when`` writes moments; without it in UTC.
    """
    if note is None:
        return ""
    if isinstance(note, str):
        note = read_note(note)
    message = _messages(language).get(note.code)
    values = {name: _value(name, value, language, when) for name, value in note.values.items()}
    if message is None:
        return " ".join([note.code.replace("_", " "), *(f"{name}={value}" for name, value in values.items())])
    return message % values


def sentence(note: Note | str | None, language: Language, when: When | None = None) -> str:
    """The same as a sentence of its own: with a capital at its beginning and a full stop at its end."""
    text = note_text(note, language, when)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '…')) else '.'}" if text else ""


def account_text(destination: DestinationLine, language: Language) -> str:
    """The account that money goes to, in one line; its tax id is masked."""
    _ = language.gettext
    kinds = {
        "checking": _("checking account"),
        "payment": _("payment account"),
        "savings": _("savings account"),
        "salary": _("salary account"),
    }
    return _(
        "%(name)s (%(tax_id)s), bank %(bank)s, branch %(branch)s, %(kind)s %(account)s",
        name=destination.name,
        tax_id=destination.tax_id,
        bank=destination.bank_code,
        branch=destination.branch_code,
        kind=kinds.get(destination.account_type, destination.account_type),
        account=destination.account_number,
    )


# --- below: the values of a note ---


def _value(name: str, value: Any, language: Language, when: When | None) -> str:
    labels = labels_of(language)
    match name:
        case "centavos" | "gross_centavos" | "fee_centavos" | "net_centavos" | "first_gross_centavos":
            return format_brl(value)
        case "state":
            return label(labels.transfer_states, value).text
        case "outcome" | "before" | "now":
            return label(labels.outcomes, value).text
        case "kind":
            return label(labels.attentions, value).text
        case "disposition":
            return label(labels.dispositions, value).text
        case "action":
            return label(labels.actions, value).text
        case "fields":
            return ", ".join(_fields(language).get(each, each) for each in value)
        case "at":
            moment = datetime.fromisoformat(value)
            return when(moment) if when else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
        case "seconds":
            return duration(value, language.decimal_sign)
        case "why":
            return note_text(value, language, when)
        case "parts":
            return "; ".join(note_text(each, language, when) for each in value)
        case "words":
            words = [value] if isinstance(value, str) else value
            return "; ".join(f"“{each}”" for each in words)
        case "codes":
            return next((text for code, text in _remedies(language).items() if code in value), "")
    return str(value)


def _fields(language: Language) -> Mapping[str, str]:
    _ = language.gettext
    return {
        "amount": _("amount"),
        "bank": _("bank"),
        "branch": _("branch"),
        "account": _("account"),
        "tax_id": _("tax ID"),
    }


def _remedies(language: Language) -> Mapping[str, str]:
    """What to do when the bank refuses us, by the code of its error."""
    _ = language.gettext
    return {
        "invalidCredentials": _(
            ". Check that STARKBANK_PRIVATE_KEY is the key whose public half is registered in the project"
        ),
        "invalidProject": _(
            ". Check STARKBANK_PROJECT_ID and STARKBANK_ENVIRONMENT: this environment has no such project"
        ),
        "invalidIp": _(
            ". Add this machine's address to the project's allowed IPs, or remove the restriction"
        ),
    }


# --- below: one sentence for each code ---


@cache
def _messages(language: Language) -> Mapping[str, str]:
    _ = language.translations.gettext  # the values come later
    return {
        "words": "%(text)s",
        "quoted": "“%(text)s”",
        "operator": "%(who)s: %(reason)s",
        # why a call to the bank did not end well
        "rejected": _("the bank refused: %(words)s%(codes)s"),
        "throttled": _("the bank asked us to wait (429)"),
        "not_sent": _("the bank could not be reached: %(words)s"),
        "bank_status": _("the bank answered with error %(status)s"),
        "no_answer": _("no conclusive answer from the bank: %(words)s"),
        "sending": _("sending it: %(why)s"),
        "looking_up": _("checking with the bank: %(why)s"),
        "no_time_to_ask": _("too little time was left to check with the bank"),
        "no_time_to_send": _("too little time was left to send it"),
        # what the bank says of a transfer
        "bank_says": _("the bank says %(words)s"),
        "bank_reports": _("the bank reports it as “%(status)s”"),
        "why_unknown": _("the bank does not say why transfer %(id)s failed"),
        "bank_id": _("ID at the bank: %(id)s"),
        "at_bank": _("at the bank as %(id)s, “%(status)s”"),
        "hidden": _("the bank's answer leaves out transfer %(id)s, which it has confirmed before"),
        "twin_hidden": _(
            "the bank refused %(id)s as a duplicate of %(external_id)s, but does not show the other one"
        ),
        "two_credits": _("the bank names its transfer %(id)s for this credit and for another one"),
        "tag_only": _("the bank's transfer %(id)s has our tag but not our external ID"),
        "differs": _("the bank's transfer %(id)s differs from ours in: %(fields)s"),
        "lives_at_bank": _("%(external_id)s is under way at the bank"),
        "no_reissue_left": _(
            "transfer %(number)s of this credit failed, and no replacement is left: %(why)s"
        ),
        "reversed_before_sending": _("the credit was reversed before it was sent"),
        "lowered": _("lowered to %(centavos)s by a reversal"),
        "abandoned": _("abandoned by %(who)s: %(reason)s"),
        # what needs attention
        "stuck": _("no conclusive answer after %(attempts)s attempts; repasse keeps trying: %(why)s"),
        "unsettled": _(
            "the bank accepted it as %(id)s at %(at)s, and has not reported since whether it was paid"
        ),
        "success_withdrawn": _("the bank reported success for %(id)s and now “%(status)s”: %(why)s"),
        "paid_twice": _(
            "the bank reports success for %(id)s (%(external_id)s, %(centavos)s) while another transfer of the same "
            "credit is paid or under way"
        ),
        "paid_after_abandoned": _(
            "the bank reports success for %(id)s (%(external_id)s, %(centavos)s) after %(abandoned)s was abandoned; "
            "if it was also paid manually, it is paid twice"
        ),
        "reversed_after_sending": _(
            "the bank reversed %(centavos)s after transfer %(external_id)s (%(state)s) was sent or may have been"
        ),
        "second_credit": _(
            "log %(log_id)s credits invoice %(invoice_id)s with %(gross_centavos)s, fee %(fee_centavos)s; log "
            "%(first_log_id)s had credited %(first_gross_centavos)s. Only the first is forwarded"
        ),
        "nothing_left": _(
            "%(gross_centavos)s received, %(fee_centavos)s charged by the bank: nothing is left"
        ),
        "clock_set_back": _("the clock of %(host)s was set back by %(seconds)s"),
        "clock_set_forward": _("the clock of %(host)s was set forward by %(seconds)s"),
        "unreadable": _("signed by the bank, but not readable: %(words)s"),
        # a timeline
        "event_received": _("Webhook received: %(name)s (%(outcome)s)"),
        "event_fetched": _("Fetched by reconciliation: %(name)s (%(outcome)s)"),
        "credited": _(
            "%(gross_centavos)s credited, fee %(fee_centavos)s, net %(net_centavos)s: %(disposition)s"
        ),
        "credited_at": _("credited by the bank at %(at)s"),
        "credit_reversed": _("Credit reversed by the bank; %(centavos)s remaining"),
        "reversed_at": _("reversed at %(at)s"),
        "transfer_queued": _("Transfer of %(centavos)s queued"),
        "replacement_queued": _("Replacement %(number)s of %(centavos)s queued"),
        "fact_claimed": _("Attempt %(attempt)s started"),
        "fact_sent": _("Accepted by the bank"),
        "fact_found": _("Found at the bank"),
        "fact_unclear": _("No conclusive answer to attempt %(attempt)s"),
        "fact_released": _("Attempt %(attempt)s ended without sending; it will be retried"),
        "fact_failed": _("Rejected by the bank"),
        "fact_settled": _("Settled: the bank reports success"),
        "fact_dead": _("Blocked: manual action required"),
        "fact_stopped": _("Withdrawn before it was sent"),
        "fact_lowered": _("Amount lowered"),
        "transfer_reported": _("The bank reports a transfer of %(centavos)s: “%(status)s”"),
        "action_done": _("%(who)s: %(action)s; %(why)s"),
        "item_opened": _("Needs attention: %(kind)s"),
        "item_resolved": _("Resolved: %(kind)s"),
        # reconciliation
        "unanswered": "%(parts)s",
        "undelivered_events": _("undelivered events: %(why)s"),
        "invoice_logs": _("invoice logs: %(why)s"),
        "transfers_in_flight": _("transfers in flight: %(why)s"),
        "bug": _("a bug (%(name)s); the log has the details"),
        # results of actions
        "retry_queued": _("retry queued; repasse checks with the bank before sending"),
        "retry_once_resumed": _(
            "retry queued; forwarding is paused, so it waits until forwarding is resumed"
        ),
        "tried_now": _("queued to be tried now"),
        "tried_now_once_resumed": _("due now; forwarding is paused, so it waits until forwarding is resumed"),
        "given_up": _("abandoned; it will never be sent"),
        "resolved": _("resolved: %(kind)s, %(subject)s"),
        "forwarding_paused": _("forwarding is paused"),
        "issuing_paused": _("issuing is paused"),
        "forwarding_resumed": _("forwarding is running again"),
        "issuing_resumed": _("issuing is running again"),
        "batch_requested": _("batch %(tag)s requested; the worker issues it"),
        "replayed": _("event replayed; it was “%(before)s” and is now “%(now)s”"),
        "replayed_same": _("event replayed; nothing new, it is still “%(outcome)s”"),
        "replayed_many": _("%(number)s events replayed; something new followed from %(new)s"),
        "came_back": _("%(centavos)s came back from the destination"),
        "started": _("started"),
        "still_running": _("still running; it continues in the background"),
        "failed": _("failed: %(why)s"),
        "sent": _("transfers sent: %(sent)s, found at the bank already: %(found)s"),
        "sent_some": _("transfers sent: %(sent)s, found at the bank already: %(found)s, left: %(left)s"),
        "reconciled": _("reconciled: %(found)s new"),
        "reconciled_nothing": _("reconciled: nothing new"),
        "reconciled_partly": _("reconciliation incomplete, %(found)s new: %(why)s"),
        "issued": _("invoices issued: %(invoices)s, batches: %(batches)s"),
        "issued_partly": _(
            "invoices issued: %(invoices)s, batches: %(batches)s, not finished: %(left)s (%(parts)s). Run it again, or "
            "start the worker"
        ),
        # why an action is refused
        "not_tried": _("not tried: %(why)s"),
        "not_confirmed": _("not confirmed, so it may have been done; asking again is harmless: %(why)s"),
        "name_length": _("your name must have 1 to %(most)s characters"),
        "reason_length": _("the reason must have %(least)s to %(most)s characters"),
        "due_but_paused": _("%(external_id)s is queued and due already; forwarding is paused: resume it"),
        "due_already": _("%(external_id)s is queued and due already; it is sent once a web process runs"),
        "no_retry_sending": _(
            "cannot retry %(external_id)s: it is being sent; if that fails, it is retried automatically"
        ),
        "no_retry_sent": _(
            "cannot retry %(external_id)s: the bank has accepted it and has not reported an outcome yet"
        ),
        "no_retry_settled": _("cannot retry %(external_id)s: already settled"),
        "no_retry_failed": _(
            "cannot retry %(external_id)s: it failed at the bank, and its replacement carries the money"
        ),
        "no_retry_stopped": _(
            "cannot retry %(external_id)s: it was withdrawn; its credit was reversed, or another transfer carries it"
        ),
        "only_blocked_abandoned": _("%(external_id)s is %(state)s: only a blocked transfer can be abandoned"),
        "was_abandoned": _("%(external_id)s: %(why)s"),
        "no_transfer": _("there is no transfer “%(external_id)s”: its ID is like credit-<invoice ID>"),
        "nothing_owed": _("%(external_id)s: its credit was reversed, so nothing is owed; abandon it"),
        "paid_elsewhere": _(
            "%(external_id)s: the bank reports success for %(id)s of the same credit; check it in the bank's web "
            "application, then abandon this one"
        ),
        "too_many_failed": _(
            "%(external_id)s: %(number)s transfers of this credit have failed, the most that is tried; pay it manually "
            "and abandon it"
        ),
        "no_attention": _("there is no item %(id)s"),
        "already_resolved": _("item %(id)s was resolved already, at %(at)s"),
        "forwarding_paused_already": _("forwarding has been paused since %(at)s by %(who)s: %(reason)s"),
        "issuing_paused_already": _("issuing has been paused since %(at)s by %(who)s: %(reason)s"),
        "forwarding_not_paused": _("forwarding is not paused"),
        "issuing_not_paused": _("issuing is not paused"),
        "forwarding_is_paused": _(
            "forwarding has been paused since %(at)s by %(who)s: %(reason)s. Resume it first"
        ),
        "issuing_is_paused": _(
            "issuing has been paused since %(at)s by %(who)s: %(reason)s. Resume it first"
        ),
        "no_event": _("there is no event “%(id)s”"),
        "nothing_to_claim_back": _("nothing is to be claimed back of invoice %(invoice_id)s"),
        "not_settled_yet": _(
            "a transfer of invoice %(invoice_id)s has not settled and may still fail: wait until it has"
        ),
        "only_with_an_emulator": _("a batch can be issued manually only with an emulator"),
        "running_already": _("it is running already: wait until it ends"),
    }
