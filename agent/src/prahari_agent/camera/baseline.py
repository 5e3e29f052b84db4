"""What a camera's picture is usually like, by day and by night, learned while it works and kept over restarts."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from prahari_agent.camera.signals import Edges, Signals, kept, likeness, moved
from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger

log = get_logger("camera")

LEARN_S = 300.0
"""Time constant: rain and dusk become usual within minutes, a lorry before the lens does not."""
MATURE_LOOKS = 20
"""So many looks at a good picture make a profile that others are compared with."""
NIGHT_BELOW, DAY_ABOVE = 48.0, 62.0
"""Mean brightness; between the two it stays what it is."""
_FORMAT = 1


@dataclass
class Profile:
    """``looks`` counts up to MATURE_LOOKS."""

    edges: Edges
    sharpness: float
    looks: int = 1

    @property
    def mature(self) -> bool:
        return self.looks >= MATURE_LOOKS


class Comparison(NamedTuple):
    """Of a picture with what is usual: share of the cells that show what they do, sharpness as a share of the usual, and the shift in
    shares of the picture with its certainty. As it stands, that of a camera of which nothing is known yet.
    """

    kept: float = 1.0
    sharpness: float = 1.0
    moved: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Baseline:
    """Two profiles; a picture is compared with the one that it resembles most, so that a switch of lamps or of an infrared filter is
    no change of the view.
    """

    def __init__(self) -> None:
        self.night: bool | None = None
        self._profiles: dict[bool, Profile] = {}

    def note_light(self, mean: float) -> None:
        if self.night is None:
            self.night = mean < (NIGHT_BELOW + DAY_ABOVE) / 2
        elif mean < NIGHT_BELOW:
            self.night = True
        elif mean > DAY_ABOVE:
            self.night = False

    def compare(self, signals: Signals) -> Comparison:
        """With the profile that is most alike. A picture of other proportions than before is begun anew with."""
        shape = signals.edges.shape
        usual = max(
            (one for one in self._profiles.values() if one.mature and one.edges.shape == shape),
            key=lambda one: likeness(one.edges, signals.edges),
            default=None,
        )
        if usual is None:
            return Comparison()
        sharpness = signals.sharpness / usual.sharpness if usual.sharpness > 0 else 1.0
        return Comparison(kept(usual.edges, signals.edges), sharpness, moved(usual.edges, signals.edges))

    def learn(self, signals: Signals, gap_s: float) -> None:
        """A good picture, ``gap_s`` after the one before. A profile begins from the other one where that is alike."""
        night = bool(self.night)
        profile = self._profiles.get(night)
        if profile is None or profile.edges.shape != signals.edges.shape:
            other = self._profiles.get(not night)
            begun = other.looks if other and other.edges.shape == signals.edges.shape else 1
            self._profiles[night] = Profile(signals.edges.copy(), signals.sharpness, begun)
            return
        share = max(1 / (profile.looks + 1) if not profile.mature else 0.0, 1 - math.exp(-gap_s / LEARN_S))
        profile.edges += share * (signals.edges - profile.edges)
        profile.sharpness += share * (signals.sharpness - profile.sharpness)
        profile.looks = min(MATURE_LOOKS, profile.looks + 1)

    def forget(self) -> None:
        """The view is another one, and right."""
        self._profiles.clear()

    def save(self, path: Path, source: str) -> None:
        """``source``: what the camera looks at; a profile of another source is of no use."""
        arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}
        for night, profile in self._profiles.items():
            arrays[f"edges{int(night)}"] = profile.edges.astype(np.float16)
            arrays[f"numbers{int(night)}"] = np.array([profile.sharpness, profile.looks])
        packed = io.BytesIO()
        np.savez_compressed(packed, format=np.array(_FORMAT), source=np.array(source), **arrays)  # type: ignore[arg-type]
        try:
            write_atomic(path, packed.getvalue())
        except OSError as error:
            log.error("the camera's usual view cannot be kept: free space on the disk", error=str(error))

    @classmethod
    def load(cls, path: Path, source: str) -> Baseline:
        """What was kept; a new one where nothing fit was."""
        found = cls()
        try:
            with np.load(path, allow_pickle=False) as kept:
                if int(kept["format"]) != _FORMAT or str(kept["source"]) != source:
                    return found
                for night in (False, True):
                    if f"edges{int(night)}" in kept:
                        sharpness, looks = (float(value) for value in kept[f"numbers{int(night)}"])
                        edges = kept[f"edges{int(night)}"].astype(np.float32)
                        found._profiles[night] = Profile(edges, sharpness, int(looks))
        except FileNotFoundError:
            return found
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            log.warning("the camera's usual view could not be read and is learned anew", file=str(path))
            return cls()
        return found
