"""How bright a camera's view is by night: a median over the night so far, or over the last one. It feeds the map's dark places."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger

log = get_logger("camera")

EVERY_S = 10.0
LEAST_LOOKS = 180
"""Half an hour of night before it is told: dusk and a thunderstorm are none."""
OVER_S = 2 * 3600.0
"""So long without a look by night ends it: the head-lights of a queue do not."""
LONGEST_S = 16 * 3600.0
"""What is dark for longer is a covered lens or a place indoors, and no night."""
KEPT = timedelta(hours=36)
_LEVELS = 256


class NightLight:
    """``kept``: the file that the last night is kept in; ``source``: what the camera looks at, another one's night is of no use."""

    def __init__(self, kept: Path | None = None, source: str = "") -> None:
        self._kept, self._source = kept, source
        self._told: tuple[float, datetime] | None = _read(kept, source) if kept else None
        self._counts = [0] * _LEVELS
        self._begun_s: float | None = None
        self._last_s = -math.inf

    def due(self, time_s: float) -> bool:
        """A look is wanted."""
        return time_s - self._last_s >= EVERY_S

    def look(self, at: datetime, time_s: float, brightness: float) -> None:
        """A picture by night; ``brightness`` is its mean, 0 to 255. ``time_s`` only grows."""
        if self._begun_s is None or time_s - self._last_s > OVER_S:
            self._begun_s, self._counts = time_s, [0] * _LEVELS
        self._last_s = time_s
        self._counts[min(_LEVELS - 1, max(0, round(brightness)))] += 1
        if time_s - self._begun_s > LONGEST_S:
            self._told = None
        elif sum(self._counts) >= LEAST_LOOKS:
            self._told = (float(_median(self._counts)), at)

    def value(self, now: datetime) -> float | None:
        """0 to 255 in whole levels; None while no night of the last KEPT is known."""
        if self._told is None or now - self._told[1] > KEPT:
            return None
        return self._told[0]

    def forget(self) -> None:
        """The camera looks elsewhere now."""
        self._told, self._begun_s, self._last_s = None, None, -math.inf

    def save(self) -> None:
        if self._kept is None:
            return
        level, at = self._told or (None, None)
        said = {"source": self._source, "level": level, "at": at.isoformat() if at else None}
        try:
            write_atomic(self._kept, json.dumps(said).encode())
        except OSError as error:
            log.error("the light of the night cannot be kept: free space on the disk", error=str(error))


def _median(counts: list[int]) -> int:
    half, so_far = sum(counts) / 2, 0
    for level, count in enumerate(counts):
        so_far += count
        if so_far >= half:
            return level
    raise ValueError("a median of nothing")


def _read(path: Path, source: str) -> tuple[float, datetime] | None:
    """What was kept of this source's last night."""
    try:
        said = json.loads(path.read_bytes())
        if said["source"] != source or said["level"] is None:
            return None
        at = datetime.fromisoformat(said["at"])
        level = float(said["level"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("the light of the last night could not be read and is measured anew", file=str(path))
        return None
    return (level, at) if at.tzinfo is not None and 0 <= level < _LEVELS else None
