"""Where the lines of a message break and how large its letters can be; arithmetic on shaped words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from prahari_agent.display import shaping
from prahari_agent.display.shaping import UNITS, Line
from prahari_agent.errors import Rejected

ASCENT = 760
"""Least reach of a line above its baseline: that of Latin capitals and ascenders."""
DESCENT = 240
GAP = 80
"""Free space between the ink of two lines."""
MARGIN = 48
"""The message keeps 1/48 of the sign's shorter side free on each side."""


class Block(NamedTuple):
    """A message laid out; ``pitch`` is the distance between its baselines in UNITS."""

    size_px: int
    lines: tuple[Line, ...]
    pitch: int

    def baselines_px(self, height_px: int) -> list[int]:
        """How far each baseline lies below the top of a sign on which the ink is centred, on whole pixels."""
        ink = self.lines[0].ascent + (len(self.lines) - 1) * self.pitch + self.lines[-1].descent
        scale = self.size_px / UNITS
        first_px = (height_px - ink * scale) / 2 + self.lines[0].ascent * scale
        return [round(first_px + number * self.pitch * scale) for number in range(len(self.lines))]


class _Paragraph(NamedTuple):
    words: list[str]
    widths: list[int]
    rtl: bool


class _Message(NamedTuple):
    paragraphs: list[_Paragraph]
    space: int
    ascent: int
    descent: int
    least_px: int

    @property
    def pitch(self) -> int:
        return self.ascent + self.descent + GAP


def margin_px(width: int, height: int) -> int:
    return max(1, min(width, height) // MARGIN)


def lay_out(text: str, width_px: int, height_px: int, *, size_px: int | None = None) -> Block:
    """Break ``text`` into lines at the largest size that fits, or at ``size_px``; Rejected if it cannot be read."""
    message = _measure(text)
    if size_px is None:
        size_px = _largest(message, width_px, height_px)
    else:
        _check_fixed(message, width_px, height_px, size_px)
    return _set(message, width_px, size_px)


def _measure(text: str) -> _Message:
    found = [_paragraph(line) for line in shaping.paragraphs(text)]
    shaped = [_shaped(word, False) for word in chain.from_iterable(part.words for part in found)]
    return _Message(
        found,
        _shaped(" ", False).width,
        max([ASCENT, *(line.ascent for line in shaped)]),
        max([DESCENT, *(line.descent for line in shaped)]),
        shaping.least_px(text.replace("\n", " ")),
    )


def _paragraph(line: str) -> _Paragraph:
    words = line.split()
    return _Paragraph(words, [_shaped(word, False).width for word in words], shaping.is_rtl(line))


@lru_cache(maxsize=512)
def _shaped(text: str, rtl: bool) -> Line:
    return shaping.shape(text, rtl=rtl)


def _largest(message: _Message, width_px: int, height_px: int) -> int:
    """The largest size at which the message fits, by bisection: a larger type never needs fewer lines."""
    least = message.least_px
    if not _fits(message, width_px, height_px, least):
        raise Rejected(_why_not(message, width_px, height_px, least))
    most = max(least, height_px * UNITS // (message.ascent + message.descent))
    while least < most:
        middle = (least + most + 1) // 2
        if _fits(message, width_px, height_px, middle):
            least = middle
        else:
            most = middle - 1
    return least


def _check_fixed(message: _Message, width_px: int, height_px: int, size_px: int) -> None:
    if size_px < message.least_px:
        raise Rejected(
            f"Type of {size_px} px cannot be read: use {message.least_px} px or more, or let the display choose."
        )
    if not _fits(message, width_px, height_px, size_px):
        raise Rejected(_why_not(message, width_px, height_px, size_px))


def _fits(message: _Message, width_px: int, height_px: int, size_px: int) -> bool:
    limit = width_px * UNITS // size_px
    if any(width > limit for paragraph in message.paragraphs for width in paragraph.widths):
        return False
    lines = sum(len(_wrap(paragraph.widths, message.space, limit)) for paragraph in message.paragraphs)
    return _height_px(message, lines, size_px) <= height_px


def _height_px(message: _Message, lines: int, size_px: int) -> float:
    return (lines * message.pitch - GAP) * size_px / UNITS


def _wrap(widths: Sequence[int], space: int, limit: int) -> list[int]:
    """How many words stand on each line when every line takes as many as fit."""
    counts = [0]
    used = 0
    for width in widths:
        if counts[-1] and used + space + width > limit:
            counts.append(0)
            used = 0
        used += width + (space if counts[-1] else 0)
        counts[-1] += 1
    return counts


def _balanced(widths: Sequence[int], space: int, limit: int) -> list[int]:
    """As ``_wrap``, with lines as equal as they can be without needing one more."""
    lines = len(_wrap(widths, space, limit))
    low, high = max(widths, default=0), limit
    while low < high:
        middle = (low + high) // 2
        if len(_wrap(widths, space, middle)) <= lines:
            high = middle
        else:
            low = middle + 1
    return _wrap(widths, space, high)


def _set(message: _Message, width_px: int, size_px: int) -> Block:
    """Shape the lines as they stand, so that direction and kerning are those of the whole line."""
    limit = width_px * UNITS // size_px
    lines: list[Line] = []
    for words, widths, rtl in message.paragraphs:
        start = 0
        for count in _balanced(widths, message.space, limit):
            lines.append(shaping.shape(" ".join(words[start : start + count]), rtl=rtl))
            start += count
    return Block(size_px, tuple(lines), message.pitch)


def _why_not(message: _Message, width_px: int, height_px: int, size_px: int) -> str:
    """One sentence: what the message needs and what the display holds at ``size_px``."""
    limit = width_px * UNITS // size_px
    letters = sum(len(word) for paragraph in message.paragraphs for word in paragraph.words)
    ink = sum(width for paragraph in message.paragraphs for width in paragraph.widths)
    across = max(1, limit * letters // max(1, ink))
    holds = max(0, int((height_px * UNITS / size_px + GAP) // message.pitch))
    wide = [
        word
        for paragraph in message.paragraphs
        for word, width in zip(paragraph.words, paragraph.widths, strict=True)
        if width > limit
    ]
    room = f"at {size_px} px the display holds {holds} lines of about {across} characters. Shorten it."
    if wide:
        return f"“{wide[0][:20]}” is too wide: {room}"
    needs = sum(len(_wrap(paragraph.widths, message.space, limit)) for paragraph in message.paragraphs)
    return f"{needs} lines do not fit: {room}"
