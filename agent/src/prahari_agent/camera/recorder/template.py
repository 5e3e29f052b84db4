"""What the packets of a stream must be told about: its parameters, kept apart from the source, which may close at any time."""

from __future__ import annotations

import io

import av
from av.packet import Packet
from av.video.stream import VideoStream

_LOOK_AT = 2048
"""Parameter sets stand at the begin of a key frame."""
_SPS = {"h264": (0x1F, 0, 7), "hevc": (0x3F, 1, 33)}
"""Codec → mask and shift that give a NAL unit's type from its first byte, and the type of a sequence parameter set."""

_CONFIGURATION_RECORD = b"\1"
"""avcC and hvcC begin so: the stream's units then have lengths, and their first bytes may look like a start code."""


class Template:
    """Codec, size and parameter sets of a stream. ``stream`` serves as a template for muxing as long as this object lives.

    ValueError where MP4 does not take such a stream.
    """

    def __init__(self, source: VideoStream) -> None:
        self._keeper = av.open(io.BytesIO(), "w", format="mp4")
        self.stream: VideoStream = self._keeper.add_stream_from_template(source, opaque=True)
        context = self.stream.codec_context
        self.codec, self.width, self.height = context.name, context.width, context.height
        self.extradata = bytes(source.codec_context.extradata or b"")
        self.annex_b = not self.extradata.startswith(_CONFIGURATION_RECORD)

    @classmethod
    def of_key_frame(cls, packet: Packet[VideoStream], codec: str) -> Template:
        """The parameters that a key frame in Annex B form carries itself."""
        with av.open(io.BytesIO(bytes(packet)), format=codec) as container:
            return cls(container.streams.video[0])


def inline_parameters(packet: Packet[VideoStream], codec: str) -> bytes:
    """The sequence parameter sets within a key frame in Annex B form; empty where it carries none."""
    if codec not in _SPS:
        return b""
    mask, shift, wanted = _SPS[codec]
    data = memoryview(packet)[:_LOOK_AT].tobytes()
    if not data.startswith((b"\0\0\1", b"\0\0\0\1")):
        return b""
    units = [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:]]
    return b"".join(unit for unit in units if unit and (unit[0] >> shift) & mask == wanted)
