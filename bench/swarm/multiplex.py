"""The devices of a whole state over few connections, for a hub with ``bench = true``: columns and ready-made bytes, no object a device.

Each lane is one TLS connection of a bench identity and speaks for its share of the devices; the first lane hears for all. A device's
phase within the heartbeat follows from the hash of its id, as on a real box.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prahari_wire.camera import ContentFault
from prahari_wire.events import CAMERA_FAULT, PRESS, SELF_TEST
from prahari_wire.topics import BENCH_FILTER, Up, fnv1a, up

from bench.swarm import packets, payloads
from bench.swarm.answers import Answers
from bench.swarm.chance import CHANCE
from bench.swarm.identities import Identity, has_callbox, journal_of, name_of
from bench.swarm.ledger import Ledger
from bench.swarm.outbox import Outbox

TICK_S = 0.02
RETRY_S = 1.0
MOST_PENDING = 4 * 1024 * 1024
"""Bytes that a lane holds for a broker that does not take them; beyond it heartbeats are left out and counted."""
MOST_A_WRITE = 128 * 1024
BIRTHS_IN_FLIGHT = 1000
BIRTH_REPEAT_S = 5.0
MIX = ((PRESS, 0.01), (CAMERA_FAULT, 0.19), (SELF_TEST, 0.80))
"""Share of each kind among the events: one in a hundred is a press."""


class Lane:
    """One connection and the devices that it speaks for."""

    def __init__(self, identity: Identity, numbers: Sequence[int], heartbeat_s: float) -> None:
        self.identity = identity
        order = sorted((fnv1a(name_of(number)) / 2**32 * heartbeat_s, number) for number in numbers)
        self.phases = [phase for phase, _ in order]
        self.numbers = [number for _, number in order]
        self.heads: list[bytes] = []
        self.sock: ssl.SSLSocket | None = None
        self.outgoing, self.inbox = bytearray(), bytearray()
        self.retry_s = 0.0
        self.at_s: float | None = None  # up to here, on the monotonic clock, heartbeats have been said


class Multiplex:
    """``numbers`` are the devices' indexes (``identities.name_of``), registered with ``born_epoch=epoch`` unless ``births``.

    Runs in a thread. With ``births`` each device is born first, a thousand at a time, and heartbeats begin when all are.
    """

    def __init__(
        self,
        lanes: Sequence[Identity],
        numbers: Sequence[int],
        host: str,
        port: int,
        *,
        ca: Path,
        epoch: int,
        heartbeat_s: float = 30.0,
        events_per_s: float = 0.0,
        births: bool = False,
        full_heartbeat: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.beats = payloads.Heartbeats(full=full_heartbeat)
        self.epoch, self.heartbeat_s, self.events_per_s = epoch, heartbeat_s, events_per_s
        self.numbers = list(numbers)
        self.boxes = [number for number in numbers if has_callbox(number)] or self.numbers
        self.lanes = [
            Lane(item, self.numbers[at :: len(lanes)], heartbeat_s) for at, item in enumerate(lanes)
        ]
        self._lane_of = {
            number % len(lanes): lane for number, lane in zip(self.numbers, self.lanes, strict=False)
        }
        self._address = (host, port)
        self._context = ssl.create_default_context(cafile=str(ca))
        self._started_s = time.monotonic()
        self._outboxes: dict[int, Outbox] = {}
        self._waiting: set[int] = set()
        self._answers: dict[int, Answers] = {}
        self._frozen: set[int] = set()
        self._owed = 0.0
        self._looked_s = self._evented_s = 0.0
        self._unborn: deque[int] = deque(self.numbers if births else ())
        self._births: dict[int, tuple[str, float]] = {}
        self._quiet = births
        self._running = True
        self._pressing = 0
        self._thread = threading.Thread(target=self._run, name="multiplex", daemon=True)
        self.cpu_s = 0.0
        self.trouble = ""

    def start(self) -> Multiplex:
        for lane in self.lanes:
            lane.heads = [
                self.beats.head(name_of(number), payloads.boot_of(number, self.epoch), 1)
                for number in lane.numbers
            ]
        self._thread.start()
        return self

    def stop(self) -> None:
        self._running = False
        self._thread.join(30)

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    @property
    def up(self) -> int:
        return sum(lane.sock is not None for lane in self.lanes)

    @property
    def welcomed(self) -> int:
        return len(self.numbers) - len(self._unborn) - len(self._births)

    @property
    def held(self) -> int:
        return sum(len(outbox.held) for outbox in list(self._outboxes.values()))

    def press_some(self, count: int) -> None:
        """So many call boxes are pressed now."""
        self._pressing += count

    # The loop

    def _run(self) -> None:
        poll = select.poll()
        begun_s = time.monotonic()
        while self._running:
            now_s = time.monotonic()
            for lane in self.lanes:
                self._turn(lane, now_s)
            self._events(now_s)
            self._repeat(now_s)
            for lane in self.lanes:
                self._send(lane, b"")
            self.cpu_s = time.thread_time()
            begun_s = max(begun_s + TICK_S, time.monotonic())
            self._wait(poll, begun_s)
        for lane in self.lanes:
            if lane.sock is not None:
                self._send(lane, packets.DISCONNECT)
                lane.sock.close()

    def _wait(self, poll: select.poll, until_s: float) -> None:
        """Read and write what the lanes can until the next tick."""
        for lane in self.lanes:
            if lane.sock is not None:
                poll.register(lane.sock, select.POLLIN | (select.POLLOUT if lane.outgoing else 0))
        while (left_s := until_s - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(left_s * 1000)}
            for lane in self.lanes:
                if lane.sock is not None and lane.sock.fileno() in ready:
                    self._read(lane)
                    self._send(lane, b"")
                    if lane.sock is not None and not lane.outgoing:
                        poll.modify(lane.sock, select.POLLIN)
            if ready and any(lane.outgoing for lane in self.lanes):
                time.sleep(0.001)
        for lane in self.lanes:
            if lane.sock is not None:
                poll.unregister(lane.sock)

    def _turn(self, lane: Lane, now_s: float) -> None:
        if lane.sock is None:
            if now_s >= lane.retry_s:
                self._connect(lane, now_s)
            return
        if self._quiet and lane is self.lanes[0]:
            self._say_births(now_s)
        if not self._quiet:
            self._beat(lane, now_s)
        self._send(lane, b"")

    def _beat(self, lane: Lane, now_s: float) -> None:
        """Heartbeats of all devices whose phase has come since the last look."""
        if lane.at_s is None:
            lane.at_s = now_s
        if len(lane.outgoing) > MOST_PENDING:
            lost = self._due(lane, lane.at_s, now_s)
            self.ledger.counts["heartbeats_left_out"] += sum(stop - start for start, stop in lost)
            lane.at_s = now_s
            return
        tail = self.beats.tail(now_s - self._started_s, time.time())
        due = self._due(lane, lane.at_s, now_s)
        count, values, heads = (
            payloads.take(sum(stop - start for start, stop in due)),
            self.beats.values,
            lane.heads,
        )
        said = 0
        parts: list[bytes] = []
        for start, stop in due:
            for at in range(start, stop):
                parts.append(heads[at])
                parts.append(tail % (count + said, *values()))
                said += 1
        lane.outgoing += b"".join(parts)
        self.ledger.counts["heartbeats"] += said
        lane.at_s = now_s

    def _due(self, lane: Lane, since_s: float, now_s: float) -> list[tuple[int, int]]:
        """Ranges of the lane's devices whose phase lies in (since, now]; at most one heartbeat a device."""
        period = self.heartbeat_s
        if now_s - since_s >= period:
            return [(0, len(lane.phases))]
        begin, end = bisect_left(lane.phases, since_s % period), bisect_left(lane.phases, now_s % period)
        return [(begin, end)] if since_s % period <= now_s % period else [(begin, len(lane.phases)), (0, end)]

    # Births

    def _say_births(self, now_s: float) -> None:
        for number, (_, due_s) in list(self._births.items()):
            if now_s >= due_s:
                self._say_birth(number, now_s)
        while self._unborn and len(self._births) < BIRTHS_IN_FLIGHT:
            self._say_birth(self._unborn.popleft(), now_s)
        self._quiet = bool(self._unborn or self._births)

    def _say_birth(self, number: int, now_s: float) -> None:
        message_id = payloads.quick_ulid()
        self._births[number] = message_id, now_s + BIRTH_REPEAT_S * CHANCE.uniform(1, 1.5)
        body = payloads.birth_body(
            journal_of(number, self.epoch), self._outbox(number).low, None, callbox=has_callbox(number)
        )
        up_s = now_s - self._started_s
        text = payloads.envelope(payloads.boot_of(number, self.epoch), 1, up_s, body, message_id=message_id)
        self._publish(number, Up.BIRTH, text)
        self.ledger.counts["births"] += 1

    # Events

    def _events(self, now_s: float) -> None:
        """So many new events as the rate says, each from a random device."""
        if self._quiet or self.up < len(self.lanes):
            self._evented_s = now_s
            return
        self._owed += self.events_per_s * min(1.0, now_s - (self._evented_s or now_s))
        self._evented_s = now_s
        while self._owed >= 1:
            self._owed -= 1
            kind = CHANCE.choices([kind for kind, _ in MIX], [share for _, share in MIX])[0]
            self._emit_one(kind, now_s)
        while self._pressing:
            self._pressing -= 1
            self._emit_one(PRESS, now_s)

    def _emit_one(self, kind: str, now_s: float) -> None:
        number = CHANCE.choice(self.numbers if kind == CAMERA_FAULT else self.boxes)
        if kind == PRESS:
            self.emit(number, kind, {"press": payloads.quick_ulid(), "count": 1}, payloads.CALLBOX[0], now_s)
        elif kind == CAMERA_FAULT:
            self._frozen ^= {number}
            since = payloads.stamp_of(time.time())
            body = {"fault": ContentFault.FROZEN, "active": number in self._frozen, "since": since}
            self.emit(number, kind, body, payloads.CAMERA[0], now_s)
        else:
            self.emit(
                number, kind, {"passed": True, "lamp": True, "button": True}, payloads.CALLBOX[0], now_s
            )

    def emit(
        self, number: int, kind: str, body: dict[str, Any], peripheral: str | None, now_s: float
    ) -> None:
        outbox = self._outbox(number)
        boot, up_s = payloads.boot_of(number, self.epoch), now_s - self._started_s
        outbox.emit(boot, 1, up_s, now_s, kind=kind, peripheral=peripheral, body=body)
        self._waiting.add(number)
        self._flush(number, outbox, now_s)

    def _outbox(self, number: int) -> Outbox:
        found = self._outboxes.get(number)
        if found is None:
            found = Outbox(name_of(number), journal_of(number, self.epoch), self.ledger)
            self._outboxes[number] = found
        return found

    def _flush(self, number: int, outbox: Outbox, now_s: float) -> None:
        if self.up == len(self.lanes) and (batch := outbox.take(now_s, welcomed=True)) is not None:
            self._publish(number, Up.EVENT, batch)

    def _repeat(self, now_s: float) -> None:
        if now_s - self._looked_s < 0.25:
            return
        self._looked_s = now_s
        self._waiting = {number for number in self._waiting if self._outboxes[number].held}
        for number in self._waiting:
            if self._outboxes[number].due_s(welcomed=True) <= now_s:
                self._flush(number, self._outboxes[number], now_s)

    def _heard(self, topic: str, payload: bytes, now_s: float) -> None:
        _, _, device, _, channel = topic.split("/")
        number = int(device.rpartition("-")[2])
        message = json.loads(payload)
        if channel == "ack":
            waiting = self._births.get(number)
            if waiting and message.get("birth") == waiting[0]:
                del self._births[number]
            if message.get("retry_after_s"):
                self.ledger.counts["held_back"] += 1
            self._outbox(number).acked(message, now_s)
            return
        answers = self._answers.get(number)
        if answers is None:
            answers = self._answers[number] = Answers(self.ledger.counts)
        if (answer := answers.to(channel, message)) is not None:
            self.emit(number, answer.kind, answer.body, answer.peripheral, now_s)

    # Connections

    def _connect(self, lane: Lane, now_s: float) -> None:
        lane.retry_s = now_s + RETRY_S
        try:
            raw = socket.create_connection(self._address, timeout=5)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._context.load_cert_chain(lane.identity.pem)
            sock = self._context.wrap_socket(raw, server_hostname=self._address[0])
            sock.sendall(packets.connect(lane.identity.device, keepalive_s=60))
            answer = sock.recv(4)
            if len(answer) != 4 or answer[3]:
                raise OSError(f"the broker refuses {lane.identity.device}: is bench = true set at the hub?")
            if lane is self.lanes[0]:
                sock.sendall(packets.subscribe(BENCH_FILTER))
            sock.setblocking(False)
        except OSError as error:
            self.ledger.counts["failed_connects"] += 1
            self.trouble = str(error)
            return
        lane.sock, lane.at_s = sock, None
        lane.inbox.clear()
        lane.outgoing.clear()
        self.ledger.counts["connects"] += 1

    def _publish(self, number: int, channel: Up, payload: bytes) -> None:
        lane = self._lane_of[number % len(self.lanes)]
        if lane.sock is not None:
            lane.outgoing += packets.publish(up(name_of(number), channel).encode(), payload)

    def _read(self, lane: Lane) -> None:
        try:
            while lane.sock is not None:
                data = lane.sock.recv(65536)
                if not data:
                    raise OSError("the broker closed the connection")
                lane.inbox += data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._lost(lane)
        now_s = time.monotonic()
        for kind, body in packets.packets(lane.inbox):
            if kind == packets.PUBLISH:
                self._heard(*packets.message(body), now_s)
            elif kind == packets.SUBACK and body[2] == 0x80:
                raise RuntimeError("the broker does not let this swarm hear: is bench = true set at the hub?")

    def _send(self, lane: Lane, data: bytes) -> None:
        lane.outgoing += data
        try:
            while lane.outgoing and lane.sock is not None:
                sent = lane.sock.send(bytes(lane.outgoing[:MOST_A_WRITE]))
                del lane.outgoing[:sent]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._lost(lane)

    def _lost(self, lane: Lane) -> None:
        if lane.sock is not None:
            self.ledger.counts["losses"] += 1
            lane.sock.close()
            lane.sock = None
            lane.retry_s = time.monotonic() + RETRY_S
