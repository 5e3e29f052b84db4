"""From content to pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from prahari_agent.display.layout import lay_out, margin_px
from prahari_agent.display.renderer import blank, check_text, render
from prahari_agent.errors import Rejected
from prahari_wire.display import Align, Content, TextContent

from tests.form import examples

WIDTH, HEIGHT = 192, 96
AMBER = (0xFF, 0xB0, 0x00)


def nothing_to_fetch(sha256: str, size: int) -> Path:
    raise AssertionError("text needs no file")


def picture(
    content: Content, width: int = WIDTH, height: int = HEIGHT, fetch: Any = nothing_to_fetch
) -> Image.Image:
    frame = render(content, width, height, fetch)
    image = Image.open(io.BytesIO(frame.png)).convert("RGB")
    assert image.size == (frame.width, frame.height) == (width, height)
    return image


def ink(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.getchannel("R").point(lambda value: 255 if value > 100 else 0).getbbox()
    assert box is not None
    return box


def test_text_is_drawn_in_its_colours() -> None:
    image = picture(TextContent(text="STOP", colour="#FFB000", background="#000040"))
    colours = {colour for _, colour in image.getcolors(maxcolors=WIDTH * HEIGHT) or []}
    assert {AMBER, (0, 0, 0x40)} <= colours
    assert image.getpixel((0, 0)) == (0, 0, 0x40)


def test_text_is_as_large_as_the_sign_allows() -> None:
    left, top, right, bottom = ink(picture(TextContent(text="KEEP LEFT")))
    assert right - left > WIDTH * 0.6 or bottom - top > HEIGHT * 0.6
    assert lay_out("HALT", 188, 92).size_px > lay_out("Accident ahead, keep left", 188, 92).size_px


@pytest.mark.parametrize(
    "text",
    ["धीमे चलें\nआगे दुर्घटना", "ACCIDENT AHEAD\nKEEP LEFT", "क्षत्रिय स्त्री दिल्ली ₹500 – 60 km/h", "← निकास 12 →"],
    ids=["devanagari", "latin", "mixed", "arrows"],
)
def test_ink_keeps_to_the_sign_and_is_centred(text: str) -> None:
    left, top, right, bottom = ink(picture(TextContent(text=text)))
    margin = margin_px(WIDTH, HEIGHT) - 1
    assert margin <= left < right <= WIDTH - margin
    assert margin <= top < bottom <= HEIGHT - margin
    assert abs((top + bottom) - HEIGHT) <= 6
    assert abs((left + right) - WIDTH) <= 8


def test_alignment_moves_the_ink() -> None:
    lefts = [ink(picture(TextContent(text="Hi", size_px=20, align=align)))[0] for align in Align]
    assert lefts == sorted(lefts)
    assert lefts[0] < 8 and lefts[2] > WIDTH - 40


def test_author_s_line_breaks_stay_and_long_lines_break_evenly() -> None:
    assert len(lay_out("one\ntwo\nthree", 188, 92).lines) == 3
    block = lay_out("slow down fog ahead slow down fog ahead", 188, 92)
    widths = [line.width for line in block.lines]
    assert max(widths) * block.size_px / 1000 <= 188
    assert min(widths) > max(widths) * 0.5


def test_a_fixed_size_is_kept() -> None:
    assert lay_out("Hello", 188, 92, size_px=16).size_px == 16


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            {"text": "word " * 80},
            r"lines do not fit: at 10 px the display holds 8 lines of about",
            id="long",
        ),
        pytest.param({"text": "दुर्घटना " * 40}, "at 13 px the display holds", id="long in Devanagari"),
        pytest.param(
            {"text": "x" * 60}, "is too wide: at 10 px the display holds", id="a word wider than the sign"
        ),
        pytest.param(
            {"text": "two words", "size_px": 80},
            "at 80 px the display holds 1 lines",
            id="fixed size too large",
        ),
        pytest.param(
            {"text": "tiny", "size_px": 6}, "Type of 6 px cannot be read", id="fixed size too small"
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_would_fit(content: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected, match=reason) as refused:
        check_text(TextContent(**content), WIDTH, HEIGHT)
    assert len(str(refused.value)) <= 120
    with pytest.raises(Rejected, match=reason):
        picture(TextContent(**content))


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.sampled_from(["आगे", "Fog", "५०", "km/h", "दुर्घटना", "-", "₹5", "\n"]), min_size=1, max_size=25)
)
def test_every_text_is_drawn_inside_the_margins_or_refused(words: list[str]) -> None:
    try:
        block = lay_out(" ".join(words), 188, 92)
    except Rejected:
        return
    scale = block.size_px / 1000
    assert all(line.width * scale <= 188 for line in block.lines)
    baselines = block.baselines_px(92)
    assert baselines[0] - block.lines[0].ascent * scale >= -1
    assert baselines[-1] + block.lines[-1].descent * scale <= 93


def test_the_same_content_gives_the_same_bytes_in_another_process() -> None:
    script = (
        "from prahari_agent.display.renderer import render\nfrom prahari_wire.display import TextContent\n"
        f"print(render(TextContent(text='आगे दुर्घटना, keep left'), {WIDTH}, {HEIGHT}, None).sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    frame = render(TextContent(text="आगे दुर्घटना, keep left"), WIDTH, HEIGHT, nothing_to_fetch)
    assert done.stdout.strip() == frame.sha256


def test_text_needs_no_pillow() -> None:
    script = (
        "import sys\nfrom prahari_agent.display.renderer import render\nfrom prahari_wire.display import TextContent\n"
        "render(TextContent(text='आगे'), 192, 96, None)\nprint('PIL' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_blank_frame_is_dark() -> None:
    assert Image.open(io.BytesIO(blank(20, 10).png)).convert("RGB").getextrema() == ((0, 0), (0, 0), (0, 0))


def test_contain_shows_the_whole_picture_on_the_background(bench: Any) -> None:
    content = bench.picture(Image.new("RGB", (100, 100), "red"), background="#0000FF")
    image = picture(content, fetch=bench.fetch)
    assert image.getpixel((96, 48)) == (255, 0, 0)
    assert image.getpixel((0, 48)) == (0, 0, 255)


def test_cover_fills_the_sign(bench: Any) -> None:
    image = picture(bench.picture(Image.new("RGB", (100, 100), "red"), fit="cover"), fetch=bench.fetch)
    assert image.getextrema() == ((255, 255), (0, 0), (0, 0))


def test_exact_takes_the_sign_s_own_pixels_unchanged(bench: Any) -> None:
    original = Image.effect_noise((WIDTH, HEIGHT), 80).convert("RGB")
    image = picture(bench.picture(original, fit="exact"), fetch=bench.fetch)
    assert image.tobytes() == original.tobytes()
    with pytest.raises(Rejected, match="100 x 100 pixels: it must have 192 x 96"):
        picture(bench.picture(Image.new("RGB", (100, 100)), fit="exact"), fetch=bench.fetch)


def test_transparency_shows_the_background(bench: Any) -> None:
    content = bench.picture(Image.new("RGBA", (10, 10), (255, 0, 0, 0)), background="#00FF00", fit="cover")
    assert picture(content, fetch=bench.fetch).getpixel((96, 48)) == (0, 255, 0)


def test_a_photo_stands_upright(bench: Any) -> None:
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    original = Image.new("RGB", (WIDTH, HEIGHT), "black")
    original.paste("white", (0, 0, WIDTH, HEIGHT // 2))
    buffer = io.BytesIO()
    original.save(buffer, "JPEG", exif=upside_down)
    image = picture(bench.file(buffer.getvalue()), fetch=bench.fetch)
    assert image.getpixel((96, 90)) == (255, 255, 255)
    assert image.getpixel((96, 5)) == (0, 0, 0)


def png_header(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (1, 1)).save(buffer, "PNG")
    import struct
    import zlib

    data = buffer.getvalue()
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"not a picture", "not a PNG or JPEG", id="no picture"),
        pytest.param(b"GIF89a" + bytes(20), "not a PNG or JPEG", id="another format"),
        pytest.param(png_header(10, 10)[:60], "not a PNG or JPEG", id="cut short"),
        pytest.param(png_header(4000, 3000), "more than 8 million pixels", id="large"),
        pytest.param(png_header(12_000, 9_000), "more than 8 million pixels", id="larger than Pillow likes"),
        pytest.param(png_header(60_000, 60_000), "more than 8 million pixels", id="decompression bomb"),
    ],
)
def test_a_bad_picture_is_refused_before_it_is_decoded(bench: Any, data: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        picture(bench.file(data), fetch=bench.fetch)
