"""The recorder of a camera's process: takes every packet of its stream and lays them down in segments, never re-encoded.

It writes in a thread of its own, so that a slow disk delays no picture; what does not fit into its queue is dropped up to the next
key frame, and the gap is said. Times: a segment begins when its first packet came by the box's clock, sooner where that came late
(current.py), or where the one before ended if that is about then; within a segment the stream's own stamps count.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import av
from av.packet import Packet
from av.video.stream import VideoStream
from prahari_wire.base import Clock as Quality
from prahari_wire.recording import GapCause, RecordingConfig

from prahari_agent.camera.recorder.current import DRIFT_MS, Current
from prahari_agent.camera.recorder.daybook import Daybook, day_of, days_in, open_path
from prahari_agent.camera.recorder.segment import OpenSegment
from prahari_agent.camera.recorder.template import Template, inline_parameters

Packets: TypeAlias = "list[tuple[Packet[VideoStream], float]]"
"""Packets, each with the monotonic second in which it came."""

BATCH_S = 1.0
MOST_PENDING = 48 * 2**20
"""Bytes of packets that wait for the disk."""
UNTIMED = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v"})
"""Forms of a stream without stamps, for which the demuxer makes some up: when a packet came is what is known."""
CLOCK_STEP_S = 1.5
"""The box's clock is set: footage before and after must not share a segment."""
SILENT_S = 5.0
RETRY_S = 5.0
STOP_S = 5.0
_SLACK_S = 0.1


class WallClock(Protocol):
    """``offset_s`` turns monotonic seconds into Unix time; ``quality``: how far that is trusted."""

    offset_s: float
    quality: Quality


def recorder_for(
    start: Mapping[str, Any],
    config: RecordingConfig,
    *,
    clock: WallClock,
    tell: Callable[[dict[str, Any]], None],
) -> Recorder | None:
    """The recorder that the process's first message asks for; where it asks for none, a day that was recorded hears of it."""
    folder = Path(start["footage"])
    if config.enabled:
        return Recorder(
            folder,
            device=start["device"],
            camera=start["camera"],
            segment_s=config.segment_s,
            clock=clock,
            boot=boot_id(),
            tell=tell,
        )
    if days_in(folder):
        try:
            now_ms = round((clock.offset_s + time.monotonic()) * 1000)
            Daybook(folder, device=start["device"], camera=start["camera"]).gap(now_ms, GapCause.OFF)
        except OSError:
            pass  # the hub is told nothing new then
    return None


def boot_id() -> str:
    """A name of this boot of the box."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class _Stop(Exception):
    """The queue's last item has been taken."""


class Recorder:
    """``tell`` is called after each line in the journal and when the disk fails. ``boot``: the id of this boot of the box.

    ``opened``, ``packet`` and ``lost`` are called by the one thread that reads the source, ``packet`` after decoding.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        camera: str,
        segment_s: float,
        clock: WallClock,
        boot: str,
        tell: Callable[[dict[str, Any]], None],
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._segment_s, self._clock, self._boot = folder, segment_s, clock, boot
        self._say, self._mono_s = tell, mono_s
        self._book = Daybook(folder, device=device, camera=camera)
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self._offset_s, self._quality = clock.offset_s, clock.quality
        self._batch: Packets = []
        self._tick_s: float | None = None
        self._pending = 0
        self._counting = threading.Lock()
        self._overflown = False
        self._template: Template | None = None
        self._parameters = b""
        self._current: Current | None = None
        self._end_ms: int | None = None
        self._last_s = mono_s()
        self._closed_s: float | None = None
        self._gap_told = False
        self._retry_s = 0.0
        self._marks: list[Callable[[], None]] = []
        self._stop_cause = GapCause.MAINTENANCE
        self.problem: str | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, cause: GapCause) -> None:
        """Close what is open and write why; returns when that is done, or the disk takes too long."""
        self._flush()
        self._stop_cause = cause
        self._queue.put(self._raise_stop)
        self._thread.join(STOP_S)

    # The source's thread

    def opened(self, stream: VideoStream) -> None:
        """A source is open; its packets follow."""
        untimed = stream.container.format.name in UNTIMED and stream.time_base is not None
        self._tick_s = float(stream.time_base) if untimed and stream.time_base else None
        try:
            template = Template(stream)
        except (ValueError, av.error.FFmpegError):
            name = stream.codec_context.name
            self.problem = f"{name} pictures cannot be recorded: set the camera to H.264 or H.265"
            self._queue.put(lambda: self._take_template(None))
            return
        self._queue.put(lambda: self._take_template(template))

    def packet(self, packet: Packet[VideoStream]) -> None:
        now_s = self._mono_s()
        if self._tick_s is not None:
            behind = packet.pts - packet.dts if packet.pts is not None and packet.dts is not None else 0
            packet.dts = round(now_s / self._tick_s)
            packet.pts = packet.dts + behind
        if self._batch and (packet.is_keyframe or now_s - self._batch[0][1] >= BATCH_S):
            self._flush()
        self._batch.append((packet, now_s))

    def lost(self) -> None:
        """The source is closed."""
        self._flush()
        self._queue.put(self._close)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        size = sum(packet.size for packet, _ in batch)
        with self._counting:
            if self._pending + size > MOST_PENDING:
                self._overflown = True
                self.dropped += len(batch)
                return
            self._pending += size
        offset_s, quality = self._clock.offset_s, self._clock.quality
        self._queue.put(lambda: self._lay_batch(batch, size, offset_s, quality))

    # The recorder's thread

    def facts(self) -> dict[str, Any]:
        """What health wants to know: the problem, the age of the last closed segment in seconds, packets that were dropped."""
        age_s = None if self._closed_s is None else round(self._mono_s() - self._closed_s, 1)
        return {"problem": self.problem, "age_s": age_s, "dropped": self.dropped}

    def _run(self) -> None:
        self._guarded(self._recover)
        while True:
            try:
                work = self._queue.get(timeout=1.0)
            except queue.Empty:
                work = self._note_silence
            try:
                self._guarded(work)
                # A source that is tried again and again keeps the queue from ever being waited for.
                if self._queue.empty():
                    self._guarded(self._note_silence)
            except _Stop:
                break
        self._guarded(self._close)
        cause = self._stop_cause
        self._mark(lambda: self._book.end(self._now_ms(), cause))

    def _raise_stop(self) -> None:
        raise _Stop

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do ``work``; where the disk takes nothing, give up what is open, say so and try again soon."""
        try:
            work()
        except (av.error.FFmpegError, ValueError) as error:
            self._unfit(error)
        except OSError as error:
            self._failed(error)

    def _unfit(self, error: Exception) -> None:
        """The stream sent what MP4 does not take: what is open is closed, the next key frame begins anew."""
        self.problem = (
            f"the camera's stream cannot be recorded ({type(error).__name__}): set it to H.264 or H.265"
        )
        try:
            self._close()
        except (av.error.FFmpegError, ValueError, OSError) as again:
            self._failed(again)

    def _failed(self, error: Exception) -> None:
        said = getattr(error, "strerror", None) or type(error).__name__
        self.problem = f"the disk takes no footage ({said}): free space or replace the disk"
        at_ms = self._end_ms or self._now_ms()
        if self._current is not None:
            current, self._current = self._current, None
            with contextlib.suppress(OSError):  # the next recovery removes it
                current.open.abandon()
        self._retry_s = self._mono_s() + RETRY_S
        self._tell({"type": "footage"})
        if not self._gap_told:
            self._gap_told = True
            self._mark(lambda: self._book.gap(at_ms, GapCause.DISK))

    def _recover(self) -> None:
        self._book.recover()
        begin_ms = self._now_ms()
        self._mark(lambda: self._book.begin(begin_ms, self._boot))

    def _take_template(self, template: Template | None) -> None:
        self._close()
        self._template, self._parameters = template, b""

    def _lay_batch(self, batch: Packets, size: int, offset_s: float, quality: Quality) -> None:
        """``offset_s``, ``quality``: the clock's when the batch came."""
        self._offset_s, self._quality = offset_s, quality
        with self._counting:
            self._pending -= size
            overflown, self._overflown = self._overflown, False
        self._last_s = batch[-1][1]
        for packet, came_s in batch:
            self._lay(packet, came_s)
        if overflown:
            self._close()
            self._say_gap(self._end_ms or self._now_ms(), GapCause.DISK)

    def _lay(self, packet: Packet[VideoStream], came_s: float) -> None:
        if packet.is_keyframe:
            self._lay_key_frame(packet, came_s)
        elif self._current is not None and not self._current.add(packet, came_s):
            self._close()

    def _lay_key_frame(self, packet: Packet[VideoStream], came_s: float) -> None:
        if self._template is None or self._mono_s() < self._retry_s:
            return
        changed = self._changed(packet)
        if self._current is not None:
            if not self._ends(self._current, packet, changed=changed) and self._current.add(packet, came_s):
                return
            self._close()
        self._begin(came_s, packet)
        assert self._current is not None
        self._current.add(packet, came_s)

    def _changed(self, packet: Packet[VideoStream]) -> bool:
        """Whether the stream's parameters differ from this key frame on; the template then is the new one."""
        assert self._template is not None
        found = inline_parameters(packet, self._template.codec) if self._template.annex_b else b""
        if not found or found == self._parameters:
            return False
        first, self._parameters = not self._parameters, found
        if first and found in self._template.extradata:
            return False
        self._template = Template.of_key_frame(packet, self._template.codec)
        return True

    def _ends(self, current: Current, packet: Packet[VideoStream], *, changed: bool) -> bool:
        """Whether the open segment ends before ``packet``, a key frame."""
        place_s = current.open.place(packet)
        if changed or place_s >= self._segment_s - _SLACK_S:
            return True
        if abs(self._offset_s - current.offset_s) > CLOCK_STEP_S:
            return True
        return day_of(current.start_ms + int(place_s * 1000)) != current.day

    def _begin(self, came_s: float, packet: Packet[VideoStream]) -> None:
        template, offset_s = self._template, self._offset_s
        assert template is not None
        assert packet.time_base is not None
        came_ms = max(0, round((offset_s + came_s) * 1000))
        after_ms = self._end_ms
        day = day_of(after_ms if after_ms is not None and abs(came_ms - after_ms) <= DRIFT_MS else came_ms)
        position = self._book.next_position(day)
        segment = OpenSegment(open_path(self._folder, day, position), template.stream, packet.time_base)
        self._current = Current(
            segment, day, position, came_s, came_ms, after_ms, offset_s, self._quality, template
        )

    def _close(self) -> None:
        """Close the open segment and write its line; one that cannot be closed is given up."""
        current, self._current = self._current, None
        if current is None:
            return
        try:
            self._write_marks()
            segment = current.closed()
            self._book.closed(current.day, segment)
        except BaseException:
            current.open.abandon()
            raise
        self._end_ms, self._closed_s = segment.end_ms, self._mono_s()
        self._gap_told, self.problem = False, None
        self._tell({"type": "footage"})
        if abs(step_s := self._offset_s - current.offset_s) > CLOCK_STEP_S:
            at_ms = segment.end_ms
            self._end_ms = None
            if step_s > 0:
                self._mark(lambda: self._book.gap(at_ms, GapCause.CLOCK))

    def _note_silence(self) -> None:
        """Say the gap once nothing has come for SILENT_S."""
        if self._mono_s() - self._last_s < SILENT_S:
            return
        self._close()
        self._say_gap(self._end_ms or self._now_ms(), GapCause.SIGNAL)

    def _say_gap(self, at_ms: int, cause: GapCause) -> None:
        if not self._gap_told:
            self._gap_told = True
            self._end_ms = None
            self._mark(lambda: self._book.gap(at_ms, cause))

    def _mark(self, write: Callable[[], None]) -> None:
        """Write a line that is no segment; one that the disk does not take now is written before the next."""
        self._marks.append(write)
        try:
            self._write_marks()
        except OSError as error:
            self.problem = f"the disk takes no footage ({error.strerror}): free space or replace the disk"
            return
        self._tell({"type": "footage"})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(
            ConnectionError
        ):  # whoever listened is gone and reads the journal when it is back
            self._say(message)

    def _write_marks(self) -> None:
        while self._marks:
            self._marks[0]()
            self._marks.pop(0)

    def _now_ms(self) -> int:
        return max(0, round((self._clock.offset_s + self._mono_s()) * 1000))
