"""The reader's language: which it is, and what a text says in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from fastapi import Request

from prahari_hub.errors import HubError
from prahari_hub.http.actor import Actor
from prahari_hub.http.expected import expected
from prahari_hub.http.words import WORDS
from prahari_hub.texts import Checked, Series, Term, Text

LOCALE_COOKIE = "prahari_locale"
LOCALES = {"en": "English", "hi": "हिन्दी"}
CATALOGUES = Path(__file__).parent.parent / "web" / "locale"


@cache
def catalogue(locale: str) -> Mapping[str, str]:
    """Message → translation, read from the .po file itself; empty for English."""
    path = CATALOGUES / locale / "LC_MESSAGES" / "messages.po"
    if locale not in LOCALES or not path.is_file():
        return {}
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        found = read_po(file, locale=locale)
    return {str(message.id): str(message.string) for message in found if message.id and message.string}


def translate(locale: str, message: str) -> str:
    return catalogue(locale).get(message, message)


def say(locale: str, said: object) -> str:
    """A text, an error or a plain sentence in the language ``locale``; values of a text stay as they are unless they are texts too.

    What has no translation is said in English.
    """
    match said:
        case HubError():
            return say(locale, said.text)
        case Term():
            return (
                translate(locale, WORDS[said.group].get(said.key, said.key)) if locale != "en" else said.key
            )
        case Series():
            parts = (str(_value(locale, part)) for part in said.parts)
            return translate(locale, said.joint).join(parts)
        case Text():
            values = {name: _value(locale, value) for name, value in said.values.items()}
            return str(replace(said, template=translate(locale, said.template), values=values))
        case _:
            return expected(catalogue(locale), str(said))


def _value(locale: str, value: object) -> object:
    return say(locale, value) if isinstance(value, (HubError, Term, Series, Checked, Text)) else value


def locale_of(request: Request, actor: Actor | None) -> str:
    """The account's language; before log-in the browser's cookie, then what the browser asks for.

    An authenticator notes the account's in ``request.state.locale``: an error's page knows of no actor.
    """
    if actor is not None and actor.kind == "user":
        return actor.locale if actor.locale in LOCALES else "en"
    for known in (getattr(request.state, "locale", None), request.cookies.get(LOCALE_COOKIE)):
        if known in LOCALES:
            return str(known)
    return "hi" if request.headers.get("accept-language", "").lower().startswith("hi") else "en"
