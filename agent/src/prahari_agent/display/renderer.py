"""Content becomes a frame: the same content gives the same bytes on every machine.

Pillow is imported when the first picture is drawn: a display of texts does without its 5 MB.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prahari_wire.display import Align, Content, ImageContent, TextContent

from prahari_agent.display import layout, png, shaping
from prahari_agent.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 3840 * 2160
"""Larger pictures are refused before they are decoded: this one takes 25 MB of memory."""
Fetch = Callable[[str, int], Path]


class Frame(NamedTuple):
    """What a display shows, as PNG; ``sha256`` is the hash of these bytes."""

    png: bytes
    sha256: str
    width: int
    height: int


def render(content: Content, width: int, height: int, fetch: Fetch) -> Frame:
    """Draw ``content`` for a sign of this size in pixels.

    Rejected says in one sentence why it cannot be shown; HubUnreachable of ``fetch`` passes through.
    """
    match content:
        case TextContent():
            return _text(content, width, height)
        case ImageContent():
            return _image(content, width, height, fetch(content.sha256, content.size))


def blank(width: int, height: int) -> Frame:
    """A dark sign."""
    return _frame(png.indexed(width, height, [bytes(width)] * height, [(0, 0, 0)]), width, height)


def check_text(content: TextContent, width: int, height: int) -> None:
    """Rejected if ``render`` would refuse this text; draws nothing."""
    _laid_out(content, width, height)


def _frame(data: bytes, width: int, height: int) -> Frame:
    return Frame(data, hashlib.sha256(data).hexdigest(), width, height)


def _laid_out(content: TextContent, width: int, height: int) -> layout.Block:
    margin = layout.margin_px(width, height)
    return layout.lay_out(content.text, width - 2 * margin, height - 2 * margin, size_px=content.size_px)


def _text(content: TextContent, width: int, height: int) -> Frame:
    rows = _coverage(_laid_out(content, width, height), content.align, width, height)
    palette = png.blend(png.rgb(content.background), png.rgb(content.colour))
    return _frame(png.indexed(width, height, rows, palette), width, height)


def _coverage(block: layout.Block, align: Align, width: int, height: int) -> Iterator[bytes]:
    """How far each pixel is covered by ink, 0 to 255, row by row from the top.

    HarfBuzz rasterises outlines by glyph id; its y axis points up, and it gives rows from the bottom.
    """
    import uharfbuzz

    raster = uharfbuzz.RasterDraw()
    raster.extents = uharfbuzz.RasterExtents(0, 0, width, height, width)
    scale = block.size_px / shaping.UNITS
    for line, baseline_px in zip(block.lines, block.baselines_px(height), strict=True):
        left_px = _left_px(line.width * scale, align, width, layout.margin_px(width, height))
        for glyph in line.glyphs:
            x_px, y_px = left_px + glyph.x * scale, height - baseline_px + glyph.y * scale
            raster.transform = (scale, 0, 0, scale, x_px, y_px)
            raster.draw_glyph(shaping.font(glyph.face), glyph.id)
    image = raster.render()
    pixels, stride = image.buffer, image.extents.stride
    return (pixels[row * stride : row * stride + width] for row in range(height - 1, -1, -1))


def _left_px(line_px: float, align: Align, width: int, margin: int) -> int:
    """Where a line starts, on a whole pixel."""
    match align:
        case Align.LEFT:
            return margin
        case Align.CENTRE:
            return round((width - line_px) / 2)
        case Align.RIGHT:
            return round(width - margin - line_px)


def _image(content: ImageContent, width: int, height: int, path: Path) -> Frame:
    from PIL import Image, ImageOps

    picture = _decoded(path)
    if content.fit == "exact" and picture.size != (width, height):
        across, down = picture.size
        raise Rejected(
            f"The picture has {across} x {down} pixels: it must have {width} x {height}, or be fitted."
        )
    if content.fit == "cover":
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    elif content.fit == "contain":
        picture = ImageOps.contain(picture, (width, height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height), content.background)
    corner = ((width - picture.width) // 2, (height - picture.height) // 2)
    canvas.paste(picture, corner, picture if picture.mode == "RGBA" else None)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return _frame(buffer.getvalue(), width, height)


def _decoded(path: Path) -> Picture:
    """A PNG or JPEG as RGB or RGBA, upright; Rejected for all else."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as opened:
            _check_size(opened)
            upright: Image.Image = ImageOps.exif_transpose(opened)
            return upright.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Rejected(_too_large()) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise Rejected("The file is not a PNG or JPEG that can be read: upload the picture again.") from error


def _check_size(picture: Picture) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise Rejected(_too_large())


def _too_large() -> str:
    return f"The picture has more than {MAX_PIXELS // 1_000_000} million pixels: make it smaller."
