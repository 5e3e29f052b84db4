"""What one picture says about its own fitness: a few numbers from its brightness, and a map of its edges. Pure, one to two milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Edges = NDArray[np.float32]

EDGE_ROWS = 90
_COARSE_ROWS = 45
_SMOOTH = 1.0
_AROUND = (31, 31)
"""Window over which edges are made even: a weak edge in a dark corner counts as much as a strong one in the sun."""
_FAINT = 3.0
"""Steps about this size are noise or the encoder's, and are not made even with edges."""
_STRONGEST = 3.0
SATURATED = 235
_CELLS = (4, 6)
_SIXTH = -6
_PLAIN = 0.25
"""A cell with less of edges than this share of a rich one's (the sixth richest) has nothing to be known by."""
_KEPT = 0.3
"""Correlation above which a cell still shows what it usually does."""


@dataclass(frozen=True)
class Signals:
    """Brightness from 0 to 255: ``mean``; ``high``: all but the brightest 2 % are darker; ``saturated``: share of the picture that is
    white. ``contrast``: the strongest steps of brightness seen coarsely; ``sharpness``: how steep they are seen finely, which blur
    lowers and light does not change; ``edges``: shape (EDGE_ROWS, columns), even in light.
    """

    mean: float
    high: float
    saturated: float
    contrast: float
    sharpness: float
    edges: Edges = field(repr=False)


def measure(luma: Luma) -> Signals:
    """``luma``: shape (rows, columns), at least EDGE_ROWS high."""
    fine = cast("Luma", cv2.GaussianBlur(luma, (3, 3), 0))
    columns = round(EDGE_ROWS * luma.shape[1] / luma.shape[0])
    coarse = cast("Luma", cv2.resize(fine, (columns // 2, _COARSE_ROWS), interpolation=cv2.INTER_AREA))
    contrast = _exceeded(_steps(coarse), 0.02)
    steepest = _exceeded(_steps(fine), 0.005)
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel()
    return Signals(
        mean=float(counts @ np.arange(256) / luma.size),
        high=float(np.searchsorted(np.cumsum(counts), 0.98 * luma.size)),
        saturated=float(counts[SATURATED:].sum() / luma.size),
        contrast=contrast,
        sharpness=steepest / max(contrast, 1.0),
        edges=_edges(luma, columns),
    )


def likeness(one: Edges, other: Edges) -> float:
    """Correlation of two edge maps: near 1 the same view, about 0 another one."""
    if one.shape != other.shape:
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def kept(usual: Edges, now: Edges) -> float:
    """Share of the picture's cells that still show what they usually do: what stands before the lens hides some, blur hides none."""
    if usual.shape != now.shape:
        return 0.0
    one, other = _cells(usual), _cells(now)
    rich, size = np.sqrt((one * one).sum(axis=1)), np.sqrt((other * other).sum(axis=1))
    alike = (one * other).sum(axis=1) / np.maximum(rich * size, 1e-6)
    known = rich > _PLAIN * np.sort(rich)[_SIXTH]
    return float((alike[known] > _KEPT).mean()) if known.any() else 1.0


def _cells(edges: Edges) -> Edges:
    """Shape (cells, pixels), each cell without its mean."""
    rows, columns = _CELLS
    high, wide = edges.shape[0] // rows, edges.shape[1] // columns
    cut = edges[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
    cells = cut.transpose(0, 2, 1, 3).reshape(rows * columns, high * wide)
    return cast("Edges", cells - cells.mean(axis=1, keepdims=True))


def moved(before: Edges, after: Edges) -> tuple[float, float, float]:
    """(x, y, certainty): by which shares of the picture ``after`` is moved against ``before``."""
    if before.shape != after.shape:
        return 0.0, 0.0, 0.0
    window = cv2.createHanningWindow((before.shape[1], before.shape[0]), cv2.CV_32F)
    # copies: phaseCorrelate multiplies the window into what it is given
    (x, y), certainty = cv2.phaseCorrelate(before.copy(), after.copy(), window)
    return x / before.shape[1], y / before.shape[0], float(certainty)


def blocks(luma: Luma) -> Edges:
    """Brightness of a coarse grid of blocks: what an encoder's noise does not change, and anything that moves does."""
    return cast("Edges", cv2.resize(luma.astype(np.float32), (32, 18), interpolation=cv2.INTER_AREA))


def _steps(picture: Luma | Edges) -> Edges:
    """Size of the step of brightness at each pixel, in levels a pixel."""
    across = cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=0.125)
    return cast("Edges", cv2.magnitude(across, down))


def _exceeded(values: Edges, share: float) -> float:
    """The value that this share of them exceeds."""
    place = round((1 - share) * (values.size - 1))
    return float(np.partition(values, place, axis=None)[place])


def _edges(luma: Luma, columns: int) -> Edges:
    steps = _steps(cast("Edges", cv2.GaussianBlur(luma.astype(np.float32), (0, 0), _SMOOTH)))
    small = cv2.resize(steps, (columns, EDGE_ROWS), interpolation=cv2.INTER_AREA)
    return cast("Edges", np.minimum(small / (cv2.blur(small, _AROUND) + _FAINT), _STRONGEST))
