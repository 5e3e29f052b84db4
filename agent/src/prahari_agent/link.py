"""The connection to the hub's broker: MQTT 3.1.1 over mutual TLS. The only file that imports paho.

A session begins with a birth, repeated until the hub acks it, and ends with ``gone``, said by us before a clean
disconnect or by the broker as our last will. Nothing is kept here: what must arrive waits in the outbox.
"""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire import topics
from prahari_wire.ack import Ack
from prahari_wire.base import Message, Refused, parse
from prahari_wire.envelope import Envelope, Session
from prahari_wire.health import Health
from prahari_wire.ids import ulid
from prahari_wire.presence import Birth, Gone, GoneReason
from prahari_wire.topics import Down, Up

from prahari_agent.clock import Clock
from prahari_agent.errors import SetupError
from prahari_agent.identity import Pair
from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses

log = get_logger("link")

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 15
LOOK_S = 0.2
ANSWER_S = 28
"""For the hub's word after TLS stands: in a storm a box stands in the hub's line. A second knock costs both sides more than the wait."""
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
"""Full jitter: the n-th wait is uniform in [0, min(longest, first · 2ⁿ)], so a city that lost its hub does not come back at once.
The hub of a large fleet names a window that is longer than the first waits. A box that holds a press does not wait for it."""
SHORT_DELAY_S, WINDOWS = 5.0, 2.0
"""A hub says over how long its fleet should come back: no wait is longer than twice that, or than the short one, whichever is more."""
LONGEST_URGENT_S = 1.0
URGENT = "urgent"
"""The MQTT user name with which a box that holds a press connects: the hub keeps some places for such."""
BIRTH_REPEAT_S = 3.0
STOP_S = 6.0
"""For the last word; a thread that is caught in a connection attempt ends with the process."""
WRONG_TIME = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
STABLE_AFTER_S = 30.0
"""A connection that held this long starts the back-off anew."""


class Credentials(Protocol):
    """What the link needs of the identity."""

    def choose(self, attempt: int) -> Pair | None: ...

    def connected(self, pair: Pair) -> None: ...

    def tls(self, pair: Pair | None, *, check_time: bool = True) -> ssl.SSLContext: ...


@dataclass
class _Connection:
    """One MQTT connection and its session. ``births``: when each was sent, on the monotonic clock; any of them may be answered."""

    client: mqtt.Client
    session: Session
    pair: Pair
    urgent: bool
    up: threading.Event
    down: threading.Event
    reason: str = "the connection was closed"
    births: dict[str, int] = field(default_factory=dict)
    birth_due_ms: int = 0
    birth_attempts: int = 0
    announced: bool = False
    welcomed: bool = False
    since_ms: int = 0


class Link:
    """Keeps one connection up, in a thread of its own."""

    def __init__(
        self,
        *,
        device: str,
        broker: tuple[str, int],
        credentials: Credentials,
        next_session: Callable[[], Session],
        birth: Callable[[], Birth],
        on_ack: Callable[[Ack], None],
        on_down: Mapping[Down, Callable[[bytes], None]],
        on_welcome: Callable[[], None],
        clock: Clock,
        pulses: Pulses,
        urgent: Callable[[], bool] = lambda: False,
        window_s: float | None = None,
        on_window: Callable[[float], None] = lambda _window_s: None,
        rng: random.Random | None = None,
    ) -> None:
        """``on_down`` and ``on_ack`` are called from the network thread and must return at once. ``urgent``: a press is held.

        ``window_s`` is the last window that a hub named, None if none ever did; ``on_window`` is told when it changes.
        """
        self._device, self._broker, self._credentials = device, broker, credentials
        self._next_session, self._birth = next_session, birth
        self._on_ack, self._on_down, self._on_welcome = on_ack, on_down, on_welcome
        self._clock, self._pulses, self._urgent = clock, pulses, urgent
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._connection: _Connection | None = None
        self._attempt = 0
        self._hold_until_ms = 0
        self._window_s, self._on_window, self._hurried = window_s, on_window, False
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._gone_reason = GoneReason.SHUTDOWN
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self.rtt_ms: float | None = None
        self.trouble: str | None = "not connected yet"

    # For the rest of the agent

    def start(self) -> None:
        self._thread.start()

    def stop(self, reason: GoneReason = GoneReason.SHUTDOWN) -> None:
        """Say gone, disconnect, end the thread."""
        self._gone_reason = reason
        self._stopping.set()
        self._woken.set()
        self._thread.join(STOP_S)
        self._pulses.end("link")

    def reconnect(self) -> None:
        """Begin a new connection now, e.g. with a new certificate."""
        self._attempt = 0
        self._woken.set()
        if (connection := self._connection) is not None:
            connection.reason = "a new certificate is to be used"
            connection.down.set()

    def hurry(self) -> None:
        """An urgent event waits: end the present wait for a connection, once in each time without one."""
        if self._connection is None and not self._hurried:
            self._hurried = True
            self._woken.set()

    def doubt(self) -> None:
        """Leave a connection over which nothing comes back; unlike ``reconnect`` this waits its turn."""
        if (connection := self._connection) is not None:
            connection.reason = "nothing came back over the connection"
            connection.down.set()

    def announce(self) -> None:
        """Say birth again within this session: what it tells has changed."""
        if (connection := self._connection) is not None:
            connection.birth_due_ms, connection.birth_attempts, connection.announced = 0, 0, False

    @property
    def epoch(self) -> int | None:
        connection = self._connection
        return (
            connection.session.conn
            if connection and connection.up.is_set() and not connection.down.is_set()
            else None
        )

    @property
    def welcomed(self) -> bool:
        connection = self._connection
        return connection is not None and connection.welcomed

    def publish_events(self, payload: bytes) -> bool:
        return self._publish(Up.EVENT, payload)

    def publish_health(self, health: Health) -> bool:
        connection = self._connection
        return connection is not None and self._publish(Up.HEALTH, self._envelope(connection.session, health))

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._pulses.beat("link", limit_s=CONNECT_TIMEOUT_S * 6)
            try:
                self._one_connection()
            except SetupError as error:
                self._failed(str(error))
            except (OSError, ValueError) as error:
                if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in WRONG_TIME:
                    self._clock.contradicted()
                self._failed(_sentence(error, self._broker))
            except Exception:
                log.exception("the link failed once and carries on")
                self._failed("the link met an unexpected error, see the log")
            self._wait()

    def _wait(self) -> None:
        longest_s = self._longest_wait_s()
        self._attempt += 1
        self._pulses.beat("link", limit_s=longest_s + LONGEST_DELAY_S * 3)
        if self._woken.wait(self._rng.uniform(0, longest_s)):
            self._woken.clear()

    def _longest_wait_s(self) -> float:
        """The next wait is uniform in [0, this]."""
        window_s = LONGEST_DELAY_S if self._window_s is None else self._window_s
        longest_s = min(LONGEST_DELAY_S, max(SHORT_DELAY_S, WINDOWS * window_s))
        back_off_s: float = min(longest_s, FIRST_DELAY_S * 2 ** min(self._attempt, 10))
        return min(back_off_s, LONGEST_URGENT_S) if self._urgent() else max(back_off_s, self._window_s or 0.0)

    def _failed(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("no connection to the hub", trouble=trouble)
        self.trouble = trouble

    def _one_connection(self) -> None:
        pair = self._credentials.choose(self._attempt)
        if pair is None:
            raise SetupError(
                "This box has no certificate yet: put the seed that prahari-provision wrote into its home."
            )
        connection = self._open(pair)
        try:
            while not connection.up.wait(LOOK_S):
                if connection.down.is_set() or self._clock.mono_ms() - connection.since_ms > ANSWER_S * 1000:
                    raise OSError(connection.reason)
                if self._urgent() and not connection.urgent:
                    self._woken.set()
                    raise OSError(
                        "a press waits: the box leaves the hub's line and asks to be let in at once"
                    )
                if self._stopping.is_set():
                    return
            self._connection, self._hurried = connection, False
            self._serve(connection)
        finally:
            self._connection = None
            self._close(connection)
        if not self._stopping.is_set():
            self._failed(connection.reason)

    def _serve(self, connection: _Connection) -> None:
        """Repeat the birth until it is acked; return when the connection ends or we are asked to stop."""
        self.trouble = None
        log.info("connected", conn=connection.session.conn, certificate=connection.pair.serial)
        while not connection.down.is_set() and not self._stopping.is_set():
            now_ms = self._clock.mono_ms()
            if not connection.announced and now_ms >= max(connection.birth_due_ms, self._hold_until_ms):
                self._say_birth(connection)
            if now_ms - connection.since_ms > STABLE_AFTER_S * 1000:
                self._attempt = 0
            self._pulses.beat("link")
            connection.down.wait(0.25 if not connection.announced else 1.0)

    def _open(self, pair: Pair) -> _Connection:
        session = self._next_session()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._device, clean_session=True, protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )  # fmt: skip
        client.connect_timeout = CONNECT_TIMEOUT_S
        if urgent := self._urgent():
            client.username_pw_set(URGENT)
        client.tls_set_context(self._credentials.tls(pair, check_time=self._clock.dates_count()))
        client.will_set(
            topics.up(self._device, Up.GONE),
            self._envelope(session, Gone(reason=GoneReason.LOST)),
            qos=1,
        )
        connection = _Connection(client, session, pair, urgent, threading.Event(), threading.Event())
        client.on_connect = lambda _c, _u, _f, code, _p: self._connected(
            connection, str(code), code.is_failure
        )
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._disconnected(connection, str(code))
        client.on_message = lambda _c, _u, message: self._received(
            connection, message.topic, bytes(message.payload)
        )
        client.connect(*self._broker, keepalive=KEEPALIVE_S)
        connection.since_ms = self._clock.mono_ms()
        client.loop_start()
        return connection

    def _close(self, connection: _Connection) -> None:
        """Say gone where the agent stops, then disconnect; a mere change of certificate is no end of the device."""
        if connection.client.is_connected():
            if self._stopping.is_set():
                gone = self._envelope(connection.session, Gone(reason=self._gone_reason))
                _wait_for(connection.client.publish(topics.up(self._device, Up.GONE), gone, qos=1))
            connection.client.disconnect()
        connection.client.loop_stop()

    # Called from paho's thread

    def _connected(self, connection: _Connection, code: str, failed: bool) -> None:
        if failed:
            connection.reason = (
                f"the broker refuses this box ({code}): the hub is starting, or the box is revoked or unknown; "
                "if this lasts, ask the hub's operator"
            )
            connection.down.set()
            return
        connection.client.subscribe(topics.down_filter(self._device), qos=0)
        connection.since_ms = self._clock.mono_ms()
        connection.up.set()

    def _disconnected(self, connection: _Connection, code: str) -> None:
        if connection.up.is_set():
            connection.reason = f"the connection to the hub was lost ({code})"
        elif not connection.down.is_set():
            connection.reason = "the hub is busy and asks this box to come later; it tries again by itself"
        connection.down.set()

    def _received(self, connection: _Connection, topic: str, payload: bytes) -> None:
        try:
            channel = topics.parse(topic).channel
            if channel is Down.ACK:
                self._acked(connection, parse(Ack, payload))
            elif isinstance(channel, Down):
                self._on_down[channel](payload)
        except (Refused, ValueError, KeyError) as error:
            log.warning("a message from the hub is not accepted", topic=topic[:120], error=str(error)[:300])
        except Exception:
            log.exception("a message from the hub could not be handled", topic=topic[:120])

    def _acked(self, connection: _Connection, ack: Ack) -> None:
        now_ms = self._clock.mono_ms()
        if ack.retry_after_s:
            self._hold_until_ms = now_ms + int(ack.retry_after_s * 1000)
        sent_ms = connection.births.get(ack.birth or "")
        first = sent_ms is not None and not connection.welcomed
        if sent_ms is not None:
            connection.announced = ack.birth == next(reversed(connection.births)) or first
            self.rtt_ms = float(now_ms - sent_ms)
            self._clock.hub_said(ack.at, sent_mono_ms=sent_ms, received_mono_ms=now_ms)
            named_s, self._window_s = self._window_s, ack.reconnect_window_s or 0.0
            if named_s != self._window_s:
                self._on_window(self._window_s)
        if first:
            connection.welcomed = True
            self._prove(connection.pair)
        self._on_ack(ack)
        if first:
            self._on_welcome()

    def _prove(self, pair: Pair) -> None:
        """Note that the hub takes this pair; where the card takes no note, the next connection tries again."""
        try:
            self._credentials.connected(pair)
        except OSError as error:
            log.warning(
                "which certificate has connected cannot be written: free space on the card, or mount it writable",
                error=str(error),
            )

    # Messages

    def _say_birth(self, connection: _Connection) -> None:
        birth, now_ms = ulid(), self._clock.mono_ms()
        connection.births[birth] = now_ms
        delay_s = min(LONGEST_DELAY_S, BIRTH_REPEAT_S * 2**connection.birth_attempts) * self._rng.uniform(
            0.75, 1.25
        )
        connection.birth_attempts = min(connection.birth_attempts + 1, 10)
        connection.birth_due_ms = now_ms + int(delay_s * 1000)
        payload = self._envelope(connection.session, self._birth(), birth)
        connection.client.publish(topics.up(self._device, Up.BIRTH), payload, qos=0)

    def _publish(self, channel: Up, payload: bytes) -> bool:
        connection = self._connection
        if connection is None or self.epoch is None:
            return False
        return (
            connection.client.publish(topics.up(self._device, channel), payload, qos=0).rc
            == mqtt.MQTT_ERR_SUCCESS
        )

    def _envelope(self, session: Session, body: Message, message_id: str | None = None) -> bytes:
        stamp = self._clock.stamp()
        envelope = Envelope(
            id=message_id or ulid(), boot=session.boot, conn=session.conn, at=stamp.at, mono_ms=stamp.mono_ms,
            clock=stamp.clock, body=body,
        )  # fmt: skip
        return envelope.model_dump_json(by_alias=True).encode()


def _wait_for(said: mqtt.MQTTMessageInfo) -> None:
    """Give the last word two seconds to be taken."""
    try:
        said.wait_for_publish(2)
    except (RuntimeError, ValueError):
        log.debug("gone could not be said")


def _sentence(error: Exception, broker: tuple[str, int]) -> str:
    where = f"{broker[0]}:{broker[1]}"
    match error:
        case ssl.SSLCertVerificationError():
            return f"The hub at {where} is not the one in the seed ({error.verify_message}): check its address and this box's clock."
        case ssl.SSLError():
            return f"The hub at {where} does not accept this box's certificate ({error.reason}): it may be expired or revoked."
        case ConnectionRefusedError():
            return f"Nothing answers at {where}: start the hub, or check the address and the firewall."
        case TimeoutError():
            return f"{where} does not answer in time: check the network and the firewall."
        case OSError() if error.errno:
            return f"{where} cannot be reached ({error.strerror}): check the network cable or SIM and the address."
    return str(error)
