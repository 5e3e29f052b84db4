"""Glyphs of Indian scripts, without any library of the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_agent.display.renderer import render
from prahari_agent.display.shaping import is_rtl, least_px, paragraphs, shape
from prahari_agent.errors import Rejected
from prahari_wire.display import TextContent

from tests.form import examples

DRAW = """
import json
from PIL import features
from prahari_agent.display.renderer import render
from prahari_agent.display.shaping import shape
from prahari_wire.display import TextContent
frame = render(TextContent(text="क्षत्रिय दिल्ली"), 192, 96, None)
raqm = features.check("raqm")
print(json.dumps({
    "raqm": raqm,
    "loaded": [line.split()[-1] for line in open("/proc/self/maps") if "fribidi" in line],
    "ids": [glyph.id for glyph in shape("क्षत्रिय").glyphs],
    "sha256": frame.sha256,
}))
"""


def ids(text: str) -> list[int]:
    return [glyph.id for glyph in shape(text).glyphs]


@pytest.mark.parametrize(
    ("word", "glyphs"),
    [
        pytest.param("क्ष", 1, id="ksha is one conjunct of three characters"),
        pytest.param("ज्ञ", 1, id="jnya is one conjunct of three characters"),
        pytest.param("स्त्री", 3, id="stri: half sa, tra, matra"),
        pytest.param("दिल्ली", 5, id="dilli: matra before da, half la"),
    ],
)
def test_devanagari_letters_join_into_conjuncts(word: str, glyphs: int) -> None:
    naive = [number for letter in word for number in ids_of_letter(letter)]
    assert len(ids(word)) == glyphs < len(word)
    assert ids(word) != naive
    assert shape(word).width < sum(shape(letter).width for letter in word if letter.isalpha()) + 600


def ids_of_letter(letter: str) -> list[int]:
    """A vowel sign alone is broken spelling: shaped after a letter, without it."""
    return ids(letter) if letter.isalpha() else ids("क" + letter)[1:]


def test_the_short_i_stands_before_its_letter() -> None:
    assert ids("दि") != ids("द") + ids("क" + "ि")[1:]
    assert ids("दि")[-1] == ids("द")[0]


def test_devanagari_is_shaped_where_the_system_has_no_fribidi(tmp_path: Path) -> None:
    """An empty file of its name, found first, is to the loader as if the library were missing."""
    for name in ("libfribidi.so.0", "libfribidi.so"):
        (tmp_path / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    found = json.loads(done.stdout)
    assert found["raqm"] is False
    assert found["loaded"] == []
    assert found["ids"] == ids("क्षत्रिय")
    frame = render(TextContent(text="क्षत्रिय दिल्ली"), 192, 96, lambda sha256, size: Path())
    assert found["sha256"] == frame.sha256


def test_latin_devanagari_and_digits_share_a_line() -> None:
    line = shape("धीमे चलें 60 km/h ₹500")
    assert {glyph.face.script for glyph in line.glyphs} == {"Devanagari", "Latin"}
    assert [glyph.x for glyph in line.glyphs if glyph.y == 0] == sorted(
        glyph.x for glyph in line.glyphs if glyph.y == 0
    )


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"], ids=["non-joiner", "joiner"])
def test_a_joiner_changes_the_form_and_stays_with_its_script(joiner: str) -> None:
    assert paragraphs(f"क्{joiner}ष") == [f"क्{joiner}ष"]
    assert ids(f"क्{joiner}ष") != ids("क्ष")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("Fire 🔥", "U+1F525 fire", id="emoji"),
        pytest.param("前方事故", "U+4E8B", id="Chinese"),
        pytest.param("a\u202eb", "U+202E right-to-left override", id="direction override"),
        pytest.param("a\x07b", "U+0007", id="control character"),
        pytest.param("a\x00b", "U+0000", id="nul"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(Rejected, match="cannot be drawn") as refused:
        paragraphs(text)
    assert named in str(refused.value)
    assert len(str(refused.value)) <= 120


def test_what_is_invisible_is_left_out() -> None:
    assert paragraphs("\ufeffExit\u200b 12 \u2191\ufe0f") == ["Exit 12 ↑"]


def test_a_vowel_sign_without_its_letter_is_refused() -> None:
    with pytest.raises(Rejected, match="without its letter"):
        shape("ि")


def test_blank_text_is_refused() -> None:
    with pytest.raises(Rejected, match="empty"):
        paragraphs(" \n\t")


def test_a_script_with_signs_above_and_below_needs_larger_type() -> None:
    assert least_px("Keep left") < least_px("Keep left बाएँ")


def test_direction_is_that_of_the_first_letter() -> None:
    assert not is_rtl("60 km")
    assert is_rtl("60 اردو")


@pytest.mark.parametrize(
    ("script", "word", "glyphs"),
    [
        ("Bengali", "ক্ষ", 1),
        ("Gurmukhi", "ਸ੍ਰੀ", 3),
        ("Gujarati", "ક્ષ", 1),
        ("Odia", "କ୍ଷ", 1),
        ("Tamil", "க்ஷ", 1),
        ("Telugu", "క్ష", 1),
        ("Kannada", "ಕ್ಷ", 1),
        ("Malayalam", "ക്ഷ", 1),
    ],
)
def test_letters_of_the_other_indian_scripts_join(script: str, word: str, glyphs: int) -> None:
    line = shape(word)
    assert {glyph.face.script for glyph in line.glyphs} == {script}
    assert len(line.glyphs) == glyphs < len(word)


def test_urdu_letters_take_the_form_of_their_place_and_run_from_the_right() -> None:
    assert len({*ids("ححح"), *ids("ح")}) == 4
    latin, urdu = shape("Delhi", rtl=True), shape("اردو")
    both = shape("اردو Delhi")
    assert both.width >= latin.width + urdu.width
    assert [glyph.id for glyph in both.glyphs][:5] == [glyph.id for glyph in latin.glyphs]
    assert [glyph.id for glyph in shape("Delhi اردو").glyphs][:5] == [glyph.id for glyph in latin.glyphs]


def test_numbers_in_urdu_keep_their_digits_in_order() -> None:
    digits = [glyph.id for glyph in shape("1984").glyphs]
    line = [glyph.id for glyph in shape("سال 1984 تھا").glyphs]
    assert any(line[start : start + 4] == digits for start in range(len(line)))


MIXED = [
    chr(number)
    for part in (range(0x20, 0x250), range(0x600, 0x700), range(0x900, 0xD80), range(0x2000, 0x2070))
    for number in part
]


@settings(max_examples=examples(300), deadline=None)
@given(st.text(st.sampled_from([*MIXED, "\u200d", " ", "\n"]), min_size=1, max_size=20))
def test_any_mixture_of_scripts_is_laid_out_or_refused(text: str) -> None:
    try:
        lines = paragraphs(text)
        shaped = [shape(line) for line in lines]
    except Rejected:
        return
    assert all(line.width >= 0 for line in shaped)


def test_the_danda_keeps_to_the_script_before_it() -> None:
    assert {glyph.face.script for glyph in shape("চলুন।").glyphs} == {"Bengali"}


def test_only_the_fonts_of_the_text_s_scripts_are_loaded() -> None:
    script = (
        "from prahari_agent.display.renderer import render\nfrom prahari_wire.display import TextContent\n"
        "render(TextContent(text='முன்னால்'), 192, 96, None)\n"
        "print(*sorted({line.split('/')[-1].strip() for line in open('/proc/self/maps') if '.ttf' in line}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["latin-ext.ttf", "latin.ttf", "tamil.ttf"]
