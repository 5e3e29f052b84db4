"""Content becomes a frame: the same content gives the same bytes on every machine.

Pillow is imported when the first frame is drawn, because a box without a display never needs it.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prahari_wire.display import Align, Content, ImageContent, TextContent

from prahari_agent.display import layout, shaping
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
            picture = _text(content, width, height)
        case ImageContent():
            picture = _image(content, width, height, fetch(content.sha256, content.size))
    return encode(picture)


def blank(width: int, height: int) -> Frame:
    """A dark sign."""
    return encode(_canvas(width, height, "#000000"))


def check_text(content: TextContent, width: int, height: int) -> None:
    """Rejected if ``render`` would refuse this text; draws nothing."""
    _laid_out(content, width, height)


def encode(picture: Picture) -> Frame:
    """As PNG.

    Run-length compression: it finds the same matches in every build of zlib, which the usual search does not.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    png = buffer.getvalue()
    return Frame(png, hashlib.sha256(png).hexdigest(), picture.width, picture.height)


def _canvas(width: int, height: int, colour: str) -> Picture:
    from PIL import Image

    return Image.new("RGB", (width, height), colour)


def _laid_out(content: TextContent, width: int, height: int) -> layout.Block:
    margin = layout.margin_px(width, height)
    return layout.lay_out(content.text, width - 2 * margin, height - 2 * margin, size_px=content.size_px)


def _text(content: TextContent, width: int, height: int) -> Picture:
    block = _laid_out(content, width, height)
    picture = _canvas(width, height, content.background)
    picture.paste(content.colour, (0, 0, width, height), _mask(block, content.align, width, height))
    return picture


def _mask(block: layout.Block, align: Align, width: int, height: int) -> Picture:
    """How far each pixel is covered by ink, 0 to 255.

    HarfBuzz rasterises outlines by glyph id; its y axis points up, and it gives rows from the bottom.
    """
    import uharfbuzz
    from PIL import Image

    raster = uharfbuzz.RasterDraw()
    raster.extents = uharfbuzz.RasterExtents(0, 0, width, height, width)
    scale = block.size_px / shaping.UNITS
    for line, baseline_px in zip(block.lines, block.baselines_px(height), strict=True):
        left_px = _left_px(line.width * scale, align, width, layout.margin_px(width, height))
        for glyph in line.glyphs:
            raster.transform = (
                scale,
                0,
                0,
                scale,
                left_px + glyph.x * scale,
                height - baseline_px + glyph.y * scale,
            )
            raster.draw_glyph(shaping.font(glyph.face), glyph.id)
    image = raster.render()
    return Image.frombytes("L", (width, height), image.buffer, "raw", "L", image.extents.stride, -1)


def _left_px(line_px: float, align: Align, width: int, margin: int) -> int:
    """Where a line starts, on a whole pixel."""
    match align:
        case Align.LEFT:
            return margin
        case Align.CENTRE:
            return round((width - line_px) / 2)
        case Align.RIGHT:
            return round(width - margin - line_px)


def _image(content: ImageContent, width: int, height: int, path: Path) -> Picture:
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
    canvas = _canvas(width, height, content.background)
    corner = ((width - picture.width) // 2, (height - picture.height) // 2)
    canvas.paste(picture, corner, picture if picture.mode == "RGBA" else None)
    return canvas


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
