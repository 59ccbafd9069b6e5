"""The one page: what the bank holds and does, with the buttons to make it do something else.

Everything shown is read from the bank at each request. Parts that change are marked live; the few lines of
JavaScript only fetch the same page again and swap those.
"""

from __future__ import annotations

from typing import Any

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.books.formats import time_text
from emulator.books.table import Row
from emulator.clock import Clock
from emulator.management.actions import newest
from emulator.management.page.html import Html, join, tag
from emulator.management.page.parts import (
    badge,
    button,
    field,
    form,
    moment,
    section,
    short,
    status_badge,
    table,
    view,
)
from emulator.management.sentences import Note, Notes, fault_rules, money
from emulator.management.triggers import TRIGGERS
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.endpoint import ProtocolEndpoint

# As many as fit a screen or two; the rest is a call of the management face away.
ROWS = 15


def dashboard(bank: Bank, clock: Clock, endpoint: ProtocolEndpoint, posts: Deliveries, notes: Notes) -> Html:
    """The page's body."""
    return join(
        [
            _header(clock),
            _notes(notes.newest()),
            _tiles(bank, endpoint, posts),
            tag("div", _clock_form(clock), _trigger_form(), _fault_form(), class_="tools"),
            _faults(bank),
            _invoices(bank),
            _transfers(bank),
            _events(bank),
            _deliveries(posts),
            _webhooks(bank),
            _requests(endpoint),
            _agenda(bank),
        ]
    )


def _header(clock: Clock) -> Html:
    pace = "paused" if clock.paused else f"×{clock.speed:g}"
    return tag(
        "header",
        tag("h1", "Emulator", tag("span", "a test, not a bank: no money moves", class_="mark")),
        tag(
            "p",
            tag("time", f"{clock.now():%d/%m/%Y %H:%M:%S} UTC", datetime=time_text(clock.now())),
            " ",
            badge(pace, "warn" if clock.paused else None),
            id="now",
            data_live=True,
        ),
    )


def _notes(notes: list[Note]) -> Html:
    lines = [
        tag("li", moment(time_text(note.at)), " ", note.words, class_="good" if note.is_good else "bad")
        for note in notes
    ]
    return tag("ul", lines, id="notes", class_="notes", data_live=True, role="status")


def _tiles(bank: Bank, endpoint: ProtocolEndpoint, posts: Deliveries) -> Html:
    invoices, transfers = bank.invoices, bank.transfers
    credited = sum(each.net_centavos for each in invoices.credited.values())
    sent = transfers.status_centavos.get("success", 0)
    tiles = [
        (
            "Balance",
            money(bank.accounts.customer_centavos),
            "",
            "bad" if bank.accounts.customer_centavos < 0 else "",
        ),
        ("Credited", money(credited), f"{len(invoices.credited)} of {len(invoices.rows)} invoices", ""),
        ("Sent out", money(sent), f"{transfers.status_counts.get('success', 0)} transfers", ""),
        (
            "Undelivered events",
            str(len(bank.events.undelivered)),
            f"of {len(bank.events.rows)}; {posts.under_way} under way",
            "warn" if bank.events.undelivered else "",
        ),
        ("Requests", str(endpoint.history.count), "since the start", ""),
    ]
    return tag(
        "div",
        [
            tag(
                "div",
                tag("span", name),
                tag("strong", value),
                tag("small", words),
                class_=f"tile {tone}".strip(),
            )
            for name, value, words, tone in tiles
        ],
        id="tiles",
        class_="tiles",
        data_live=True,
    )


# --- forms --------------------------------------------------------------------------------------------------


def _clock_form(clock: Clock) -> Html:
    jumps = [("+1 min", 60), ("+15 min", 900), ("+1 h", 3_600), ("+1 day", 86_400)]
    return section(
        "clock",
        "Clock",
        None,
        form(
            "clock",
            "clock",
            field("speed", "speed", value=f"{clock.speed:g}", inputmode="decimal"),
            tag("button", "Set"),
        ),
        tag(
            "div",
            button(
                "clock",
                "Go on" if clock.paused else "Pause",
                "clock",
                paused="false" if clock.paused else "true",
            ),
            button("clock", "Next thing", "clock", "jump to what is planned next, and do it", steps=1),
            [button("clock", words, "clock", advance=seconds) for words, seconds in jumps],
            class_="row",
        ),
        live=False,
    )


def _trigger_form() -> Html:
    options = [tag("option", name, value=name, selected=name == "invoice.credited") for name in TRIGGERS]
    return section(
        "trigger",
        "Trigger",
        None,
        form(
            "trigger",
            "trigger",
            tag("label", "story", tag("select", options, name="name")),
            field("centavos", "amount", 8, value="10000", inputmode="numeric"),
            tag("button", "Play"),
        ),
        tag("p", "Makes an entity, takes it there at once and sends its events.", class_="hint"),
        live=False,
    )


def _fault_form() -> Html:
    def group(label: str, names: Any) -> Html:
        return tag("optgroup", [tag("option", name, value=name) for name in names], label=label)

    choices = [group("scenarios", SCENARIOS), group("packs", PACKS), group("faults", FAULTS)]
    return section(
        "switch",
        "Misbehave",
        None,
        form(
            "faults",
            "faults",
            tag("label", "what", tag("select", choices, name="name")),
            field("times", "times", 3, inputmode="numeric", placeholder="∞"),
            field("rate", "rate", 3, inputmode="decimal", placeholder="1"),
            field("ends in", "ends_in", 3, inputmode="numeric", placeholder="any"),
            field("only id", "only", 12, placeholder="any"),
            tag("button", "Switch on"),
        ),
        live=False,
    )


# --- lists --------------------------------------------------------------------------------------------------


def _faults(bank: Bank) -> Html:
    active = bank.faults.active()
    rows = [
        [
            [tag("strong", each.scenario or each.name), " ", fault_rules(each.to_json())],
            each.struck,
            button("faults/clear", "Clear", "faults", id=each.number),
        ]
        for each in active
    ]
    everything = button("faults/clear", "Clear all", "faults") if active else None
    shown = table(["fault", "struck", ""], rows, "Everything behaves.")
    return section("faults", "Faults", len(active), shown, everything)


def _invoices(bank: Bank) -> Html:
    rows = [
        [
            view("invoice", row["id"]),
            short(row["name"]),
            tag("span", money(row["amount"]), class_="money"),
            [badge(row["status"]), " ", badge("credited") if row["id"] in bank.invoices.credited else None],
            moment(row["created"]),
            tag("div", invoice_buttons(bank, row, all_of_them=False), class_="acts"),
        ]
        for row in newest(bank.invoices.rows, ROWS)
    ]
    heads = ["invoice", "payer", "amount", "status", "created", ""]
    return section("invoices", "Invoices", len(bank.invoices.rows), table(heads, rows, "No invoice yet."))


def invoice_buttons(bank: Bank, row: Row, *, all_of_them: bool = True) -> list[Html]:
    """What can be done to an invoice as it stands; in a list, what is done most."""
    path = f"invoices/{row['id']}"
    words: list[str] = []
    if row["status"] in ("created", "overdue"):
        words = ["pay", "credit", "expire", "cancel"]
        if all_of_them:
            words += ["underpay", *(["overdue"] if row["status"] == "created" else [])]
    elif row["status"] == "paid" and row["id"] not in bank.invoices.credited:
        words = ["credit"]
    elif row["status"] == "paid" and row["id"] not in bank.invoices.reversals:
        words = ["reverse"]
    return [button(f"{path}/{word}", word.capitalize(), "invoices") for word in words]


def _transfers(bank: Bank) -> Html:
    rows = [
        [
            view("transfer", row["id"]),
            short(row["externalId"]),
            tag("span", money(row["amount"]), class_="money"),
            badge(row["status"]),
            moment(row["created"]),
            tag("div", transfer_buttons(row), class_="acts"),
        ]
        for row in newest(bank.transfers.rows, ROWS)
    ]
    heads = ["transfer", "external id", "amount", "status", "created", ""]
    return section("transfers", "Transfers", len(bank.transfers.rows), table(heads, rows, "No transfer yet."))


def transfer_buttons(row: Row, back: str = "transfers") -> list[Html]:
    """What can be done to a transfer as it stands."""
    path = f"transfers/{row['id']}"
    if row["status"] not in ("created", "processing"):
        return []
    return [
        button(f"{path}/settle", "Settle", back),
        button(f"{path}/fail", "Fail", back, reason="Failed by hand"),
    ]


def _events(bank: Bank) -> Html:
    rows = [
        [
            view("event", row["id"]),
            f"{row['subscription']}.{row['log']['type']}",
            badge("delivered" if row["isDelivered"] else "undelivered"),
            moment(row["created"]),
            tag("div", event_buttons(row), class_="acts"),
        ]
        for row in newest(bank.events.rows, ROWS)
    ]
    nothing = "No event yet: they exist where a webhook is subscribed."
    heads = ["event", "type", "", "created", ""]
    return section("events", "Events", len(bank.events.rows), table(heads, rows, nothing))


def event_buttons(row: Row, back: str = "deliveries") -> list[Html]:
    """What can be done to an event."""
    path = f"events/{row['id']}"
    return [
        button(f"{path}/send", "Send", back, "post it to the newest webhook and show the answer"),
        button(f"{path}/send", "Forge", back, "the same, signed by a stranger", forged="true"),
        button(f"{path}/redeliver", "×3", back, "post it three times to all webhooks", count=3),
        button(f"{path}/drop", "Drop", "events", "lose what is still to be posted of it"),
    ]


def _deliveries(posts: Deliveries) -> Html:
    rows = [
        [
            view("delivery", each["number"]),
            moment(each["at"]),
            f"{each['subscription']}.{each['type']}",
            short(each["url"], 48),
            [status_badge(each["status"]), " ", badge("forged", "warn") if each["forged"] else None],
            short(each["answer"].decode("utf-8", "replace") or each["message"]),
            f"{each['ms']:.0f} ms",
        ]
        for each in posts.history.newest(ROWS)
    ]
    heads = ["", "at", "event", "to", "answer", "", ""]
    return section(
        "deliveries", "Deliveries", posts.history.count, table(heads, rows, "Nothing was posted yet.")
    )


def _webhooks(bank: Bank) -> Html:
    rows = [
        [row["id"], short(row["url"], 60), ", ".join(row["subscriptions"])]
        for row in newest(bank.events.webhooks, ROWS)
    ]
    adding = form(
        "webhooks",
        "webhooks",
        field("url", "url", 40, placeholder="http://127.0.0.1:8000/webhooks/starkbank"),
        field("subscriptions", "subscriptions", 24, value="invoice,transfer,deposit"),
        tag("button", "Subscribe"),
    )
    shown = tag(
        "div", table(["webhook", "url", "subscriptions"], rows, "No webhook yet."), id="hooks", data_live=True
    )
    return section("webhooks", "Webhooks", None, shown, adding, live=False)


def _requests(endpoint: ProtocolEndpoint) -> Html:
    rows = [
        [
            view("request", each["number"]),
            moment(each["at"]),
            each["method"],
            short(each["path"] + (f"?{each['query']}" if each["query"] else ""), 70),
            status_badge(each["status"]),
            [", ".join(each["errors"]), badge(each["fault"], "warn") if each["fault"] else None],
            f"{each['ms']:.1f} ms",
        ]
        for each in endpoint.history.newest(ROWS)
    ]
    heads = ["", "at", "", "path", "answer", "", ""]
    return section(
        "requests", "Requests", endpoint.history.count, table(heads, rows, "Nobody has called yet.")
    )


def _agenda(bank: Bank) -> Html:
    rows = [
        [moment(time_text(at)), name, ", ".join(str(each) for each in args if isinstance(each, str))]
        for at, name, args in bank.agenda.entries(ROWS)
    ]
    return section(
        "planned", "Planned", len(bank.agenda), table(["at", "what", "of"], rows, "Nothing is planned.")
    )
