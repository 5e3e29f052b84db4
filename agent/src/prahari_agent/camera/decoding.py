"""Packets in, pictures out; of packets that can be left alone for now those since the last key frame are kept, to go on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from prahari_agent.camera.drowse import Drowse


class Decoding:
    """``idle``: whether nothing happens in the picture. ``mark`` is called before and after the decoder runs, which may crash the
    process. ``rested``: packets were left alone since the last picture.
    """

    def __init__(
        self, stream: VideoStream, *, idle: Callable[[], bool], mark: Callable[[bool], None]
    ) -> None:
        self._stream, self._idle, self._mark = stream, idle, mark
        self._drowse = Drowse()
        self._left: list[Packet[VideoStream]] = []
        self.rested = False

    def pictures(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """Of this packet; FFmpegError where it does not decode."""
        if packet.is_keyframe:
            self._left.clear()
        if packet.size and self._spared(packet):
            self._left.append(_copy(packet))
            self.rested = True
            return []
        left, self._left = self._left, []
        self._mark(True)
        try:
            for earlier in left:
                self._stream.codec_context.decode(earlier)
            return packet.decode()
        finally:
            self._mark(False)

    def _spared(self, packet: Packet[VideoStream]) -> bool:
        stamp = packet.dts if packet.dts is not None else packet.pts
        timed = stamp is not None and packet.time_base is not None
        at_s = float(stamp * packet.time_base) if timed else time.monotonic()  # type: ignore[operator]
        return self._drowse.spares(key=packet.is_keyframe, size=packet.size, at_s=at_s, idle=self._idle())


def _copy(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    """Its own bytes and stamps: the recorder changes those of the packet that it gets."""
    copy = cast("Packet[VideoStream]", Packet(bytes(packet)))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy
