"""What goes wrong with a camera's picture, at known times: the faults that content health must find, and those that it must bear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np

from prahari_agent.street.light import Picture

FaultName = Literal["freeze", "loss", "drop", "blur", "dark", "glare", "cover", "turn", "flicker"]


@dataclass(frozen=True)
class Fault:
    """From ``from_s`` until ``to_s``. ``amount``: blur in pixels of a picture 640 wide; dark the share of light left; glare and
    cover the share of the picture; drop the share of frames missing; flicker the depth. ``shift``: shares of the picture by which a
    turned camera's picture moves.
    """

    name: FaultName
    from_s: float
    to_s: float
    amount: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    def holds(self, time_s: float) -> bool:
        return self.from_s <= time_s < self.to_s


USUAL: dict[FaultName, float] = {
    "blur": 6.0,
    "dark": 0.06,
    "glare": 0.9,
    "cover": 1.0,
    "drop": 0.4,
    "flicker": 0.25,
}
"""A clear case of each."""


def fault(name: FaultName, from_s: float, to_s: float, *, shift: tuple[float, float] = (0.12, 0.04)) -> Fault:
    """A clear case of the fault."""
    return Fault(name, from_s, to_s, USUAL.get(name, 0.0), shift if name == "turn" else (0.0, 0.0))


def shown_number(faults: Sequence[Fault], number: int, fps: float) -> int:
    """The frame that the camera shows instead of this one: the first of a freeze while it lasts."""
    for one in faults:
        if one.name == "freeze" and one.holds(number / fps):
            return max(0, int(np.ceil(one.from_s * fps - 1e-9)))
    return number


def missing(faults: Sequence[Fault], number: int, fps: float, draw: float) -> bool:
    """Whether the camera gives no frame; ``draw`` is this frame's random number from 0 to 1."""
    now = [one for one in faults if one.holds(number / fps)]
    return any(one.name == "loss" or (one.name == "drop" and draw < one.amount) for one in now)


def spoil(picture: Picture, faults: Sequence[Fault], time_s: float, number: int) -> Picture:
    """The picture through what is wrong now, lens before sensor."""
    for one in faults:
        if one.holds(time_s):
            picture = _spoil(picture, one, number)
    return picture


def _spoil(picture: Picture, fault: Fault, number: int) -> Picture:
    height, width = picture.shape[:2]
    match fault.name:
        case "turn":
            move = np.array([[1, 0, fault.shift[0] * width], [0, 1, fault.shift[1] * height]], np.float32)
            return cast(
                "Picture", cv2.warpAffine(picture, move, (width, height), borderMode=cv2.BORDER_REFLECT)
            )
        case "blur":
            return cast("Picture", cv2.GaussianBlur(picture, (0, 0), fault.amount * width / 640))
        case "dark":
            return cast("Picture", cv2.convertScaleAbs(picture, alpha=fault.amount))
        case "glare":
            return cast("Picture", cv2.convertScaleAbs(picture, alpha=1.0, beta=255 * fault.amount))
        case "flicker":
            swing = 1 + fault.amount * (1 if number % 2 else -1)
            return cast("Picture", cv2.convertScaleAbs(picture, alpha=swing))
        case "cover":
            covered = picture.copy()
            covered[: round(height * fault.amount)] = (52, 60, 66)
            return covered
        case _:
            return picture
