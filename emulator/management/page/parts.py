"""The small parts that the pages are made of: badges, buttons, forms, tables, times and links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.management.page.html import Html, tag

# What a state means to a person who looks for trouble.
_TONES = {
    "paid": "good", "success": "good", "credited": "good", "delivered": "good",
    "failed": "bad", "expired": "bad", "canceled": "bad", "voided": "bad", "undelivered": "bad",
    "overdue": "warn", "processing": "warn", "sending": "warn",
}  # fmt: skip


def badge(words: Any, tone: str | None = None) -> Html:
    """A word with a colour."""
    return tag("span", words, class_=f"badge {tone or _TONES.get(str(words), '')}".strip())


def status_badge(status: Any) -> Html:
    """An HTTP status with a colour; nothing came for 0 and None."""
    if not status:
        return badge("none", "bad")
    return badge(status, "good" if status == 200 else "bad" if status >= 500 or status == 429 else "warn")


def button(path: str, words: str, back: str, title: str = "", **fields: Any) -> Html:
    """A form that is only a button."""
    hidden = [tag("input", type="hidden", name=name, value=value) for name, value in fields.items()]
    return form(path, back, hidden, tag("button", words, title=title or None), class_="inline")


def form(path: str, back: str, *children: Any, class_: str = "row") -> Html:
    """A form for the management face; afterwards the page is shown again at `back`."""
    return tag(
        "form",
        tag("input", type="hidden", name="back", value=back),
        *children,
        method="post",
        action=f"/emulator/{path}",
        class_=class_,
    )


def field(label: str, name: str, size: int = 6, **attributes: Any) -> Html:
    """A text field with its label."""
    return tag("label", label, tag("input", name=name, size=size, autocomplete="off", **attributes))


def table(heads: list[str], rows: list[list[Any]], nothing: str) -> Html:
    """A table, or a word that there is nothing."""
    if not rows:
        return tag("p", nothing, class_="nothing")
    head = tag("tr", [tag("th", each) for each in heads])
    body = [tag("tr", [tag("td", each) for each in row]) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")


def section(name: str, title: str, count: Any, *children: Any, live: bool = True) -> Html:
    """A part of the page with a name, a title and a count; a live one is kept up to date."""
    heading = tag("h2", title, " ", tag("span", count, class_="count") if count is not None else None)
    return tag("section", heading, *children, id=name, data_live=True if live else None)


def moment(text: Any) -> Html:
    """A time, short; the whole of it on pointing."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return tag("span", text)
    return tag("time", f"{at:%d/%m %H:%M:%S}", title=text, datetime=text)


def view(kind: str, row_id: Any, words: Any = None) -> Html:
    """A link to the page of one entity."""
    return tag("a", words or row_id, href=f"/emulator/view/{kind}/{row_id}", class_="id")


def short(text: Any, most: int = 34) -> str:
    """A text cut to fit a column."""
    words = str(text)
    return words if len(words) <= most else words[: most - 1] + "…"
