"""Rules about what stands still: encroachment, and things left behind.

A place is kept while its object is not seen, so that a parked car behind a bus, or one that the tracker lost and found again under
another id, has stood there since it came. Who passes over a place does not stand there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prahari_wire.rules import ObjectAbandoned, StationaryObject

from prahari_agent.camera.boxes import Point, contains
from prahari_agent.camera.rules.objects import Change, Moment, Object, Turn

STILL_HEIGHTS = 0.3
"""Feet that stay within this share of the object's height stand still."""
AWAY_S = 2.0
REMEMBER_S = 30.0
"""An object not seen for so long is gone."""
SETTLE_S = 2.0
"""Another object has taken a place over once it stood there for so long; a place that nobody held for so long is nobody's."""
OWNER_HEIGHTS = 1.2
"""An owner whose feet are within so many of its own heights of a thing is near it."""
ATTEND_S = 5.0
"""Who is near for so long attends to it; who walks past is nearer for less."""


@dataclass
class _Place:
    """``key``: the first track that stood here; ``track``: the present one, ``held_s``: since when. ``guests``: others that are here, and
    since when. ``alone_s``: nobody attended to it since then; ``near``: who is near, and since when.
    """

    key: str
    track: str
    label: str
    foot: Point
    since_s: float
    last_s: float
    alone_s: float
    held_s: float
    told: bool = False
    guests: dict[str, float] = field(default_factory=dict)
    near: dict[str, float] = field(default_factory=dict)


class Standing:
    """StationaryObject and ObjectAbandoned. ``owners``: labels whose nearness makes a thing attended; none for encroachment."""

    def __init__(self, region: Sequence[Point], after_s: float, owners: frozenset[str] = frozenset()) -> None:
        self._region, self._after_s, self._owners = region, after_s, owners
        self._places: list[_Place] = []

    @classmethod
    def stationary(cls, rule: StationaryObject) -> Standing:
        return cls(rule.region, rule.after_s)

    @classmethod
    def abandoned(cls, rule: ObjectAbandoned) -> Standing:
        return cls(rule.region, rule.after_s, frozenset(rule.owners))

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]:
        """Owners are looked for among everybody in the picture."""
        owners = [one for one in now.everyone if one.label in self._owners]
        there = {one.id: one for one in objects}
        for place in self._places:
            place.guests = {
                one.id: place.guests.get(one.id, now.time_s) for one in objects if _stands_at(place, one, now)
            }
        for one in objects:
            if one.fresh and one.label not in self._owners:
                self._stand(one, now)
        changes = []
        for place in self._places:
            _attend(place, owners, now)
            since_s = max(place.since_s, place.alone_s)
            if not place.told and place.last_s == now.time_s and now.time_s - since_s >= self._after_s:
                place.told = True
                changes.append(Change(Turn.STARTED, place.key, place.since_s, there.get(place.track)))
        return changes + self._over({one.id for one in objects if one.fresh}, now.time_s)

    def _stand(self, one: Object, now: Moment) -> None:
        """It stands where it stood, or where another that is not seen stood, or begins to stand here."""
        here = [place for place in self._places if _stands_at(place, one, now)]
        own = next((place for place in here if place.track == one.id), None)
        place = own or next((place for place in here if place.last_s < now.time_s and _settled(place)), None)
        if place is None:
            self._begin_here(one, now)
        elif own is None and now.time_s - place.guests.get(one.id, now.time_s) < SETTLE_S:
            return
        else:
            if own is None:
                place.track, place.held_s = one.id, place.guests[one.id]
            place.last_s = now.time_s

    def _begin_here(self, one: Object, now: Moment) -> None:
        if not contains(self._region, one.foot):
            return
        mine = next((place for place in self._places if place.track == one.id and not place.told), None)
        if mine is not None:
            self._places.remove(mine)
        if all(place.track != one.id for place in self._places):
            self._places.append(_begin(one, now.time_s))

    def _over(self, seen: set[str], time_s: float) -> list[Change]:
        """Seen elsewhere for ``AWAY_S``, or not seen at all for ``REMEMBER_S``."""
        gone = [
            place
            for place in self._places
            if time_s - place.last_s > (AWAY_S if place.track in seen else REMEMBER_S)
        ]
        self._places = [place for place in self._places if place not in gone]
        return [Change(Turn.ENDED, place.key, place.since_s) for place in gone if place.told]


def _stands_at(place: _Place, one: Object, now: Moment) -> bool:
    return place.label == one.label and one.away(place.foot, now.aspect) <= STILL_HEIGHTS


def _settled(place: _Place) -> bool:
    return place.last_s - place.held_s >= SETTLE_S


def _attend(place: _Place, owners: Sequence[Object], now: Moment) -> None:
    near = [owner.id for owner in owners if owner.away(place.foot, now.aspect) <= OWNER_HEIGHTS]
    place.near = {id: place.near.get(id, now.time_s) for id in near}
    if any(now.time_s - since_s >= ATTEND_S for since_s in place.near.values()):
        place.alone_s = now.time_s


def _begin(one: Object, time_s: float) -> _Place:
    return _Place(one.id, one.id, one.label, one.foot, time_s, time_s, time_s, time_s)
