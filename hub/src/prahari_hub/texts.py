"""What people read: English where it is written, the reader's language where it is shown (``http.language``).

A text keeps its English template and its values apart, so that a page can say the same in another language; ``str()`` is the English.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def N_(message: str) -> str:  # noqa: N802  # gettext's own name for "collect, do not translate yet"
    return message


@dataclass(frozen=True)
class Term:
    """A key of ``http.words.WORDS`` as a value of a text: English says the key, other languages the word."""

    group: str
    key: str

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Series:
    """Several values one after another, as one value of a text."""

    parts: tuple[object, ...]
    joint: str = ", "

    def __str__(self) -> str:
        return self.joint.join(str(part) for part in self.parts)


@dataclass(frozen=True)
class Checked:
    """``path: message`` as pydantic or the wire contract said it of a value: ``http.expected`` knows the usual ones."""

    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class Text:
    """``template`` has blanks as ``str.format`` knows them; a text without values is said as it stands.

    ``capital``: it begins with a capital letter, whatever the template does.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    capital: bool = False

    def __str__(self) -> str:
        said = self.template.format(**self.values) if self.values else self.template
        return said[:1].upper() + said[1:] if self.capital else said
