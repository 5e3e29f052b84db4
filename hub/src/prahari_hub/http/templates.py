"""Pages: Jinja2 with the console's templates, in the reader's language, and the names of what the build produced.

A page never shows what its reader may not read: each route checks the role; templates only leave out the buttons.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from prahari_hub.errors import SetupError
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.language import LOCALES, catalogue, locale_of, say, translate
from prahari_hub.http.words import WORDS

WEB = Path(__file__).parent.parent / "web"
DIST = WEB / "static" / "dist"
IST = timezone(timedelta(hours=5, minutes=30), "IST")


@cache
def manifest() -> Mapping[str, str]:
    """Name → file with its hash, as hub/ui/build.py wrote them."""
    try:
        found: dict[str, str] = json.loads((DIST / "manifest.json").read_text())
    except FileNotFoundError:
        raise SetupError("The console's files are not built; run make setup.") from None
    return found


def asset(name: str) -> str:
    """Address of a built file."""
    return f"/static/dist/{manifest()[name]}"


@cache
def browser_strings(locale: str) -> Mapping[str, str]:
    """The translations that browser code needs, by message."""
    messages = json.loads((DIST / manifest()["strings.json"]).read_text())
    found = catalogue(locale)
    return {message: found[message] for message in messages if message in found}


@cache
def environment(locale: str) -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )

    def gettext(message: str) -> str:
        return translate(locale, message)

    def ngettext(one: str, many: str, n: int) -> str:
        return translate(locale, one if n == 1 else many)

    def word(key: object, group: str) -> str:
        """A word of the product's vocabulary in the reader's language; an unknown one as it is."""
        known = WORDS[group].get(str(key))
        return gettext(known) if known else str(key)

    def said(sentence: object) -> str:
        """A sentence that a service wrote, or an error, translated where the catalogue has it."""
        return say(locale, sentence)

    found.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    found.globals.update(asset=asset, locales=LOCALES, Role=Role)
    found.filters.update(word=word, say=said, clock=clock, stamp=stamp, when=when, pretty=pretty)
    return found


def page(
    request: Request, actor: Actor | None, template: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """Render ``template``; ``context`` joins what every page has."""
    locale = locale_of(request, actor)
    text = (
        environment(locale)
        .get_template(template)
        .render(
            actor=actor,
            locale=locale,
            csrf=(actor.csrf or "") if actor else "",
            path=request.url.path,
            query=request.url.query,
            now=datetime.now(UTC),
            strings=browser_strings(locale),
            live=getattr(request.state, "live", None),
            **context,
        )
    )
    return HTMLResponse(text, status)


def is_fragment(request: Request) -> bool:
    """htmx asks for a part of the page (and not because the user went back to it)."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def clock(at: datetime) -> str:
    """13:05:09, Indian time."""
    return at.astimezone(IST).strftime("%H:%M:%S")


def stamp(at: datetime) -> str:
    """2026-11-21 13:05:09, Indian time."""
    return at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def when(at: datetime | None) -> Markup:
    """A time element: the clock today, the date too on other days; browser code keeps the age beside it current."""
    if at is None:
        return Markup('<span class="none">–</span>')
    local = at.astimezone(IST)
    today = local.date() == datetime.now(IST).date()
    shown = local.strftime("%H:%M:%S" if today else "%d %b %H:%M")
    return Markup('<time datetime="{}" title="{} IST">{}</time>').format(
        at.astimezone(UTC).isoformat(timespec="milliseconds"), stamp(at), shown
    )


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False, default=str)
