"""What a camera has told as begun and not yet as ended. It must be closed one day, also by a later process or a later agent."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from prahari_wire.base import Message
from prahari_wire.camera import CameraFault, RuleEvent, RulePhase, Track, TrackPhase
from prahari_wire.events import RULE, TRACK

from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger

log = get_logger("camera")

_KINDS: dict[str, type[Track | RuleEvent | CameraFault]] = {
    "tracks": Track,
    "rules": RuleEvent,
    "faults": CameraFault,
}


class Openings:
    """Kept in the file ``path``; a broken file is as good as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, dict[str, Track | RuleEvent | CameraFault]] = {name: {} for name in _KINDS}

    @property
    def faults(self) -> list[CameraFault]:
        return [one for one in self._open["faults"].values() if isinstance(one, CameraFault)]

    def told(self, message: Message) -> None:
        """The outbox has it."""
        match message:
            case Track():
                self._note("tracks", message.track, message, over=message.phase is TrackPhase.ENDED)
            case RuleEvent():
                self._note("rules", message.event, message, over=message.phase is RulePhase.ENDED)
            case CameraFault():
                self._note("faults", message.fault, message, over=not message.active)
            case _:
                return
        self._write()

    def endings(self, now: datetime) -> list[tuple[str, Message]]:
        """(kind, body) that end each track and each case of a rule, as of ``now``. Faults go on: the next process clears them."""
        ended: list[tuple[str, Message]] = []
        for one in [*self._open["tracks"].values(), *self._open["rules"].values()]:
            if isinstance(one, Track):
                changes = {"phase": TrackPhase.ENDED, "ended_at": max(now, one.started_at), "snapshot": None}
                ended.append((TRACK, one.model_copy(update=changes)))
            elif isinstance(one, RuleEvent):
                ending = {"phase": RulePhase.ENDED, "seen_at": max(now, one.seen_at), "snapshot": None}
                ended.append((RULE, one.model_copy(update=ending)))
        return ended

    def recall(self) -> None:
        """What an agent before this one left open."""
        try:
            kept = json.loads(self._path.read_bytes())
            for name, model in _KINDS.items():
                for fields in kept.get(name, []):
                    one = model.model_validate_json(json.dumps(fields))
                    self._open[name][_key(one)] = one
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError, TypeError):
            log.warning("what the camera left open could not be read and is forgotten", file=str(self._path))

    def _note(self, name: str, key: str, message: Track | RuleEvent | CameraFault, *, over: bool) -> None:
        if over:
            self._open[name].pop(key, None)
        else:
            self._open[name][key] = message

    def _write(self) -> None:
        kept = {
            name: [one.model_dump(mode="json") for one in open_now.values()]
            for name, open_now in self._open.items()
        }
        try:
            write_atomic(self._path, json.dumps(kept).encode())
        except OSError as error:
            log.error("the camera's open tracks cannot be kept: free space on the disk", error=str(error))


def _key(one: Track | RuleEvent | CameraFault) -> str:
    match one:
        case Track():
            return one.track
        case RuleEvent():
            return one.event
        case CameraFault():
            return one.fault
