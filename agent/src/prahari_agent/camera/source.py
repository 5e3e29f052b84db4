"""Where pictures come from: a file, an RTSP or HTTP stream or a V4L2 device, decoded by PyAV.

A source gives at most ``fps`` frames a second of its own time line. Errors become SourceError with one sentence that names
the address without user, password and query.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from typing import Protocol, cast
from urllib.parse import quote, urlsplit, urlunsplit

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from prahari_wire.base import Clock as Quality

from prahari_agent.camera.decoding import Decoding
from prahari_agent.camera.reach import Reach
from prahari_agent.errors import SourceError

Pixels = NDArray[np.uint8]

LUMA_ROWS = 180
TIMEOUT_S = 10.0
"""For opening a source, and for each read from it."""
DRIFT_S = 2.0
"""A live stream whose own time differs this much from ours is anchored anew."""
BAD_PACKETS = 100
"""So many packets in a row that do not decode are an error; single ones are usual on a bad line."""
SKIP_FROM = 4
"""A source this many times faster than we look at it is decoded without the frames that no other frame needs."""

GREY = 8
"""Difference between red, green and blue that an encoder makes of none."""

_luma = VideoReformatter()
_colour = VideoReformatter()
_whole = VideoReformatter()


class Kind(Enum):
    FILE = "file"
    STREAM = "stream"
    DEVICE = "device"


class Clock:
    """Turns monotonic seconds into UTC; both fields are set by the agent's process, which knows how good the box's clock is."""

    def __init__(self) -> None:
        self.offset_s = time.time() - time.monotonic()
        self.quality = Quality.UNSYNCED

    def utc(self, monotonic_s: float) -> datetime:
        return datetime.fromtimestamp(max(0.0, self.offset_s + monotonic_s), UTC)


@dataclass(frozen=True)
class Frame:
    """One picture. ``time_s`` is its place on a monotonic time line that only grows, ``at`` the same in UTC. ``rested``: pictures
    between the one before and this were left undecoded.
    """

    at: datetime
    time_s: float
    image: VideoFrame = field(repr=False)
    rested: bool = False

    @cached_property
    def luma(self) -> Pixels:
        """Brightness, LUMA_ROWS high, in the picture's proportions; shape (rows, columns)."""
        return cast("Pixels", self._scaled(_luma, LUMA_ROWS, "gray").to_ndarray())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.width, self.image.height

    def rgb(self, width: int, height: int) -> Pixels:
        """The whole picture squeezed to a model's input; shape (height, width, 3)."""
        scaled = _colour.reformat(self.image, width, height, "rgb24", interpolation=Interpolation.AREA)
        return cast("Pixels", scaled.to_ndarray())

    def part(self, shares: tuple[float, float, float, float], width: int, height: int) -> Pixels:
        """A part of the picture (left, top, right, bottom in shares of it), squeezed likewise."""
        left, right = (round(share * self.image.width) for share in (shares[0], shares[2]))
        top, bottom = (round(share * self.image.height) for share in (shares[1], shares[3]))
        cut = self._full[top : max(bottom, top + 1), left : max(right, left + 1)]
        way = cv2.INTER_AREA if right - left >= width else cv2.INTER_LINEAR
        return cast("Pixels", cv2.resize(cut, (width, height), interpolation=way))

    @cached_property
    def _full(self) -> Pixels:
        """All of the picture's pixels in colour, made once for all parts of it, where the conversion put them."""
        image = _whole.reformat(self.image, format="rgb24")
        plane = image.planes[0]
        shape, strides = (image.height, image.width, 3), (plane.line_size, 3, 1)
        return np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)

    def let_go(self) -> None:
        """Keep the picture without what was made of all its pixels: 6 MB of one in 1080p, that nobody needs once it was looked at."""
        self.__dict__.pop("_full", None)

    def bgr(self, max_height: int) -> Pixels:
        """The picture for a snapshot, at most ``max_height`` high; shape (rows, columns, 3)."""
        return cast("Pixels", self._scaled(_colour, min(max_height, self.image.height), "bgr24").to_ndarray())

    def is_grey(self) -> bool:
        """Without colour, as a camera shows what it lights by infrared."""
        cells = self.rgb(32, 18)
        return int(np.ptp(cells, axis=2).max()) <= GREY

    def same_picture(self, other: Frame) -> bool:
        """Both decode to exactly the same brightness in every pixel."""
        if not np.array_equal(self.luma, other.luma):
            return False
        return np.array_equal(_plane(self.image), _plane(other.image))

    def _scaled(self, by: VideoReformatter, rows: int, pixels: str) -> VideoFrame:
        columns = max(2, round(rows * self.image.width / self.image.height / 2) * 2)
        return by.reformat(self.image, columns, rows, pixels, interpolation=Interpolation.AREA)


def _plane(image: VideoFrame) -> Pixels:
    """The bytes of the first plane without its padding: brightness in every planar format."""
    form, plane = image.format, image.planes[0]
    bits = form.components[0].bits + 7 & ~7 if form.is_planar else form.padded_bits_per_pixel
    rows: Pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : image.width * bits // 8]


@dataclass(frozen=True)
class Address:
    """A source as configured. ``shown`` is fit for logs and pages; ``opened`` is what PyAV gets, with the credentials in it."""

    kind: Kind
    shown: str
    opened: str = field(repr=False)

    @classmethod
    def of(cls, source: str, credentials: tuple[str, str] | None = None) -> Address:
        if source.startswith("/dev/video"):
            return cls(Kind.DEVICE, source, source)
        parts = urlsplit(source)
        if parts.scheme not in ("rtsp", "rtsps", "http", "https"):
            return cls(Kind.FILE, source, source)
        host = parts.netloc.rpartition("@")[2]
        user = (
            "".join((quote(credentials[0], safe=""), ":", quote(credentials[1], safe=""), "@"))
            if credentials
            else ""
        )
        shown = urlunsplit((parts.scheme, host, parts.path, "", ""))
        if credentials and "{password}" in source:
            name, password = (quote(one, safe="") for one in credentials)
            return cls(Kind.STREAM, shown, source.replace("{user}", name).replace("{password}", password))
        return cls(Kind.STREAM, shown, urlunsplit(parts._replace(netloc=user + host)))


class Timeline:
    """Maps a source's own timestamps to a monotonic time line that only grows, over loops and reconnections too.

    ``live``: frames come when they happen, so the line is kept near ``now_s``.
    """

    def __init__(self, *, live: bool, start_s: float) -> None:
        self._live = live
        self._last_s = start_s
        self._shift_s: float | None = None
        self._step_s = 0.0

    def restart(self) -> None:
        """The source begins anew (a loop, a reconnection): its timestamps say nothing about the previous ones."""
        self._shift_s = None

    def place(self, stamp_s: float, now_s: float) -> float:
        if self._shift_s is None:
            begin_s = max(now_s, self._last_s + 0.001) if self._live else self._last_s + self._step_s
            self._shift_s = begin_s - stamp_s
        placed_s = stamp_s + self._shift_s
        if self._live and abs(placed_s - now_s) > DRIFT_S:
            self._shift_s = now_s - stamp_s
            placed_s = now_s
        placed_s = max(placed_s, self._last_s)
        self._step_s = placed_s - self._last_s or self._step_s
        self._last_s = placed_s
        return placed_s


class Tap(Protocol):
    """Gets every packet of a source, after it has been decoded: the recorder's end of the one demux. Called by the reading thread."""

    def opened(self, stream: VideoStream) -> None: ...

    def packet(self, packet: Packet[VideoStream]) -> None: ...

    def lost(self) -> None: ...


class Source:
    """One configured source. ``frames`` opens it and gives frames until a file played once has ended; SourceError says why not.

    ``realtime`` and ``loop`` concern files alone. ``wait`` sleeps and gives True when it is time to stop. Without ``decode`` there are no
    frames and the ``tap`` alone gets packets. ``mark`` is called before and after the decoder runs, which may crash the process.
    ``idle``: whether nothing happens in the picture, so that key frames alone may do (drowse.py). ``reach``: where its address may lead.
    """

    def __init__(
        self,
        address: Address,
        *,
        fps: float,
        loop: bool = True,
        realtime: bool = True,
        clock: Clock | None = None,
        wait: Callable[[float], bool] | None = None,
        timeout_s: float = TIMEOUT_S,
        tap: Tap | None = None,
        decode: bool = True,
        mark: Callable[[bool], None] = lambda _decoding: None,
        idle: Callable[[], bool] = lambda: False,
        reach: Reach | None = None,
    ) -> None:
        self.address, self._reach = address, reach
        self._tap, self._decodes, self._mark, self._idle = tap, decode, mark, idle
        self._rested = False
        self._timeout_s = timeout_s
        self._period_s = 1 / fps
        self._loop = loop and address.kind is Kind.FILE
        self._paced = realtime and address.kind is Kind.FILE
        self._clock = clock or Clock()
        self._wait = wait or threading.Event().wait
        self._timeline = Timeline(live=address.kind is not Kind.FILE, start_s=time.monotonic())
        self._due_s = 0.0

    def frames(self) -> Iterator[Frame]:
        while True:
            self._timeline.restart()
            try:
                with self._open() as container:
                    yield from self._decode(container)
            finally:
                if self._tap is not None:
                    self._tap.lost()
            if not self._loop:
                break
        if self.address.kind is not Kind.FILE:
            raise SourceError(f"{self.address.shown} has ended the stream; it is opened again.")

    def _decode(self, container: InputContainer) -> Iterator[Frame]:
        """Frames of one opening, thinned to the wanted rate and, in real time (as always from a file over HTTP), given when due."""
        seen = 0
        paced = self._paced or (self.address.kind is Kind.STREAM and bool(container.duration))
        for image in self._images(container):
            seen += 1
            stamp_s = (
                float(image.pts * image.time_base) if image.pts is not None and image.time_base else seen / 25
            )
            placed_s = self._timeline.place(stamp_s, time.monotonic())
            if placed_s < self._due_s - 0.002:
                continue
            late = placed_s - self._due_s >= self._period_s
            self._due_s = (placed_s if late else self._due_s) + self._period_s
            if paced and self._wait(max(0.0, placed_s - time.monotonic())):
                return
            rested, self._rested = self._rested, False
            yield Frame(self._clock.utc(placed_s), placed_s, image, rested)
        if not seen and self._decodes:
            raise SourceError(
                f"{self.address.shown} holds no picture that can be decoded: give another video."
            )

    def _images(self, container: InputContainer) -> Iterator[VideoFrame]:
        stream = _video(container, self.address)
        stream.codec_context.thread_count = 1
        if stream.average_rate and float(stream.average_rate) * self._period_s >= SKIP_FROM:
            stream.codec_context.skip_frame = "NONREF"
        if self._tap is not None:
            self._tap.opened(stream)
        bad = 0
        decoding = Decoding(stream, idle=self._idle, mark=self._mark)
        for packet in self._packets(container, stream):
            images: list[VideoFrame] = []
            try:
                images = decoding.pictures(packet) if self._decodes else []
                bad = 0
            except av.error.FFmpegError as error:
                bad += 1
                if bad >= BAD_PACKETS:
                    raise self._refusal(error, time.monotonic()) from None
            if self._tap is not None and packet.size:
                self._tap.packet(packet)
            if images and decoding.rested:
                self._rested, decoding.rested = True, False
            yield from images

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        began_s = time.monotonic()
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise self._refusal(error, began_s, reading=True) from None
            if packet is None:
                return
            yield packet
            began_s = time.monotonic()

    def _open(self) -> InputContainer:
        began_s = time.monotonic()
        opened, options = self._reach.pin(self.address.opened) if self._reach else (self.address.opened, {})
        if opened.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        try:
            return av.open(
                opened,
                format="v4l2" if self.address.kind is Kind.DEVICE else None,
                options=options,
                timeout=(self._timeout_s, self._timeout_s),
            )
        except (av.error.FFmpegError, OSError) as error:
            # the chained error's text would carry the address with its password into logs
            raise self._refusal(error, began_s) from None

    def _refusal(self, error: Exception, began_s: float, *, reading: bool = False) -> SourceError:
        """One sentence about what PyAV said; never the text of ``error``, which carries the address with its password."""
        address, after_s = self.address, time.monotonic() - began_s
        timed_out = isinstance(error, (av.error.ExitError, TimeoutError))
        if timed_out or (address.kind is Kind.STREAM and after_s >= self._timeout_s * 0.95):
            return SourceError(
                f"{address.shown} sends nothing for {after_s:.0f} s: check the camera's power, cable and address."
            )
        for kinds, error_type, sentence in _SENTENCES:
            if address.kind in kinds and isinstance(error, error_type):
                return SourceError(sentence.format(shown=address.shown, host=urlsplit(address.shown).netloc))
        said = getattr(error, "strerror", None) or type(error).__name__
        doing = "reading" if reading else "opening"
        return SourceError(f"{doing} {address.shown} failed ({said}): check the camera and its address.")


def _video(container: InputContainer, address: Address) -> VideoStream:
    if not container.streams.video:
        raise SourceError(f"{address.shown} has no video in it: give another source.")
    return container.streams.video[0]


_ANY = frozenset(Kind)
_SENTENCES: list[tuple[frozenset[Kind], type[Exception], str]] = [
    (frozenset({Kind.FILE}), FileNotFoundError, "there is no file {shown}: correct the camera's source."),
    (frozenset({Kind.FILE}), IsADirectoryError, "{shown} is a folder: name the video file in it."),
    (
        frozenset({Kind.FILE}),
        av.error.InvalidDataError,
        "{shown} is not a video that can be read: give a file that a player shows.",
    ),
    (
        frozenset({Kind.DEVICE}),
        FileNotFoundError,
        "there is no camera at {shown}: plug it in or correct the source.",
    ),
    (
        _ANY,
        PermissionError,
        "the agent may not read {shown}: give its user the right (for a camera, the group video).",
    ),
    (
        frozenset({Kind.STREAM}),
        ConnectionRefusedError,
        "{host} refuses the connection: check that the camera is on and that address and port are right.",
    ),
    (
        _ANY,
        av.error.HTTPUnauthorizedError,
        "{host} refuses the user and password (401): put the right ones into the box's secrets.toml.",
    ),
    (
        _ANY,
        av.error.HTTPForbiddenError,
        "{host} forbids this stream to the given user (403): use another user or path.",
    ),
    (
        _ANY,
        av.error.HTTPNotFoundError,
        "{host} knows no {shown} (404): correct the path of the camera's stream.",
    ),
    (
        frozenset({Kind.STREAM}),
        av.error.InvalidDataError,
        "{shown} answers, but not with a video that can be read: check the path.",
    ),
    (
        frozenset({Kind.STREAM}),
        OSError,
        "{host} cannot be reached: check the camera's network and its address.",
    ),
]
