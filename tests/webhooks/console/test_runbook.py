"""The runbook in the console: each kind of attention has its heading, and nothing in it is markup from outside."""

import re

from payments.ledger.attention import AttentionKind
from tests.webhooks.console.conftest import Console
from webhooks.console.runbook import as_page


def test_every_attention_leads_to_its_section(console: Console) -> None:
    """In both languages; the card's link is an address on the page."""
    for language in ("en", "pt-BR"):
        page = console.get("/runbook", **{"Accept-Language": language}).text
        assert set(AttentionKind) <= set(re.findall(r'<h3 id="([a-z_]+)"', page)), language
    console.web.deliver(b"what is this")
    assert 'href="/console/runbook#unreadable_event"' in console.page("/attention")


def test_links_to_files_are_words_and_html_is_text() -> None:
    """A link within the page stays; the console has no file of the repository."""
    page = as_page("# A b, c\n\n[there](#a-b-c) [deploy](deploy.md) <script>\n\n| a |\n|---|\n| `x` |\n")
    assert '<h1 id="a-b-c">' in page
    assert '<a href="#a-b-c">there</a>' in page
    assert "<span>deploy</span>" in page
    assert "&lt;script&gt;" in page
    assert '<table tabindex="0">' in page
