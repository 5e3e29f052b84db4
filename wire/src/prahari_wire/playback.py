"""plan(): the pure rule of what a display shows, the same code at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from prahari_wire.display import Content, DisplayClass, DisplayConfig, Override, PlaylistItem, ShownSource


class Item(NamedTuple):
    """What shows, and for how long at most until plan() must be asked again (None: until something changes)."""

    source: ShownSource
    id: str | None
    cls: int
    content: Content
    until_s: float | None


def top_override(overrides: Sequence[Override]) -> Override | None:
    """The one that shows: highest class, then priority, then newest, then id."""
    return max(overrides, key=lambda o: (o.cls, o.priority, o.issued_at, o.id), default=None)


def plan(config: DisplayConfig, at: datetime, overrides: Sequence[Override]) -> Item:
    """What ``config``'s display shows at ``at``, given the overrides in force (leases and expiries already applied).

    The position in the playlist is a function of the time, so a refresh never starts it over.
    """
    winner = top_override(overrides)
    if winner is not None:
        return Item(ShownSource.OVERRIDE, winner.id, winner.cls, winner.content, None)
    if config.playlist:
        item, left_s = position(config.playlist, at)
        return Item(ShownSource.PLAYLIST, item.id, DisplayClass.FILLER, item.content, left_s)
    return Item(ShownSource.SAFE, None, DisplayClass.SAFE, config.safe, None)


def position(playlist: Sequence[PlaylistItem], at: datetime) -> tuple[PlaylistItem, float]:
    """The item at ``at`` and the seconds left of it; the loop is aligned to the Unix epoch."""
    total_s = sum(item.duration_s for item in playlist)
    into_s = at.timestamp() % total_s
    for item in playlist:
        if into_s < item.duration_s:
            return item, item.duration_s - into_s
        into_s -= item.duration_s
    return playlist[0], playlist[0].duration_s
