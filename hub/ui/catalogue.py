"""Bring the catalogues up to what the console says: run as ``python hub/ui/catalogue.py`` after changing a text.

New messages enter ``web/locale/<language>/LC_MESSAGES/messages.po`` without a translation (a test then names them); what nobody
says any more is removed. The hub reads the .po files themselves.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "prahari_hub"
LOCALES = ("hi",)
METHODS = [("web/templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
KEYWORDS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}
JS_MESSAGE = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')


@cache
def messages() -> tuple[str, ...]:
    """Every message of templates, Python and browser code."""
    return tuple(_messages())


def _messages() -> Iterator[str]:
    options = {"web/templates/**.html": {"trimmed": "true", "silent": "false"}}
    for _file, _line, found, _comments, _context in extract_from_dir(
        PACKAGE, METHODS, options, keywords=KEYWORDS
    ):
        yield from (found,) if isinstance(found, str) else found
    for path in sorted((HERE / "src").glob("*.js")):
        yield from JS_MESSAGE.findall(path.read_text())


def po_file(locale: str) -> Path:
    return PACKAGE / "web" / "locale" / locale / "LC_MESSAGES" / "messages.po"


def catalogue(locale: str) -> Catalog:
    with po_file(locale).open("rb") as file:
        return read_po(file, locale=locale)


def untranslated(locale: str) -> list[str]:
    known = {message.id for message in catalogue(locale) if message.string}
    return sorted({message for message in messages() if message and message != "…"} - known)


def update(locale: str) -> None:
    path = po_file(locale)
    old = {str(message.id): message.string for message in catalogue(locale)} if path.is_file() else {}
    fresh = Catalog(locale=locale, project="Prahari", header_comment="# What the console says.")
    for message in sorted({message for message in messages() if message and message != "…"}):
        fresh.add(message, old.get(message, ""))
    fresh.creation_date = fresh.revision_date = None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, fresh, width=0, omit_header=True, include_previous=False, no_location=True)


def main() -> int:
    for locale in LOCALES:
        update(locale)
        for message in untranslated(locale):
            print(f"{locale}: no translation of {message!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
