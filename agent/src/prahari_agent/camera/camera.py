"""A camera as the agent's core sees it. The pictures are looked at in a process of their own; this one stays light."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prahari_wire import events
from prahari_wire.base import Refused, now_utc
from prahari_wire.camera import CameraConfig
from prahari_wire.command import CommandName
from prahari_wire.health import PeripheralHealth
from prahari_wire.owner import Use
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.presence import PeripheralType
from prahari_wire.system import AgentFault
from prahari_wire.twin import PeripheralConfig

from prahari_agent.camera.channel import Message
from prahari_agent.camera.copies import Copies
from prahari_agent.camera.live import LiveView
from prahari_agent.camera.openings import Openings
from prahari_agent.camera.reach import Reach
from prahari_agent.camera.recorder.keeper import Keeper
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_agent.camera.supervisor import Allowed, Crash, Supervisor
from prahari_agent.camera.terms import Terms, note_off, within_terms
from prahari_agent.camera.verdict import by_terms, recorded, recorder_trouble, verdict
from prahari_agent.errors import AgentError, ConfigRefused, Rejected
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Surroundings

log = get_logger("camera")

SCHEMES = ("", "rtsp", "rtsps", "http", "https")
SNAPSHOT_S = 10.0
WELL_AFTER_S = 5.0
"""A process that has given facts for so long since its start ends the fault of the crash before."""
AT_WORK = ("rules", "regions", "masks")
"""What a camera's process changes while it works; for anything else it is replaced."""
_OPEN, _VIEW = "open.json", "view.npz"
_NOT_STORED = (AgentError, OSError)
_PROCESS, _MODEL, _RECORDING = "camera process", "camera model", "camera recording"


class Camera:
    """The peripheral.Peripheral of a camera."""

    def __init__(self, peripheral_id: str, surroundings: Surroundings) -> None:
        self._id, self._around = peripheral_id, surroundings
        self._terms = Terms(surroundings.stamp, surroundings.undisputed)
        surroundings.home.mkdir(parents=True, exist_ok=True)
        self._config: CameraConfig | None = None
        self._facts: Message | None = None
        self._facts_since_s = 0.0
        self._down: str | None = None
        self._told: dict[str, bool] = {}
        self._open = Openings(surroundings.home / _OPEN)
        self._numbers = itertools.count(1)
        self._answers: dict[int, tuple[str | None, bytes]] = {}
        self._answered = threading.Condition()
        self._keeper: Keeper | None = None
        self._copies: Copies | None = None
        self._live = LiveView(peripheral_id, self._picture, surroundings.show, self._terms)
        self._started = False
        self._supervisor = Supervisor(
            peripheral_id, start_message=self._start_message, heard=self._heard, crashed=self._crashed,
            may_run=self._terms.on, rested=self._went_off,
        )  # fmt: skip

    @property
    def info(self) -> PeripheralInfo:
        return PeripheralInfo(id=self._id, type=PeripheralType.CAMERA)

    @property
    def pid(self) -> int | None:
        """The camera's process, None while there is none."""
        return self._supervisor.pid

    @property
    def footage_age_s(self) -> float | None:
        """How long ago the newest footage ends; None while nothing is to be recorded, or nothing has been yet."""
        if self._keeper is None or not self._records or not self._terms.on():
            return None
        return self._keeper.age_s()

    @property
    def night_light(self) -> float | None:
        """Brightness of the picture by night, 0 to 255; None where it is not known, or the camera is off by its owner's terms."""
        facts = self._facts
        return facts["night_light"] if facts is not None and self._terms.on() else None

    @property
    def _records(self) -> bool:
        return self._config is not None and self._terms.recording(self._config.recording).enabled

    def configure(self, config: PeripheralConfig) -> None:
        if not isinstance(config, CameraConfig):
            raise ConfigRefused(("type", "this peripheral is a camera"))
        if (scheme := urlsplit(config.source).scheme) not in SCHEMES:
            raise ConfigRefused(
                ("source", f"a path, rtsp://, http(s):// or /dev/video* was expected, not {scheme}://")
            )
        reach = Reach(self._around.networks, private=config.owner is not None)
        if (problem := reach.problem(config.source)) is not None:
            raise ConfigRefused(("source", problem))
        ids = [region.id for region in config.regions]
        if len(set(ids)) < len(ids):
            raise ConfigRefused(("regions", "each region needs an id of its own"))
        _check_recording(config)
        before, self._config = self._config, config
        self._terms.owner = config.owner
        if before is None or before == config:
            return
        if not self._changed_at_work(before, config):
            self._supervisor.renew()
        if self._started and before is not None and before.recording != config.recording:
            self._keep_footage()
        elif self._keeper is not None:
            self._keeper.nudge()

    def _changed_at_work(self, before: CameraConfig, config: CameraConfig) -> bool:
        """Whether the process took the new configuration as it works, so that its footage has no gap: it does where nothing but
        ``AT_WORK`` changes, once it has said something.
        """
        same = before.model_copy(update={name: getattr(config, name) for name in AT_WORK}) == config
        if not same or self._facts is None:
            return False
        text = within_terms(config, self._terms).model_dump_json()
        return self._supervisor.send({"type": "change", "config": text})

    def start(self) -> None:
        self._open.recall()
        self._end_all()
        self._started = True
        if not self._terms.on():
            at_ms = round(self._around.stamp().at.timestamp() * 1000)
            note_off(self._footage(), device=self._around.device, camera=self._id, at_ms=at_ms)
        self._keep_footage()
        self._supervisor.start()

    def stop(self) -> None:
        self._live.stop()
        if self._copies is not None:
            self._copies.stop()
        self._supervisor.stop()
        if self._keeper is not None:
            self._keeper.stop()

    def _keep_footage(self) -> None:
        """Begin to keep the footage as the present configuration says."""
        assert self._config is not None
        if self._keeper is not None:
            self._keeper.stop()
        wanted = self._config.recording
        shelf = Shelf(
            self._footage(), device=self._around.device, camera=self._id, retention_days=wanted.retention_days,
            max_bytes=wanted.max_mb * 2**20,
        )  # fmt: skip
        self._copies = Copies(
            self._id, shelf, self._around, model=lambda: self._config.model if self._config else None,
            terms=self._terms,
        )  # fmt: skip
        self._keeper = Keeper(
            self._id, shelf, self._around, terms=self._terms,
            recording=lambda: wanted.enabled and self.pid is not None,
        )  # fmt: skip
        self._keeper.start()

    def _footage(self) -> Path:
        """The folder of this camera's footage."""
        assert self._config is not None
        where = self._config.recording.where
        return Path(where) / self._around.device / self._id if where else self._around.home / "footage"

    def health(self) -> PeripheralHealth:
        if (why := self._terms.off()) is not None:
            state, faults, note = by_terms(why, self._terms.owner)
            return PeripheralHealth(id=self._id, state=state, faults=faults, note=note)
        recording = self._records
        state, faults, note = recorded(
            verdict(self._facts, self._down),
            self._facts["recorder"] if self._facts and recording else None,
            self._keeper.trouble if self._keeper else None,
        )
        return PeripheralHealth(id=self._id, state=state, faults=faults, note=note)

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        kept = {**self._keeper.commands()} if self._keeper is not None else {}
        if self._copies is not None:
            kept[CommandName.REDACT] = self._copies.begin
        return {
            CommandName.SNAPSHOT: self._snapshot,
            CommandName.LEARN_VIEW: self._learn,
            CommandName.LIVE: self._live.begin,
            **kept,
        }

    # The process

    def _start_message(self, allowed: Allowed) -> Message:
        assert self._config is not None, "configure() comes before start()"
        self._facts, self._facts_since_s = None, 0.0
        self._end_all()  # no process lives now: what one left open that had to be killed when it was told to stop
        try:
            credentials = self._around.secret(self._id)
        except AgentError as error:
            self._down = str(error)
            raise
        return {
            "type": "start",
            "config": within_terms(self._config, self._terms).model_dump_json(),
            "credentials": credentials,
            "analysis": allowed.model,
            "decoding": allowed.decoder,
            **self._clock_now(),
            "networks": list(self._around.networks),
            "device": self._around.device,
            "camera": self._id,
            "footage": str(self._footage()),
            "view": str(self._around.home / _VIEW),
            "faults": [fault.model_dump_json() for fault in self._open.faults],
        }

    def _clock_now(self) -> Message:
        """What turns the monotonic clock, which both processes share, into the box's UTC, and how far that is trusted."""
        stamp = self._around.stamp()
        return {"offset_s": stamp.at.timestamp() - time.monotonic(), "clock": str(stamp.clock)}

    def _heard(self, message: Message, blob: bytes) -> None:
        match message:
            case {"type": "event", "id": int(number), "kind": str(kind), "body": dict(body)}:
                self._supervisor.send({"type": "answer", "id": number, "kept": self._keep(kind, body, blob)})
            case {"type": "facts"}:
                self._note_facts(message)
                self._supervisor.send({"type": "clock", **self._clock_now()})
            case {"type": "footage"}:
                if self._keeper is not None:
                    self._keeper.nudge()
            case {"type": "snapshot", "id": int(number), "problem": problem}:
                with self._answered:
                    self._answers[number] = (problem, blob)
                    self._answered.notify_all()
            case {"type": "unfit", "problem": str(problem)}:
                self._down = problem

    def _crashed(self, crash: Crash) -> None:
        again = f"it starts again in {crash.again_s:.0f} s"
        if crash.in_model:
            again += f", for {crash.rest_s:.0f} s without its model"
        if crash.in_decoder and self._records:
            again += f", for {crash.rest_s:.0f} s recording only"
        unfit = self._down if self._facts is None else None
        self._facts = None
        self._down = unfit or f"the camera's process died ({crash.how}); {again}"
        self._fault(_MODEL if crash.in_model else _PROCESS, self._down)
        self._end_all()

    # Events

    def _keep(self, kind: str, body: dict[str, Any], blob: bytes) -> bool:
        """Store one event of the camera's process, then its picture; False asks it to say it again later."""
        try:
            message = events.parse_body(kind, body)
        except Refused as error:
            log.error(
                "the camera's process said something invalid", camera=self._id, kind=kind, detail=error.detail
            )
            return True
        allowed = self._terms.told(message)
        if allowed is None:
            return True
        try:
            self._around.emit(kind, allowed, peripheral=self._id)
        except _NOT_STORED as error:
            log.error(
                "an event of the camera could not be stored", camera=self._id, kind=kind, error=str(error)
            )
            return False
        self._open.told(allowed)
        if blob and getattr(allowed, "snapshot", None) is not None:
            self._upload(blob)
        return True

    def _upload(self, jpeg: bytes) -> None:
        try:
            self._around.upload(jpeg, "image/jpeg")
        except _NOT_STORED as error:
            log.error(
                "a snapshot could not be kept: free space on the disk", camera=self._id, error=str(error)
            )

    def _went_off(self) -> None:
        """By the owner's terms there is no process now: nothing is open any more, and no fault of the picture stands."""
        self._facts = self._down = None
        self._end_all()
        for fault in self._open.faults:
            over = fault.model_copy(update={"active": False, "since": now_utc()})
            self._keep(events.CAMERA_FAULT, over.model_dump(mode="json", by_alias=True), b"")

    def _end_all(self) -> None:
        """End what a process left open that died, as of now."""
        for kind, body in self._open.endings(now_utc()):
            self._keep(kind, body.model_dump(mode="json", by_alias=True), b"")

    def _note_facts(self, facts: Message) -> None:
        if self._facts is None:
            self._facts_since_s = time.monotonic()
        self._facts, self._down = facts, None
        refused = facts["without_model"] if self._config and self._config.model else None
        if refused:
            self._fault(_MODEL, refused)
        elif time.monotonic() - self._facts_since_s >= WELL_AFTER_S:
            self._fault(_MODEL, None)
        if time.monotonic() - self._facts_since_s >= WELL_AFTER_S:
            self._fault(_PROCESS, None)
            recorder = facts["recorder"]
            if recorder is not None and (recorder["problem"] or not facts["faults"]):
                self._fault(_RECORDING, recorder_trouble(recorder))

    def _fault(self, part: str, detail: str | None) -> None:
        """Tell once that a part fails, and once that it works. The first of this process's life is told either way: an agent
        before this one may have left a fault open.
        """
        active = detail is not None
        if self._told.get(part) is active:
            return
        fault = AgentFault(part=part, active=active, peripheral=self._id, detail=detail)
        try:
            self._around.emit(events.AGENT_FAULT, fault, peripheral=self._id)
        except _NOT_STORED as error:
            log.error("a fault of the camera could not be stored", camera=self._id, error=str(error))
            return
        self._told[part] = active

    # Commands

    def _learn(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The view is right as it is now: what was usual before is forgotten."""
        if unknown := sorted(set(args) - {"peripheral"}):
            raise Rejected(f"learning a view takes no argument {unknown[0]!r}")
        if not self._supervisor.send({"type": "learn_view"}):
            raise Rejected(f"the camera gives no picture now: {self._down or 'its process starts'}")
        return {}

    def _snapshot(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take a redacted picture now and upload it."""
        if unknown := sorted(set(args) - {"peripheral"}):
            raise Rejected(f"a snapshot takes no argument {unknown[0]!r}")
        self._terms.check(Use.PICTURE)
        jpeg = self._picture()
        return {"snapshot": {"sha256": self._around.upload(jpeg, "image/jpeg"), "size": len(jpeg)}}

    def _picture(self) -> bytes:
        """A redacted JPEG of now; Rejected says why there is none."""
        number = next(self._numbers)
        if not self._supervisor.send({"type": "snapshot", "id": number}):
            raise Rejected(f"the camera gives no picture now: {self._down or 'its process starts'}")
        with self._answered:
            answered = self._answered.wait_for(lambda: number in self._answers, timeout=SNAPSHOT_S)
            problem, jpeg = self._answers.pop(number, (None, b""))
        if not answered:
            raise Rejected(f"the camera gave no picture within {SNAPSHOT_S:.0f} s: try again")
        if problem:
            raise Rejected(f"the camera gives no picture now: {problem}")
        return jpeg


def _check_recording(config: CameraConfig) -> None:
    wanted = config.recording
    if not wanted.enabled:
        return
    if wanted.where is not None and not Path(wanted.where).is_dir():
        raise ConfigRefused(
            (
                "recording.where",
                f"there is no folder {wanted.where} on the box: mount the disk or correct the path",
            )
        )
    if wanted.where is not None and Path(wanted.where).is_mount():
        raise ConfigRefused(
            ("recording.where", f"{wanted.where} is a mount point: make a folder on that disk and name it")
        )
    if not config.realtime:
        raise ConfigRefused(("realtime", "a file that is not played in real time cannot be recorded"))
