"""From text to positioned glyphs: HarfBuzz shapes, python-bidi orders, nothing of the system is needed.

All lengths are in thousandths of the type size (``UNITS``), so that a line is shaped once for all sizes.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from prahari_agent.errors import Rejected

UNITS = 1000
_FONTS = Path(__file__).parent / "fonts"
_JOINERS = "\u200c\u200d"
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufe0e\ufe0f\ufeff"))
"""What copying from a phone or a web page leaves in a text: soft hyphens, zero-width spaces, emoji selectors."""
_SHARED = " \u0964\u0965"
"""The space, and the dandas that all Indian scripts write."""
_JOINERS_AS_MARKS = {ord(joiner): "\u0300" for joiner in _JOINERS}
"""python-bidi drops joiners from its result; a mark takes the level of its letter, as a joiner should."""
_DOTTED_CIRCLE = 0x25CC


class Face(NamedTuple):
    """``block`` is the part of Unicode that the font is for; ``least_px`` the smallest size read from a sign.

    Latin: capitals of 7 pixels, the 5 x 7 letter of traffic signs. Scripts with signs above and below the
    letter need the same for the letter's body, which is a smaller part of the type size.
    """

    file: str
    script: str
    block: range
    least_px: int


_ALL = range(0x110000)
FACES = (
    Face("latin.ttf", "Latin", _ALL, 10),
    Face("latin-ext.ttf", "Latin", _ALL, 10),
    Face("devanagari.ttf", "Devanagari", range(0x0900, 0x0980), 13),
    Face("bengali.ttf", "Bengali", range(0x0980, 0x0A00), 13),
    Face("gurmukhi.ttf", "Gurmukhi", range(0x0A00, 0x0A80), 13),
    Face("gujarati.ttf", "Gujarati", range(0x0A80, 0x0B00), 13),
    Face("oriya.ttf", "Odia", range(0x0B00, 0x0B80), 13),
    Face("tamil.ttf", "Tamil", range(0x0B80, 0x0C00), 13),
    Face("telugu.ttf", "Telugu", range(0x0C00, 0x0C80), 13),
    Face("kannada.ttf", "Kannada", range(0x0C80, 0x0D00), 13),
    Face("malayalam.ttf", "Malayalam", range(0x0D00, 0x0D80), 13),
    Face("arabic.ttf", "Arabic", range(0x0600, 0x0700), 13),
    Face("arrows.ttf", "arrows", range(0x2190, 0x2200), 10),
)
"""In the order in which a character is looked for."""


class Glyph(NamedTuple):
    """``x`` and ``y`` are the glyph's origin, counted from the start of the line's baseline."""

    face: Face
    id: int
    x: int
    y: int


class Line(NamedTuple):
    """Shaped text: ``ascent`` and ``descent`` are the reach of its ink above and below the baseline."""

    glyphs: tuple[Glyph, ...]
    width: int
    ascent: int
    descent: int


def paragraphs(text: str) -> list[str]:
    """The lines that the author typed, normalised; Rejected names a character that cannot be drawn."""
    visible = unicodedata.normalize("NFC", text).translate(_INVISIBLE).strip()
    found = [" ".join(line.split()) for line in visible.splitlines()]
    if not any(found):
        raise Rejected("The message is empty: type at least one character.")
    for character in sorted({character for line in found for character in line}):
        if character not in _JOINERS and (_face_of(character) is None or _has_no_properties(character)):
            raise Rejected(
                f"{_named(character)} cannot be drawn: the display has the scripts of India, digits and arrows."
            )
    return found


def least_px(text: str) -> int:
    """The smallest legible size of ``text``."""
    faces = {_face_of(character) for character in text} - {None}
    return max((face.least_px for face in faces if face is not None), default=FACES[0].least_px)


def shape(text: str, *, rtl: bool | None = None) -> Line:
    """Shape one line of text that ``paragraphs`` has let through; ``rtl``: direction of its paragraph."""
    glyphs: list[Glyph] = []
    pen = ascent = descent = 0
    for face, level, part in _visual_runs(text, is_rtl(text) if rtl is None else rtl):
        for glyph, advance, above, below in _shape_run(face, part, rtl=level % 2 == 1):
            glyphs.append(glyph._replace(x=glyph.x + pen))
            pen += advance
            ascent, descent = max(ascent, above), max(descent, below)
    return Line(tuple(glyphs), pen, ascent, descent)


def is_rtl(text: str) -> bool:
    """Whether a paragraph runs from right to left: its first letter does."""
    for character in text:
        match unicodedata.bidirectional(character):
            case "L":
                return False
            case "R" | "AL":
                return True
    return False


@cache
def font(face: Face) -> Any:
    """The HarfBuzz font of a face, scaled to UNITS."""
    import uharfbuzz

    path = _FONTS / face.file
    if not path.is_file():
        raise Rejected(
            "The display's fonts are not installed: run make setup, or python agent/fonts/build.py."
        )
    loaded = uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(str(path))))
    loaded.scale = (UNITS, UNITS)
    return loaded


@cache
def _face_of(character: str) -> Face | None:
    """The first face that has the character."""
    return next((face for face in FACES if ord(character) in face.block and _has(face, character)), None)


def _has_no_properties(character: str) -> bool:
    """Control characters, and letters younger than this Python's Unicode, whose direction is not known."""
    return unicodedata.category(character) in ("Cc", "Cn")


def _has(face: Face, character: str) -> bool:
    return font(face).get_nominal_glyph(ord(character)) is not None


def _visual_runs(text: str, rtl: bool) -> list[tuple[Face, int, str]]:
    """Parts of one face and one direction, in the order from left to right, with their bidi levels."""
    faces = _faces(text)
    levels = _levels(text, rtl)
    runs = []
    keyed = groupby(range(len(text)), key=lambda index: (faces[index], levels[index]))
    for (face, level), indices in keyed:
        runs.append((face, level, "".join(text[index] for index in indices)))
    for level in range(max(levels, default=0), 0, -1):  # rule L2 of the Unicode bidirectional algorithm
        runs = _reversed_from(runs, level)
    return runs


def _faces(text: str) -> list[Face]:
    """A face for each character: marks, joiners and spaces keep to that of the character before them."""
    chosen: list[Face] = []
    for character in text:
        clings = character in _SHARED or unicodedata.category(character).startswith("M")
        stays = character in _JOINERS or (clings and chosen and _has(chosen[-1], character))
        own = _face_of(character) or FACES[0]
        chosen.append(chosen[-1] if chosen and stays else own)
    return chosen


def _levels(text: str, rtl: bool) -> list[int]:
    """The embedding level of each character; the text has no directional control characters."""
    if not rtl and not any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text):
        return [0] * len(text)
    from bidi import algorithm

    storage = algorithm.get_empty_storage()
    storage["base_level"], storage["base_dir"] = (1, "R") if rtl else (0, "L")
    algorithm.get_embedding_levels(text.translate(_JOINERS_AS_MARKS), storage)
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    return [character["level"] for character in storage["chars"]]


def _reversed_from(runs: list[tuple[Face, int, str]], level: int) -> list[tuple[Face, int, str]]:
    """The runs with each unbroken sequence at ``level`` or higher turned round."""
    turned = []
    for high, group in groupby(runs, key=lambda run: run[1] >= level):
        part = list(group)
        turned += part[::-1] if high else part
    return turned


def _shape_run(face: Face, text: str, *, rtl: bool) -> list[tuple[Glyph, int, int, int]]:
    """Glyphs of a run, each with advance, reach above and reach below the baseline."""
    import uharfbuzz

    chosen = font(face)
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if rtl else "ltr"
    uharfbuzz.shape(chosen, buffer)
    infos = buffer.glyph_infos
    _refuse_broken(chosen, [info.codepoint for info in infos], text)
    shaped = []
    for info, position in zip(infos, buffer.glyph_positions, strict=True):
        extents = chosen.get_glyph_extents(info.codepoint)
        top = position.y_offset + (extents.y_bearing if extents else 0)
        bottom = top + (extents.height if extents else 0)
        glyph = Glyph(face, info.codepoint, position.x_offset, position.y_offset)
        shaped.append((glyph, position.x_advance, top, -bottom))
    return shaped


def _refuse_broken(chosen: Any, ids: list[int], text: str) -> None:
    if 0 in ids:
        raise Rejected(f"“{text}” cannot be drawn: the display has no such combination of characters.")
    if chr(_DOTTED_CIRCLE) not in text and chosen.get_nominal_glyph(_DOTTED_CIRCLE) in ids:
        raise Rejected(f"“{text}” has a vowel sign or mark without its letter: correct the spelling.")


def _named(character: str) -> str:
    shown = f"“{character}” " if character.isprintable() else ""
    return f"{shown}(U+{ord(character):04X} {unicodedata.name(character, 'unnamed').lower()})"
