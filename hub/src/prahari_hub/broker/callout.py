"""The auth callout: at each CONNECT the broker asks, and the hub answers from memory who may come in and with what rights.

A storm of connections is spread: each waits for its turn at the gate, and who would wait too long is cut without an answer, which to
the device is a hub that is busy. A refusal (MQTT code 5) is only ever said to a device that is not to come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID
from nats.aio.msg import Msg
from prahari_wire.topics import bench_permissions, device_permissions, is_device_id

from prahari_hub import metrics
from prahari_hub.broker.config import MAX_PAYLOAD
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.gate import Gate
from prahari_hub.broker.keys import Keys, Signer, claims_of
from prahari_hub.log import about

SUBJECT = "$SYS.REQ.USER.AUTH"
AUDIENCE = "nats-authorization-request"
MAX_SUBSCRIPTIONS = 8
"""A device needs one filter, which is two subscriptions at the broker."""
URGENT = "urgent"
"""The MQTT user name of a device that holds a press."""
BENCH_PREFIX = "bench-multiplex-"
"""Names of load generators; they are ordinary devices unless the setting ``bench`` is on."""
SAY_EVERY_S = 10.0
ASKED_S = 0.1
BLIND_LOOKS, BLIND_LOOK_S = 50, 0.02
DEFAULT_RATE = 300.0
SLICE_S = 0.005
STALE_S = 25.0
"""Who asked so long ago has given up by now, or does before an answer could reach it: it asks again."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Peer:
    """Who a verified client certificate says it is; ``serial`` in lower-case hex, ``certificate`` the one that was shown."""

    device: str
    serial: str
    not_after: datetime
    certificate: x509.Certificate | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Peer:
        """ValueError if the certificate does not name exactly one device."""
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1 or not is_device_id(str(names[0].value)):
            raise ValueError("the certificate names no device")
        serial = f"{certificate.serial_number:x}"
        return cls(str(names[0].value), serial, certificate.not_valid_after_utc, certificate)


class Admission(Protocol):
    """Which certificates are good now; answers from memory, at once."""

    def refusal(self, peer: Peer) -> str | None:
        """Why this device does not come in (one short sentence), or None."""

    def connected(self, peer: Peer) -> None:
        """The broker has been told to let this device in with this certificate."""


@dataclass(frozen=True)
class Connection:
    """A connection at the broker: server id and the client number there."""

    server: str
    client: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of the broker, and when it came on the monotonic clock."""

    message: Msg
    request: dict[str, Any]
    at_s: float

    @property
    def urgent(self) -> bool:
        return (self.request.get("connect_opts") or {}).get("user") == URGENT


class Refuse(Exception):
    pass


async def never_cut(_at: Connection) -> None:
    return


class Callout:
    """Answers the broker. ``connections`` remembers the last one granted to each device, ``refusals`` counts by reason.

    ``cut`` closes a connection; the broker's role sets it. With ``bench`` load generators may speak for every device.
    """

    def __init__(
        self,
        keys: Keys,
        admission: Admission,
        *,
        gate: Gate | None = None,
        bench: bool = False,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connections: dict[str, Connection] = {}
        self.refusals: Counter[str] = Counter()
        self.cut: Callable[[Connection], Awaitable[None]] = never_cut
        self.sees: Callable[[], bool] = lambda: True
        """Whether this process hears devices: nobody is let in before, or a first word would be lost. The role sets it."""
        self.shut: Callable[[str], bool] = lambda device: False
        """Whether a device is kept out for a while because it floods the hub. The role sets it."""
        self.crowd: Callable[[], None] = lambda: None
        """Told of each device that comes while many do. The role sets it."""
        self._gate = gate or Gate(DEFAULT_RATE)
        self._bench = bench
        self._mono = mono
        self._signer = Signer(keys.issuer)
        self._admission = admission
        self._waiting: set[asyncio.Task[None]] = set()
        self._unread: deque[_Asked] = deque()
        self._ready = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._asked: set[Connection] | None = None
        self._later = 0
        self._said_s = float("-inf")

    async def serve(self, bus: Bus) -> None:
        """Begin to answer; a queue group lets several hubs share the work."""
        self._working = asyncio.create_task(self._work(), name="broker.callout")
        await bus.client.subscribe(SUBJECT, queue="callout", cb=self._on_request)
        await bus.client.flush()

    async def cut_unheard(self, waiting: Callable[[], Awaitable[set[Connection]]]) -> int:
        """Cut whoever asked while nobody was there to answer, and would wait until the broker says no; how many.

        ``waiting``: the connections that wait at the broker now. Of those, what has not been asked within ASKED_S never will be.
        """
        self._asked = set()
        try:
            found = await waiting()
            await asyncio.sleep(ASKED_S)
            unheard = found - self._asked
        finally:
            self._asked = None
        for each in unheard:
            await self.cut(each)
        return len(unheard)

    def stop(self) -> None:
        """Forget those who wait; the broker gives them up by itself."""
        if self._working:
            self._working.cancel()
        for task in self._waiting:
            task.cancel()

    async def _on_request(self, message: Msg) -> None:
        """Take a question in; who holds a press is answered at once, whoever else stands in line here."""
        try:
            claims = claims_of(message.data.decode())
            if claims.get("aud") != AUDIENCE:
                raise ValueError("not an authorization request")
            asked = _Asked(message, claims["nats"], self._mono())
            if self._asked is not None:
                self._asked.add(_connection(asked.request))
        except (ValueError, KeyError, TypeError) as error:
            metrics.WORKER_FAILURES.labels("callout").inc()
            log.error("a question that is none came where the broker asks who may come in: %s", error)
            return
        if asked.urgent:
            await self._decide(asked)
        else:
            self._unread.append(asked)
            self._ready.set()

    async def _work(self) -> None:
        """Answer in the order of arrival, in slices, so that births and presses get their turns on the loop."""
        while True:
            await self._ready.wait()
            begun_s = self._mono()
            while self._unread and self._mono() - begun_s < SLICE_S:
                await self._decide(self._unread.popleft())
            if not self._unread:
                self._ready.clear()
            await asyncio.sleep(0)

    async def _decide(self, asked: _Asked) -> None:
        message, request = asked.message, asked.request
        try:
            now_s = self._mono()
            if now_s - asked.at_s > STALE_S:
                metrics.ADMISSIONS.labels("late").inc()
                return
            try:
                peer = self._check(request)
            except Refuse as refused:
                await message.respond(self._refusal(request, str(refused)).encode())
                return
            if self.shut(peer.device):
                self._soon(self._stay_out(message, request))
                return
            wait_s = self._gate.wait_s(peer.device, now_s, urgent=asked.urgent)
            if self._gate.crowded(now_s, wait_s):
                self.crowd()
            if wait_s == 0.0 and self.sees():
                await message.respond(self._admit(request, peer).encode())
            elif wait_s is None:
                self._soon(self._come_later(message, request, peer))
            else:
                self._soon(self._in_turn(message, request, wait_s))
        except Exception:
            metrics.WORKER_FAILURES.labels("callout").inc()
            log.exception("an authorization request could not be answered; the device is not let in")

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        """The gate bounds how many wait: rate times MOST_WAIT_S."""
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        metrics.ADMISSION_WAITING.set(len(self._waiting))
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        metrics.ADMISSION_WAITING.set(len(self._waiting))
        if not task.cancelled() and (error := task.exception()):
            metrics.WORKER_FAILURES.labels("callout").inc()
            log.error("an authorization request could not be answered: %s", error)

    async def _in_turn(self, message: Msg, request: dict[str, Any], wait_s: float) -> None:
        """Answer when its turn has come; what it may do is looked up then."""
        await asyncio.sleep(wait_s)
        for _ in range(BLIND_LOOKS):
            if self.sees():
                break
            await asyncio.sleep(BLIND_LOOK_S)
        await message.respond(self.answer(request, at=int(time.time())).encode())

    async def _come_later(self, message: Msg, request: dict[str, Any], peer: Peer) -> None:
        """Cut the connection before the broker could say that the device is not authorized."""
        metrics.ADMISSIONS.labels("later").inc()
        self._later += 1
        if self._mono() - self._said_s > SAY_EVERY_S:
            log.warning(
                "more devices connect than the hub lets in at once: %d were asked to come later, %s last",
                self._later,
                peer.device,
            )
            self._said_s, self._later = self._mono(), 0
        await self.cut(_connection(request))
        await message.respond(self._refusal(request, "the hub is busy", counted=False).encode())

    async def _stay_out(self, message: Msg, request: dict[str, Any]) -> None:
        """As who is to come later: an agent that was mended comes in when the time is over."""
        metrics.ADMISSIONS.labels("shut").inc()
        await self.cut(_connection(request))
        await message.respond(self._refusal(request, "the device floods the hub", counted=False).encode())

    def answer(self, request: dict[str, Any], *, at: int) -> str:
        """The response JWT to one request, granting or refusing."""
        try:
            peer = self._check(request)
        except Refuse as refused:
            return self._refusal(request, str(refused), at=at)
        return self._admit(request, peer, at=at)

    def _refusal(
        self, request: dict[str, Any], reason: str, *, at: int | None = None, counted: bool = True
    ) -> str:
        if counted:
            self.refusals[reason] += 1
            metrics.ADMISSIONS.labels("refused").inc()
            who = request["client_info"].get("mqtt_id", "a client")[:40]
            log.info("refused %s: %s", who, reason, extra=about(device=who))
        return self._response(request, {"error": reason}, at)

    def _admit(self, request: dict[str, Any], peer: Peer, *, at: int | None = None) -> str:
        now = int(time.time()) if at is None else at
        grant = self._grant(peer, request["user_nkey"], now)
        self.connections[peer.device] = _connection(request)
        self._admission.connected(peer)
        metrics.ADMISSIONS.labels("granted").inc()
        return self._response(request, {"jwt": grant}, now)

    def _response(self, request: dict[str, Any], said: dict[str, Any], at: int | None) -> str:
        return self._signer.sign(
            "authorization_response",
            subject=request["user_nkey"],
            audience=request["server_id"]["id"],
            at=int(time.time()) if at is None else at,
            nats=said,
        )

    def _check(self, request: dict[str, Any]) -> Peer:
        client = request["client_info"]
        if client.get("type") != "mqtt":
            raise Refuse("only devices come in this way")
        chains = (request.get("client_tls") or {}).get("verified_chains") or []
        if not chains or not chains[0]:
            raise Refuse("no verified certificate")
        try:
            peer = Peer.of(x509.load_pem_x509_certificate(chains[0][0].encode()))
        except ValueError as error:
            raise Refuse(str(error)) from error
        if client.get("mqtt_id") != peer.device:
            raise Refuse("the client id is not the certificate's name")
        if reason := self._admission.refusal(peer):
            raise Refuse(reason)
        return peer

    def _grant(self, peer: Peer, user: str, at: int) -> str:
        """A user JWT with this device's own subjects alone; the broker drops the device when its certificate ends."""
        if self._bench and peer.device.startswith(BENCH_PREFIX):
            publish, subscribe = bench_permissions()
        else:
            publish, subscribe = device_permissions(peer.device)
        rights = {
            "pub": {"allow": publish},
            "sub": {"allow": subscribe},
            "subs": MAX_SUBSCRIPTIONS,
            "data": -1,
            "payload": MAX_PAYLOAD,
            "allowed_connection_types": ["MQTT"],
        }
        until = int(peer.not_after.timestamp())
        return self._signer.sign(
            "user", subject=user, audience="DEVICES", at=at, nats=rights, exp=until, name=peer.device
        )


def _connection(request: dict[str, Any]) -> Connection:
    return Connection(request["server_id"]["id"], int(request["client_info"]["id"]))
