"""Finished English, without its values apart, in the reader's language: pydantic's, the wire contract's, devices' and of commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from prahari_hub.texts import N_

EXPECTED = (
    N_("Field required"),
    N_("Extra inputs are not permitted"),
    N_("Input should be greater than or equal to {least}"),
    N_("Input should be less than or equal to {most}"),
    N_("Input should be greater than {bound}"),
    N_("Input should be less than {bound}"),
    N_("Input should be a valid string"),
    N_("Input should be a valid integer"),
    N_("Input should be a valid integer, unable to parse string as an integer"),
    N_("Input should be a valid integer, got a number with a fractional part"),
    N_("Input should be a valid number"),
    N_("Input should be a valid number, unable to parse string as a number"),
    N_("Input should be a valid boolean"),
    N_("Input should be a valid boolean, unable to interpret input"),
    N_("Input should be a valid list"),
    N_("Input should be a valid dictionary"),
    N_("Input should be an object"),
    N_("Input should be a finite number"),
    N_("Input should have timezone info"),
    N_("Input should be a valid date or datetime, {why}"),
    N_("Input should be a valid datetime or date, {why}"),
    N_("Input should be {choices}"),
    N_("String should have at least 1 character"),
    N_("String should have at least {n} characters"),
    N_("String should have at most {n} characters"),
    N_("String should match pattern '{pattern}'"),
    N_("{kind} should have at least 1 item after validation, not {m}"),
    N_("{kind} should have at least {n} items after validation, not {m}"),
    N_("{kind} should have at most 1 item after validation, not {m}"),
    N_("{kind} should have at most {n} items after validation, not {m}"),
    N_("Input tag '{tag}' found using {field} does not match any of the expected tags: {tags}"),
    N_("Unable to extract tag using discriminator {field}"),
    N_("The request is larger than the {kib} KiB that are accepted here."),
    N_("nested deeper than {depth}"),
    N_("a text holds the character NUL; send it without"),
    N_("the address must not carry a user or password: put them in the box's secrets.toml"),
    N_(
        "the address must not carry a password: write {{password}} in its place and put it in the box's secrets.toml"
    ),
    N_("corner {n} stands twice in a row: leave one of the two out"),
    N_("the polygon crosses itself (edge {a} meets edge {b}): draw its corners in order around the area"),
    N_("the polygon encloses nothing: draw it around an area"),
    N_("a point of the line stands twice in a row: leave one of the two out"),
    N_("two rules are called {id}: each needs an id of its own"),
    N_("rule {id}: clear must be less than most, or the crowd would never be over"),
    N_("The message is empty: type at least one character."),
    N_("Type of {size} px cannot be read: use {least} px or more, or let the display choose."),
    N_("“{text}” cannot be drawn: the display has no such combination of characters."),
    N_("“{text}” has a vowel sign or mark without its letter: correct the spelling."),
    N_("{character} cannot be drawn: the display has the scripts of India, digits and arrows."),
    N_("The display has no configuration yet: try again when its twin is applied."),
    N_("The picture is still being fetched: ask for the preview again in a moment."),
    N_("The picture has {across} x {down} pixels: it must have {width} x {height}, or be fitted."),
    N_("The file is not a PNG or JPEG that can be read: upload the picture again."),
    N_("the camera gave no picture within {n} s: try again"),
    N_("the camera gives no picture now: {problem}"),
    N_("the box draws another copy of this camera: try again in some minutes"),
    N_("there is no footage of that time on the box any more"),
    N_("there is no footage of that time on the box"),
    N_("replaced by a newer command"),
    N_("cancelled by {who}"),
    N_("it could not be sent before it expired"),
    N_("the device did not accept it in time"),
    N_("the device began it and has not said how it ended"),
)
"""Patterns, the closer one before the wider one."""
_VALUE_ERROR = "Value error, "


def _pattern(text: str) -> re.Pattern[str]:
    """The expression for what ``text`` says with any values."""
    parts = re.split(r"(\{\{|\}\}|\{\w+\})", text)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if part in ("{{", "}}"):
        return re.escape(part[0])
    return f"(?P<{part[1:-1]}>.+)" if part.startswith("{") else re.escape(part)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((text, _pattern(text)) for text in EXPECTED)


def expected(found: Mapping[str, str], detail: str) -> str:
    """``path: message`` with the message as the catalogue ``found`` says it; one that is not known stays as it is."""
    if (said := _message(found, detail)) is not None:
        return said
    where, _, message = detail.partition(": ")
    said = _message(found, message)
    return detail if said is None else f"{where}: {said}"


def _message(found: Mapping[str, str], message: str) -> str | None:
    message = message.removeprefix(_VALUE_ERROR)
    if message in found:
        return found[message]
    for text, pattern in _patterns() if found else ():
        if text in found and (values := pattern.fullmatch(message)):
            return found[text].format(**values.groupdict())
    return None
