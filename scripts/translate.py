"""``scripts/translate``: adds new messages to the catalogues, removes unused ones, prints those left to translate.

A catalogue's header is written by hand, and stays as it is: it says how many plural forms the language has.
"""

import io
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po, write_po

from payments.language import CATALOGUES

ROOT = Path(__file__).parents[1]
SOURCES = ("payments", "webhooks", "worker", "repasse")


def main() -> int:
    """Update every catalogue; exit status 1 while a message has no translation."""
    template = extract()
    left = 0
    for file in sorted(CATALOGUES.glob("*.po")):
        header = file.read_text("utf-8").partition("\n\n")[0]
        catalogue = read_catalogue(file)
        catalogue.update(template, no_fuzzy_matching=True)
        body = io.BytesIO()
        write_po(
            body,
            catalogue,
            width=0,
            no_location=True,
            omit_header=True,
            sort_output=True,
            ignore_obsolete=True,
        )
        file.write_text(f"{header}\n\n{body.getvalue().decode()}", "utf-8")
        missing = untranslated(catalogue)
        left += len(missing)
        print("\n".join([f"{file.relative_to(ROOT)}: {len(missing)} without a translation", *missing]))
    return 1 if left else 0


def extract() -> Catalog:
    """Every message that the code and the templates have, as pyproject.toml says where to look."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "messages.pot"
        sources = [str(ROOT / each) for each in SOURCES]
        mapping = ["--mapping-file", str(ROOT / "pyproject.toml")]
        command = ["pybabel", "-q", "extract", *mapping, "--output-file", str(file), *sources]
        CommandLineInterface().run(command)  # type: ignore[no-untyped-call]
        return read_catalogue(file)


def read_catalogue(file: Path) -> Catalog:
    """A catalogue as Babel reads it."""
    with file.open("rb") as content:
        return read_po(content)


def untranslated(catalogue: Catalog) -> list[str]:
    """The messages that lack a translation, or one of its plural forms."""
    return [texts(each.id)[0] for each in catalogue if each.id and not all(texts(each.string) or [""])]


def texts(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """One text, or those of a plural."""
    return (text,) if isinstance(text, str) else tuple(text or ())


if __name__ == "__main__":
    sys.exit(main())
