"""An exact cut: one film of a camera that shows the asked interval and nothing beyond it, packets copied, never encoded anew.

A film begins with a key frame, which may lie before the interval: an edit list hides what comes before, as players and decoders honour.
The cut is a copy for looking at; what proves anything is the sealed package. Needs PyAV: ``pip install prahari-hub[clips]``.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.errors import Invalid, NotFound, Unavailable
from prahari_hub.evidence import requests, sealing
from prahari_hub.evidence.coverage import ms
from prahari_hub.evidence.requests import subject
from prahari_hub.evidence.tables import evidence_segments, transfers
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_

BASE = Fraction(1, 90_000)
MOST_SEGMENTS = 1000
OPTIONS = {"movflags": "+faststart", "use_editlist": "1", "avoid_negative_ts": "disabled"}


class Piece(NamedTuple):
    """A sealed segment."""

    sha256: str
    start_ms: int


class Film:
    """``add`` the segments in order, then ``close``. Times are Unix milliseconds. Blocks: for a thread."""

    def __init__(self, target: Path, start_ms: int, end_ms: int) -> None:
        import av

        self._out: Any = av.open(str(target), "w", format="mp4", options=OPTIONS)
        self._stream: Any = None
        self._start_ms, self._end_ms = start_ms, end_ms
        self._before: list[Any] = []
        self.packets = 0

    def add(self, start_ms: int, content: bytes) -> None:
        """Invalid where the picture changes its size: two films would be needed."""
        import av

        with av.open(io.BytesIO(content), "r") as source:
            stream = source.streams.video[0]
            self._open(stream)
            first: int | None = None
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue
                first = packet.pts if first is None else first
                self._take(packet, start_ms, first)

    def _open(self, stream: Any) -> None:
        if self._stream is None:
            self._stream = self._out.add_stream_from_template(stream)
            self._stream.time_base = BASE
        elif (stream.width, stream.height) != (self._stream.width, self._stream.height):
            raise Invalid(
                N_("The picture changes its size within the interval: use the segments of the package.")
            )

    def _take(self, packet: Any, start_ms: int, first: int) -> None:
        """Rebase a packet to the cut; what lies before it waits until it is known whether a later key frame will do."""
        since = Fraction(start_ms - self._start_ms, 1000)
        base = packet.time_base
        packet.pts, packet.dts = (
            round((since + (stamp - first) * base) / BASE) for stamp in (packet.pts, packet.dts)
        )
        packet.time_base, packet.stream = BASE, self._stream
        if packet.dts * BASE * 1000 >= self._end_ms - self._start_ms:
            return
        if packet.pts <= 0:
            self._before = [packet] if packet.is_keyframe else [*self._before, packet]
            return
        for each in (*self._before, packet):
            self._out.mux(each)
            self.packets += 1
        self._before = []

    def close(self) -> None:
        """NotFound where nothing lay in the interval."""
        for each in self._before:
            self._out.mux(each)
            self.packets += 1
        if self.packets:
            self._out.close()
        else:
            raise NotFound(N_("Nothing of this camera lies in the interval."))


def pieces(conn: Connection, request: str, device: str, camera: str) -> tuple[list[Piece], int, int]:
    """(segments in order, start, end of the interval); NotFound where nothing of this camera was sealed."""
    row = requests.get(conn, request)
    sealing.item_of(conn, request)
    query = (
        sa.select(evidence_segments.c.sha256, evidence_segments.c.start_ms)
        .join(transfers, transfers.c.id == evidence_segments.c.transfer)
        .where(
            transfers.c.request_id == request,
            transfers.c.device_id == device,
            transfers.c.camera == camera,
            evidence_segments.c.stored_at.is_not(None),
        )
        .distinct()
        .order_by(evidence_segments.c.start_ms)
    )
    found = [Piece(sha256, start_ms) for sha256, start_ms in conn.execute(query)]
    if not found:
        raise NotFound(
            N_("Nothing of {device}, {camera} was sealed for this request."), device=device, camera=camera
        )
    if len(found) > MOST_SEGMENTS:
        raise Invalid(N_("The interval is too long for one film: use the segments of the package."))
    return found, ms(row.starts_at), ms(row.ends_at)


async def film(
    found: Sequence[Piece], start_ms: int, end_ms: int, target: Path, load: Callable[[str], Awaitable[bytes]]
) -> str:
    """Write the cut and give its SHA-256; Unavailable where PyAV is not installed."""
    if find_spec("av") is None:
        raise Unavailable(
            N_("Cutting needs PyAV: install prahari-hub[clips], or use the segments of the package.")
        )
    cut = await asyncio.to_thread(Film, target, start_ms, end_ms)
    for piece in found:
        content = await load(piece.sha256)
        await asyncio.to_thread(cut.add, piece.start_ms, content)
    await asyncio.to_thread(cut.close)
    return await asyncio.to_thread(_digest, target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(unit: Unit, actor: Actor, request: str, camera: tuple[str, str], sha256: str) -> None:
    """Who got which cut, by its hash."""
    detail = {"device": camera[0], "camera": camera[1], "sha256": sha256}
    record(unit, actor, "evidence.cut", subject(request), detail=detail)
