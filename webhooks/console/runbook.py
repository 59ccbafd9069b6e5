"""The runbook as a page of the console, so that what needs attention leads to what to do about it.

Read from docs/runbook.md, or docs/runbook.<language>.md where there is one. HTML in it is text, and its links to other
files of the repository are words: the console has no such pages.
"""

import re
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_DOCS = Path(__file__).parents[2] / "docs"


@cache
def runbook(code: str) -> Markup | None:
    """The runbook in a language, or else in English; None on a machine that has only the program."""
    files = [_DOCS / f"runbook.{code}.md", _DOCS / "runbook.md"]
    file = next((each for each in files if each.exists()), None)
    return None if file is None else as_page(file.read_text("utf-8"))


def as_page(text: str) -> Markup:
    """Markdown as HTML whose headings have the addresses that GitHub gives them."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _address(tokens[place + 1].content))
        elif token.type in ("table_open", "fence"):
            token.attrSet("tabindex", "0")  # they scroll sideways, from the keyboard too
        _unlink(token.children or [])
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - our own file, HTML switched off


def _unlink(children: list[Token]) -> None:
    is_elsewhere = False
    for child in children:
        if child.type == "link_open":
            is_elsewhere = not str(child.attrGet("href")).startswith("#")
        if child.type in ("link_open", "link_close") and is_elsewhere:
            child.tag, child.attrs = "span", {}


def _address(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
