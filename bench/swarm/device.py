"""One simulated device over its own TLS connection: what it does when bytes or a timer come. Its loop is in ``swarm``."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any, Protocol
from uuid import uuid4

from prahari_wire.topics import Up, down_filter, fnv1a, up

from bench.swarm import packets, payloads
from bench.swarm.answers import Answers
from bench.swarm.chance import CHANCE
from bench.swarm.identities import Identity
from bench.swarm.ledger import Ledger
from bench.swarm.outbox import Outbox

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S, ANSWER_S = 15.0, 28.0
FIRST_DELAY_S, LONGEST_DELAY_S, LONGEST_URGENT_S = 1.0, 60.0, 1.0
SHORT_DELAY_S, WINDOWS = 5.0, 2.0
BIRTH_REPEAT_S, LONGEST_BIRTH_REPEAT_S = 3.0, 60.0
STABLE_AFTER_S = 30.0
"""The agent's own figures."""
NEVER = float("inf")
READ = 65536


class Host(Protocol):
    """What a device needs of its swarm."""

    ledger: Ledger
    beats: payloads.Heartbeats
    heartbeat_s: float

    def tail(self, now_s: float) -> bytes: ...

    def up_s(self, now_s: float) -> float: ...

    def socket_for(self, device: Device) -> socket.socket: ...

    def secure(self, device: Device, raw: socket.socket) -> ssl.SSLSocket: ...

    def watch(self, device: Device, *, write: bool) -> None: ...

    def forget(self, device: Device) -> None: ...


class Device:
    """Times are the swarm's monotonic clock in seconds."""

    __slots__ = (
        "answers",
        "attempt",
        "beat_at",
        "birth_at",
        "birth_attempts",
        "birth_id",
        "boot",
        "conn",
        "connect_at",
        "context",
        "epochs",
        "head",
        "heartbeat_s",
        "host",
        "hurried",
        "id",
        "identity",
        "inbox",
        "outbox",
        "outgoing",
        "phase",
        "ping_at",
        "pinged",
        "since_s",
        "sock",
        "twin_version",
        "urgent_shown",
        "wants_write",
        "welcomed",
        "window_s",
    )  # fmt: skip

    def __init__(self, identity: Identity, host: Host, *, heartbeat_s: float) -> None:
        self.identity, self.host, self.id = identity, host, identity.device
        self.boot, self.conn = str(uuid4()), 0
        self.outbox = Outbox(self.id, str(uuid4()), host.ledger)
        self.context: ssl.SSLContext | None = None
        self.sock: ssl.SSLSocket | socket.socket | None = None
        self.phase = "down"  # down, connecting, handshake, asking, up
        self.inbox, self.outgoing = bytearray(), bytearray()
        self.wants_write = False
        self.heartbeat_s = heartbeat_s
        self.connect_at = self.beat_at = self.birth_at = self.ping_at = NEVER
        self.birth_id, self.birth_attempts, self.welcomed = "", 0, False
        self.pinged = self.hurried = self.urgent_shown = False
        self.attempt, self.since_s = 0, 0.0
        self.window_s: float | None = None
        self.head = b""
        self.answers = Answers(host.ledger.counts)

    # Timers

    def due_s(self) -> float:
        if self.phase == "down":
            return self.connect_at
        if self.phase != "up":
            return self._gives_up_s()
        events_at = self.outbox.due_s(welcomed=self.welcomed)
        return min(self.beat_at, self.birth_at, self.ping_at, events_at)

    def tick(self, now_s: float) -> None:
        """Do what is due while connected; NEVER connects."""
        if self.phase != "up":
            if self.phase != "down" and now_s >= self._gives_up_s():
                self.lost(now_s, "the connection took too long")
            return
        if now_s >= self.birth_at:
            self._say_birth(now_s)
        if (events := self.outbox.take(now_s, welcomed=self.welcomed)) is not None:
            self._publish(Up.EVENT, events)
        if now_s >= self.beat_at:
            self._beat(now_s)
        if now_s >= self.ping_at:
            if self.pinged:
                self.lost(now_s, "the broker did not answer a ping")
                return
            self.pinged, self.ping_at = True, now_s + KEEPALIVE_S
            self.outgoing += packets.PINGREQ
        self.flush(now_s)

    def _gives_up_s(self) -> float:
        return self.since_s + (ANSWER_S if self.phase == "asking" else CONNECT_TIMEOUT_S)

    def _beat(self, now_s: float) -> None:
        self.outgoing += self.head
        self.outgoing += self.host.tail(now_s) % (payloads.take(), *self.host.beats.values())
        self.beat_at += self.heartbeat_s
        if self.beat_at < now_s:
            self.beat_at = now_s + self.heartbeat_s
        self.host.ledger.counts["heartbeats"] += 1

    def phase_of_beat(self, now_s: float) -> float:
        """The next beat's time: the phase is spread over the fleet by the hash of the id."""
        offset = fnv1a(self.id) / 2**32 * self.heartbeat_s
        return now_s + (offset - now_s) % self.heartbeat_s

    # The connection

    def connect(self, now_s: float) -> None:
        self.conn += 1
        self.since_s, self.phase, self.connect_at = now_s, "connecting", NEVER
        self.host.ledger.counts["connects"] += 1
        try:
            self.sock = self.host.socket_for(self)
        except OSError as error:
            self.lost(now_s, str(error))
            return
        self.host.watch(self, write=True)

    def ready(self, now_s: float) -> None:
        """The socket can be read or written."""
        try:
            if self.phase == "connecting":
                self._tcp_up()
            if self.phase == "handshake" and not self._shake(now_s):
                return
            self._receive(now_s)
            self.flush(now_s)
        except (OSError, ValueError) as error:
            self.lost(now_s, f"{type(error).__name__}: {error}")

    def _tcp_up(self) -> None:
        assert self.sock
        if number := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, "the broker is not reachable")
        self.sock = self.host.secure(self, self.sock)
        self.phase = "handshake"

    def _shake(self, now_s: float) -> bool:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.host.watch(self, write=False)
            return False
        except ssl.SSLWantWriteError:
            self.host.watch(self, write=True)
            return False
        self.phase = "asking"
        gone = payloads.envelope(self.boot, self.conn, self.host.up_s(now_s), '{"reason":"lost"}')
        self.since_s, self.urgent_shown = now_s, self.outbox.urgent
        user = "urgent" if self.urgent_shown else ""
        self.outgoing += packets.connect(
            self.id, keepalive_s=KEEPALIVE_S, will_topic=up(self.id, Up.GONE), will=gone, user=user
        )
        self.flush(now_s)
        return True

    def _receive(self, now_s: float) -> None:
        while self.sock is not None:
            try:
                data = self.sock.recv(READ)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                raise OSError("the broker closed the connection")
            self.inbox += data
            for kind, body in packets.packets(self.inbox):
                self._packet(kind, body, now_s)

    def flush(self, now_s: float) -> None:
        if self.sock is None or self.phase not in ("asking", "up"):
            return
        try:
            while self.outgoing:
                sent = self.sock.send(self.outgoing)
                del self.outgoing[:sent]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except (OSError, ValueError) as error:
            self.lost(now_s, f"{type(error).__name__}: {error}")
            return
        if bool(self.outgoing) != self.wants_write:
            self.host.watch(self, write=bool(self.outgoing))

    def lost(self, now_s: float, reason: str) -> None:
        """The connection ended by itself: come back after a while, spread over the window that the hub named."""
        was_up = self.phase == "up"
        self.host.ledger.counts["losses" if was_up else "failed_connects"] += 1
        self.drop()
        if was_up and now_s - self.since_s > STABLE_AFTER_S:
            self.attempt = 0
        longest_s = self._longest_wait_s()
        self.attempt += 1
        self.connect_at = now_s + CHANCE.uniform(0, longest_s)

    def _longest_wait_s(self) -> float:
        """The agent's own rule: the next wait is uniform in [0, this]."""
        window_s = LONGEST_DELAY_S if self.window_s is None else self.window_s
        longest_s = min(LONGEST_DELAY_S, max(SHORT_DELAY_S, WINDOWS * window_s))
        back_off_s: float = min(longest_s, FIRST_DELAY_S * 2 ** min(self.attempt, 10))
        return (
            min(back_off_s, LONGEST_URGENT_S) if self.outbox.urgent else max(back_off_s, self.window_s or 0.0)
        )

    def drop(self) -> None:
        """Close the socket and say nothing."""
        if self.sock is not None:
            self.host.forget(self)
            self.sock.close()
            self.sock = None
        self.phase, self.welcomed, self.wants_write = "down", False, False
        self.inbox.clear()
        self.outgoing.clear()

    def leave(self, now_s: float) -> None:
        """Say gone and disconnect."""
        if self.phase == "up":
            gone = payloads.envelope(self.boot, self.conn, self.host.up_s(now_s), '{"reason":"shutdown"}')
            self._publish(Up.GONE, gone)
            self.outgoing += packets.DISCONNECT
            self.flush(now_s)
        self.drop()
        self.connect_at = NEVER

    # Packets

    def _packet(self, kind: int, body: bytes, now_s: float) -> None:
        if kind == packets.CONNACK:
            if body[1]:
                self.host.ledger.counts[f"refused_{body[1]}"] += 1
                raise OSError(f"the broker refuses the device with code {body[1]}")
            self._up(now_s)
        elif kind == packets.PINGRESP:
            self.pinged = False
        elif kind == packets.PUBLISH:
            topic, payload = packets.message(body)
            self.heard(topic.rpartition("/")[2], json.loads(payload), now_s)

    def _up(self, now_s: float) -> None:
        self.phase, self.hurried = "up", False
        self.head = self.host.beats.head(self.id, self.boot, self.conn)
        self.beat_at = self.phase_of_beat(now_s)
        self.ping_at, self.pinged = now_s + KEEPALIVE_S, False
        self.birth_at, self.birth_attempts = now_s, 0
        self.outbox.new_connection()
        self.outgoing += packets.subscribe(down_filter(self.id))
        self.tick(now_s)

    def _say_birth(self, now_s: float) -> None:
        if now_s < self.outbox.hold_until_s:
            self.birth_at = self.outbox.hold_until_s
            return
        self.birth_id = payloads.quick_ulid()
        wait_s = min(LONGEST_BIRTH_REPEAT_S, BIRTH_REPEAT_S * 2**self.birth_attempts)
        self.birth_attempts += 1
        self.birth_at = now_s + wait_s * CHANCE.uniform(0.75, 1.25)
        body = payloads.birth_body(
            self.outbox.journal, self.outbox.low, self.answers.twin_version, callbox=self.identity.callbox
        )
        up_s = self.host.up_s(now_s)
        self._publish(Up.BIRTH, payloads.envelope(self.boot, self.conn, up_s, body, message_id=self.birth_id))
        self.host.ledger.counts["births"] += 1

    def _publish(self, channel: Up, payload: bytes) -> None:
        self.outgoing += packets.publish(up(self.id, channel).encode(), payload)

    # What the hub says

    def heard(self, channel: str, message: dict[str, Any], now_s: float) -> None:
        if channel == "ack":
            self._acked(message, now_s)
        elif (answer := self.answers.to(channel, message)) is not None:
            if self.answers.heartbeat_s:
                self.heartbeat_s = float(self.answers.heartbeat_s)
                self.beat_at = min(self.beat_at, self.phase_of_beat(now_s))
            self.emit(answer.kind, answer.body, answer.peripheral, now_s)

    def _acked(self, ack: dict[str, Any], now_s: float) -> None:
        if ack.get("retry_after_s"):
            self.host.ledger.counts["held_back"] += 1
        if ack.get("birth") and ack["birth"] == self.birth_id:
            self.birth_at = NEVER
            self.welcomed = True
            self.window_s = float(ack.get("reconnect_window_s") or 0.0)
        self.outbox.acked(ack, now_s)

    def emit(self, kind: str, body: dict[str, Any], peripheral: str | None, now_s: float) -> int:
        up_s = self.host.up_s(now_s)
        seq = self.outbox.emit(self.boot, self.conn, up_s, now_s, kind=kind, peripheral=peripheral, body=body)
        if self.outbox.urgent and self.phase == "asking" and not self.urgent_shown:
            self.host.ledger.counts["left_the_line"] += 1
            self.drop()
            self.connect_at = now_s
        elif self.phase == "down" and self.outbox.urgent and not self.hurried:
            self.hurried, self.connect_at = True, now_s
        return seq
