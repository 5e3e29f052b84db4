"""One segment being written: fragmented MP4 that is readable up to its last whole fragment, hashed as it goes to disk."""

from __future__ import annotations

import hashlib
import io
import os
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_BUFFER = 1 << 20
"""One write a fragment, as a rule."""
BACK_S, BREAK_S = 1.0, 3.0
"""Stamps that leap so far back, or ahead, do not follow: something was lost in between, or the stream began anew."""


class _Hashed(io.RawIOBase):
    """A file that only grows; what is written is hashed on the way."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._sum = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        done = 0
        while done < len(view):
            done += os.write(self._descriptor, view[done:])
        self._sum.update(view)
        self.size += len(view)
        return len(view)

    def synced(self) -> str:
        """Everything is on disk; its SHA-256."""
        os.fsync(self._descriptor)
        return self._sum.hexdigest()

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class OpenSegment:
    """``template``: the stream whose packets come, or one with the same parameters; ``time_base``: that of the packets.

    ``add`` takes packets in decoding order, the first a key frame. ValueError where MP4 does not take such a stream, OSError where the
    disk takes nothing.
    """

    def __init__(self, path: Path, template: VideoStream, time_base: Fraction) -> None:
        self.path, self._tick_s = path, float(time_base)  # a Fraction costs more than the rest of a packet
        self._file = _Hashed(path)
        try:
            self._container = av.open(self._file, "w", format="mp4", options=_OPTIONS, buffer_size=_BUFFER)
            self._stream = self._container.add_stream_from_template(template, opaque=True)
        except BaseException:
            self.abandon()
            raise
        self._stream.time_base = time_base
        self._back, self._ahead = -round(BACK_S / self._tick_s), round(BREAK_S / self._tick_s)
        self._base: int | None = None
        self._last = -1
        self._step = max(1, round(1 / 25 / time_base))

    @property
    def seconds(self) -> float:
        """How much has been added."""
        return self._next * self._tick_s

    @property
    def _next(self) -> int:
        """Where a packet without a stamp goes."""
        return self._last + self._step if self._last >= 0 else 0

    @property
    def size(self) -> int:
        return self._file.size

    def place(self, packet: Packet[VideoStream]) -> float:
        """Seconds from the segment's begin to ``packet``, as its own stamp says; a packet without a stamp follows the last."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or self._base is None:
            return self.seconds
        return (stamp - self._base) * self._tick_s

    def add(self, packet: Packet[VideoStream]) -> bool:
        """Add ``packet``, which then is this segment's; False where its stamp does not follow: nothing was added."""
        dts, pts = packet.dts, packet.pts
        stamp = pts if dts is None else dts
        at = self._next
        if stamp is not None:
            if self._base is None:
                self._base = stamp - at
            if not self._back < stamp - self._base - at < self._ahead:
                return False
            at = max(stamp - self._base, self._last + 1)
        packet.stream = self._stream
        packet.dts = at
        packet.pts = at if pts is None or dts is None or pts < dts else at + pts - dts
        if self._last >= 0:
            self._step = packet.duration or max(1, at - self._last)
        self._last = at
        self._container.mux_one(packet)
        return True

    def close(self) -> str:
        """Write the rest and bring it all to the disk; the SHA-256."""
        try:
            self._container.close()
            return self._file.synced()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Give it up: nothing of it remains."""
        self._file.close()
        self.path.unlink(missing_ok=True)
