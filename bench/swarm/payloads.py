"""What a simulated device says, as bytes made ready beforehand: a heartbeat costs about two microseconds.

The texts are those that the agent's models give; tests parse each of them with ``prahari_wire``. Numbers have a fixed width, so
that the MQTT header of a device's heartbeat can be made once.
"""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prahari_wire.ids import CROCKFORD
from prahari_wire.topics import Up, up

from bench.swarm import packets

MONO_BASE_MS = 1_000_000_000
"""A box that has been up for eleven days: its counters keep their width."""
CAMERA, CALLBOX = ("cam1", "camera"), ("box1", "callbox")
_next = [random.SystemRandom().randrange(10**14)]


def stamp_of(now_s: float) -> str:
    """A fixed width: milliseconds and Z."""
    return (
        datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(now_s * 1000) % 1000:03d}Z"
    )


def ulid_head(now_s: float) -> str:
    """The ten characters of a ULID that tell the time."""
    at_ms = int(now_s * 1000)
    return "".join(CROCKFORD[(at_ms >> shift) & 31] for shift in range(45, -5, -5))


def quick_ulid(now_s: float | None = None) -> str:
    """Unique within this machine, sorted by time; its last 16 characters count instead of being random."""
    return f"{ulid_head(time.time() if now_s is None else now_s)}{take():016d}"


def take(count: int = 1) -> int:
    """The first of ``count`` numbers that nobody else in this process gets: they make ids unique."""
    first = _next[0]
    _next[0] = first + count
    return first


def boot_of(index: int, epoch: int) -> str:
    """A boot id that names its device: no list of 400,000 has to be kept. ``epoch`` counts runs."""
    return f"{epoch & 0xFFFFFFFF:08x}-0000-4000-8000-{index:012x}"


CHECKS = (
    ("cpu", "%.1f"),
    ("memory", "%.1f"),
    ("disk", "41.0"),
    ("temperature", "%.1f"),
)
MORE_CHECKS = (
    ("power", "null"),
    ("clock", "1.2"),
    ("link", "21.0"),
    ("outbox", "0.0"),
    ("certificate", "61.5"),
    ("uploads", "0.0"),
    ("peripheral:cam1", "null"),
)


class Heartbeats:
    """Renders heartbeats. ``full`` sends the agent's eleven checks, otherwise the four with values that vary."""

    def __init__(self, *, full: bool = False, callbox: bool = False) -> None:
        checks = [
            f'{{"name":"{name}","state":"ok","value":{value},"text":null}}'
            for name, value in CHECKS + (MORE_CHECKS if full else ())
        ]
        served = [CAMERA, CALLBOX] if callbox else [CAMERA]
        peripherals = [f'{{"id":"{name}","state":"ok","faults":[],"note":null}}' for name, _ in served]
        self._text = (
            ',"at":"@AT","mono_ms":@MONO,"clock":"synced","v":1,"id":"@ID%%016d","body":{"uptime_s":@UP,"checks":['
            + ",".join(checks)
            + '],"peripherals":['
            + ",".join(peripherals)
            + "]}}"
        ).replace("%.1f", "%s")
        self._values = [f"{value / 10:.1f}".encode() for value in range(100, 600)]
        self._pick = 0
        sample = self.tail(0, time.time())
        self.tail_size = len(sample % (0, b"10.0", b"10.0", b"10.0"))

    def tail(self, up_s: float, now_s: float) -> bytes:
        """The part that is the same for all heartbeats of this moment; takes (count, three values) by ``%``."""
        mono_ms = MONO_BASE_MS + int(up_s * 1000)
        text = self._text.replace("@AT", stamp_of(now_s)).replace("@MONO", str(mono_ms))
        text = text.replace("@ID", ulid_head(now_s)).replace("@UP", str(mono_ms // 1000))
        return text.replace("%%", "%").encode()

    def values(self) -> tuple[bytes, bytes, bytes]:
        """Three values of 10.0 to 59.9 that change from heartbeat to heartbeat."""
        self._pick = (self._pick + 7) % 490
        at = self._pick
        return self._values[at], self._values[at + 3], self._values[at + 9]

    def head(self, device: str, boot: str, conn: int) -> bytes:
        """MQTT header and the beginning of the payload, made once a session."""
        begin = f'{{"boot":"{boot}","conn":{conn}'.encode()
        return packets.publish_head(up(device, Up.HEALTH).encode(), len(begin) + self.tail_size) + begin


def envelope(boot: str, conn: int, up_s: float, body: str, *, message_id: str | None = None) -> bytes:
    """A message that is not kept: birth, gone."""
    now_s = time.time()
    return (
        f'{{"boot":"{boot}","conn":{conn},"at":"{stamp_of(now_s)}","mono_ms":{MONO_BASE_MS + int(up_s * 1000)},'
        f'"clock":"synced","v":1,"id":"{message_id or quick_ulid(now_s)}","body":{body}}}'
    ).encode()


def birth_body(journal: UUID | str, low: int, twin_version: int | None, *, callbox: bool) -> str:
    served = [CAMERA, CALLBOX] if callbox else [CAMERA]
    return json.dumps(
        {
            "peripherals": [{"id": name, "type": kind, "model": "simulated"} for name, kind in served],
            "versions": {"agent": "swarm", "python": "3", "os": "simulated", "board": "simulated"},
            "twin_version": twin_version,
            "journal": str(journal),
            "low": low,
            "boot_reason": "power-on",
        },
        separators=(",", ":"),
    )


def event_parts(
    boot: str,
    conn: int,
    up_s: float,
    *,
    event_id: str,
    seq: int,
    kind: str,
    peripheral: str | None,
    body: dict[str, Any],
) -> tuple[bytes, bytes]:
    """An event's text before and after the value of ``late``."""
    text = json.dumps(
        {
            "boot": boot,
            "conn": conn,
            "at": stamp_of(time.time()),
            "mono_ms": MONO_BASE_MS + int(up_s * 1000),
            "clock": "synced",
            "id": event_id,
            "seq": seq,
            "kind": kind,
            "peripheral": peripheral,
            "body": body,
        },
        separators=(",", ":"),
    )
    return text[:-1].encode() + b',"late":', b"}"


def batch(journal: str, low: int, events: list[bytes]) -> bytes:
    head = f'{{"v":1,"id":"{quick_ulid()}","journal":"{journal}","low":{low},"events":['.encode()
    return head + b",".join(events) + b"]}"
