"""A camera's own process: decodes, looks, and hands wire bodies to the agent's process, which it outlives by seconds at most.

Three threads: one reads the source, one listens to the agent's process, and the main one looks at the newest frame.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from prahari_wire.base import Clock as Quality
from prahari_wire.camera import CameraConfig, CameraFault
from prahari_wire.recording import GapCause

from prahari_agent.camera.channel import IN_DECODER, IN_MODEL, MARKS, Channel, Message
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import ModelRefused, load_model
from prahari_agent.camera.pipeline import Outgoing, Pipeline
from prahari_agent.camera.reach import Reach
from prahari_agent.camera.recorder.recorder import Recorder, recorder_for
from prahari_agent.camera.source import Address, Clock, Frame, Kind, Source
from prahari_agent.camera.steadiness import Steadiness
from prahari_agent.errors import SourceError

FACTS_S = 1.0
RETRY_S = 5.0
MOST_UNANSWERED = 500
LAST_WORDS_S = 3.0
RATE_OVER_S = 10.0
RESTING = "decoding crashed this camera and rests: it is recorded and not looked at"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0


class Latest:
    """A place for one frame between reader and looker. Without ``wait`` a newer frame replaces one not taken yet, which is counted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self.dropped = 0

    def put(self, frame: Frame, *, wait: bool) -> None:
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._frame is None, timeout=60)
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None, timeout=timeout_s)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    @property
    def empty(self) -> bool:
        return self._frame is None


class Unanswered:
    """Events kept until the agent's process says that it has stored them; what it could not store is said again."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[int, Outgoing] = OrderedDict()
        self._again: dict[int, float] = {}
        self._lock = threading.Lock()

    def say(self, event: Outgoing) -> None:
        with self._lock:
            number = next(self._numbers)
            self._kept[number] = event
            if len(self._kept) > MOST_UNANSWERED:
                self._kept.popitem(last=False)
        self._send(number, event)

    def answered(self, number: int, *, kept: bool) -> None:
        with self._lock:
            if kept:
                self._kept.pop(number, None)
            else:
                self._again[number] = time.monotonic() + RETRY_S

    def say_again(self) -> None:
        with self._lock:
            due = [number for number, at_s in self._again.items() if at_s <= time.monotonic()]
            events = [(number, self._kept[number]) for number in due if number in self._kept]
            for number in due:
                del self._again[number]
        for number, event in events:
            self._send(number, event)

    def wait_until_empty(self, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while self._kept and time.monotonic() < end_s:
            time.sleep(0.02)

    def _send(self, number: int, event: Outgoing) -> None:
        body = event.body.model_dump(mode="json", by_alias=True)
        self._channel.send(
            {"type": "event", "id": number, "kind": event.kind, "body": body}, event.jpeg or b""
        )


class CameraProcess:
    def __init__(self, channel: Channel, start: Message, inferring: mmap.mmap) -> None:
        self._channel = channel
        self._config = CameraConfig.model_validate_json(start["config"])
        self._inferring = inferring
        self._stopping = threading.Event()
        self._clock = Clock()
        self._clock.offset_s, self._clock.quality = float(start["offset_s"]), Quality(start["clock"])
        self._latest = Latest()
        self._unanswered = Unanswered(channel)
        self._asked: deque[int] = deque()
        self._address = Address.of(
            self._config.source, tuple(start["credentials"]) if start["credentials"] else None
        )
        self._reach = Reach(start["networks"], private=self._config.owner is not None)
        self._problem: str | None = None
        self._ended = False
        self._last: Frame | None = None
        self._last_frame_s = time.monotonic()
        self._looked: deque[float] = deque(maxlen=int(RATE_OVER_S * 200))
        detector, self._without_model = self._load(analysis=bool(start["analysis"]))
        self._model = detector.manifest.name if detector else None
        faults = [CameraFault.model_validate_json(text) for text in start["faults"]]
        self._pipeline = Pipeline(
            self._config, detector, inferring=self._in_inference, faults=faults, view=Path(start["view"])
        )
        self._steady = Steadiness(1 / self._config.fps)
        self._learn_view = threading.Event()
        self._changed: deque[CameraConfig] = deque()
        self._recorder: Recorder | None = recorder_for(
            start, self._config.recording, clock=self._clock, tell=channel.send
        )
        self._stop_cause = GapCause.FAULT
        live = self._recorder is not None and self._address.opened.startswith("rtsp")
        self._decodes = bool(start["decoding"]) or not live

    def run(self) -> None:
        threading.Thread(target=self._read, name="source", daemon=True).start()
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        if self._recorder is not None:
            self._recorder.start()
        try:
            self._serve()
            for event in self._pipeline.end():  # before the recorder, which may have to wait for its disk
                self._unanswered.say(event)
        finally:
            if self._recorder is not None:
                self._recorder.stop(self._stop_cause)
        self._unanswered.wait_until_empty(LAST_WORDS_S)

    def _serve(self) -> None:
        facts_s = 0.0
        while not self._stopping.is_set():
            frame = self._latest.take(timeout_s=0.2)
            for event in self._look(frame):
                self._unanswered.say(event)
            self._answer_snapshots()
            if self._learn_view.is_set():
                self._learn_view.clear()
                self._pipeline.learn_view()
            while self._changed:
                self._change(self._changed.popleft())
            self._unanswered.say_again()
            if time.monotonic() - facts_s >= FACTS_S:
                facts_s = time.monotonic()
                self._channel.send(self._facts())

    def _change(self, config: CameraConfig) -> None:
        self._config = config
        for event in self._pipeline.change(config):
            self._unanswered.say(event)

    def _look(self, frame: Frame | None) -> list[Outgoing]:
        """What the newest frame, or its absence, gives."""
        now_s = time.monotonic()
        if frame is not None:
            self._last, self._last_frame_s, self._problem = frame, now_s, None
            self._looked.append(now_s)
            self._steady.frame(now_s)
            return self._pipeline.see(frame)
        if not self._decodes:
            return []
        if self._ended and self._latest.empty:
            return self._pipeline.end()
        return self._pipeline.silence(self._clock.utc(now_s), now_s - self._last_frame_s, self._problem)

    def _load(self, *, analysis: bool) -> tuple[Detector | None, str | None]:
        """The detector, or why there is none."""
        if self._config.model is None:
            return None, "no model"
        if not analysis:
            return None, "the model crashed this camera and rests"
        try:
            with self._in_inference():
                return Detector(load_model(Path(self._config.model))), None
        except ModelRefused as error:
            self._inferring[IN_MODEL] = 0
            return None, str(error)

    @contextmanager
    def _in_inference(self) -> Iterator[None]:
        """Leaves a mark that outlives a crash of this process; an exception leaves it, too, for it ends the process."""
        self._inferring[IN_MODEL] = 1
        yield
        self._inferring[IN_MODEL] = 0

    def _mark_decoding(self, decoding: bool) -> None:
        self._inferring[IN_DECODER] = decoding

    def _is_idle(self) -> bool:
        """Nothing happens, and nobody waits for a picture."""
        return self._pipeline.idle and not self._asked

    def _read(self) -> None:
        """Keep the source open; what it gives goes to the looker, its problem to the facts."""
        config, pause_s = self._config, _FIRST_PAUSE_S
        paced = config.realtime or self._address.kind is not Kind.FILE
        source = Source(
            self._address,
            fps=config.fps,
            loop=config.loop,
            realtime=config.realtime,
            clock=self._clock,
            wait=self._stopping.wait,
            tap=self._recorder,
            decode=self._decodes,
            mark=self._mark_decoding,
            reach=self._reach,
            idle=self._is_idle,
        )
        while not self._stopping.is_set():
            try:
                for frame in source.frames():
                    pause_s = _FIRST_PAUSE_S
                    self._latest.put(frame, wait=not paced)
                self._ended = True
                return
            except SourceError as error:
                self._problem = str(error)
                self._steady.opened_again(time.monotonic())
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _listen(self) -> None:
        while (received := self._channel.receive()) is not None:
            match received[0]:
                case {"type": "answer", "id": int(number), "kept": bool(kept)}:
                    self._unanswered.answered(number, kept=kept)
                case {"type": "clock", "offset_s": float(offset_s), "clock": str(quality)}:
                    self._clock.offset_s, self._clock.quality = offset_s, Quality(quality)
                case {"type": "snapshot", "id": int(number)}:
                    self._asked.append(number)
                case {"type": "change", "config": str(text)}:
                    self._changed.append(CameraConfig.model_validate_json(text))
                case {"type": "learn_view"}:
                    self._learn_view.set()
                case {"type": "stop", "cause": str(cause)}:
                    self._stop_cause = GapCause(cause)
                    self._stopping.set()
        self._stopping.set()
        time.sleep(LAST_WORDS_S)
        os._exit(
            0
        )  # the agent's process is gone: nobody needs this one, whatever its other threads are stuck in

    def _answer_snapshots(self) -> None:
        while self._asked:
            number = self._asked.popleft()
            silent_s = time.monotonic() - self._last_frame_s
            stale = silent_s > self._config.signal_loss_after_s and not self._ended
            if self._last is None or stale:
                problem = self._problem or "it has not given a picture lately"
                self._channel.send({"type": "snapshot", "id": number, "problem": problem})
            else:
                jpeg = self._pipeline.snapshot(self._last)
                self._channel.send({"type": "snapshot", "id": number, "problem": None}, jpeg)

    def _facts(self) -> Message:
        now_s = time.monotonic()
        counters = self._pipeline.counters
        recent = [looked_s for looked_s in self._looked if now_s - looked_s <= RATE_OVER_S]
        fps = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        return {
            "type": "facts",
            "fps": round(fps, 1),
            "frames": counters.frames,
            "frame_at": self._last.at.isoformat() if self._last else None,
            "dropped": self._latest.dropped,
            "inferences": counters.inferences,
            "detector_ms": round(counters.detector_ms, 1),
            "tracks": counters.tracks,
            "stalls": self._steady.stalls(now_s),
            "reconnections": self._steady.reconnections(now_s),
            "brightness": round(self._pipeline.brightness, 1),
            "night_light": self._pipeline.night_light(self._clock.utc(now_s)),
            "faults": [str(fault) for fault in self._pipeline.faults],
            "problem": self._problem if self._decodes else RESTING,
            "ended": self._ended,
            "model": self._model,
            "without_model": self._without_model,
            "rss_mb": _rss_mb(),
            "recorder": self._recorder.facts() if self._recorder else None,
        }


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main(channel: Channel, mark: int) -> None:
    """Serve one camera until told to stop; ``mark`` is the descriptor of the shared bytes that say what runs."""
    cv2.setNumThreads(1)
    received = channel.receive()
    while received is not None and received[0]["type"] != "start":
        received = (
            channel.receive()
        )  # meant for the process before this one; what it says is in the first message
    if received is not None:
        CameraProcess(channel, received[0], mmap.mmap(mark, MARKS)).run()
