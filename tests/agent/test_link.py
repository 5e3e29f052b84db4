"""The link against a real nats-server with MQTT over mutual TLS."""

from __future__ import annotations

import errno
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prahari_agent.clock import Clock
from prahari_agent.identity import Pair
from prahari_agent.link import Link
from prahari_agent.pulse import Pulses
from prahari_wire.ack import Ack
from prahari_wire.envelope import Session
from prahari_wire.health import Health
from prahari_wire.presence import Birth, GoneReason, Versions
from prahari_wire.topics import Down

DEVICE = "test-ecb-01"


class Credentials:
    """The link's port to an identity: fixed files."""

    def __init__(self, ca: Path, certificate: Path, key: Path) -> None:
        self.ca, self.connections = ca, 0
        long_ago, far = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
        self.pair: Pair | None = Pair("a", key, certificate, "1", DEVICE, long_ago, far)

    def choose(self, _attempt: int) -> Pair | None:
        return self.pair

    def connected(self, _pair: Pair) -> None:
        self.connections += 1

    def tls(self, pair: Pair | None, *, check_time: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        assert pair is not None
        context.load_cert_chain(pair.certificate, pair.key)
        return context


class Dice(random.Random):
    """Always throws zero, and keeps what the most was that it might have thrown."""

    def __init__(self) -> None:
        super().__init__(1)
        self.most: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.most.append(b)
        return a


class Rig:
    def __init__(
        self,
        port: int,
        credentials: Credentials,
        *,
        window_s: float | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.credentials, self.boot, self.conn = credentials, uuid4(), 0
        self.acks: list[Ack] = []
        self.downs: list[tuple[Down, bytes]] = []
        self.welcomes = 0
        self.clock, self.pulses = Clock(), Pulses()
        self.urgent = False
        self.windows: list[float] = []
        self.link = Link(
            device=DEVICE, broker=("127.0.0.1", port), credentials=credentials, next_session=self._next_session,
            birth=self._birth, on_ack=self.acks.append, on_down={d: self._taker(d) for d in Down if d is not Down.ACK},
            on_welcome=self._welcome, clock=self.clock, pulses=self.pulses, urgent=lambda: self.urgent, window_s=window_s,
            on_window=self.windows.append, rng=rng or random.Random(1),
        )  # fmt: skip

    def _next_session(self) -> Session:
        self.conn += 1
        return Session(boot=self.boot, conn=self.conn)

    def _birth(self) -> Birth:
        versions = Versions(agent="0", python="3", os="test", board="test")
        return Birth(peripherals=[], versions=versions, journal=uuid4(), low=1)

    def _taker(self, channel: Down) -> Callable[[bytes], None]:
        return lambda payload: self.downs.append((channel, payload))

    def _welcome(self) -> None:
        self.welcomes += 1


@pytest.fixture
def rig(broker: Any, pki: Any) -> Iterator[Rig]:
    rig = Rig(broker.port, Credentials(pki.folder / "ca.pem", *pki.leaf(DEVICE)))
    yield rig
    rig.link.stop()


def test_a_session_begins_with_a_birth_and_ends_with_gone(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    assert rig.link.trouble is None
    assert rig.link.rtt_ms is not None
    assert abs(rig.clock.offset_ms() or 9999) < 1500
    assert (rig.welcomes, rig.credentials.connections) == (1, 1)
    rig.link.stop(GoneReason.RESTART)
    [gone] = eventually(lambda: hub_peer.messages("gone"))
    [birth] = hub_peer.messages("birth")
    assert gone["body"] == {"reason": "restart"}
    assert (gone["boot"], gone["conn"]) == (birth["boot"], birth["conn"])


def test_the_birth_is_repeated_until_the_hub_acks_it(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    hub_peer.ack_births = False
    rig.link.start()
    eventually(lambda: len(hub_peer.messages("birth")) >= 2)
    assert not rig.link.welcomed
    hub_peer.ack_births = True
    eventually(lambda: rig.link.welcomed)
    births = hub_peer.messages("birth")
    assert len({birth["conn"] for birth in births}) == 1
    assert len({birth["id"] for birth in births}) == len(births)


def test_the_last_will_speaks_when_the_box_falls_silent(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    connection = rig.link._connection
    assert connection is not None
    connection.client.socket().close()  # the network is gone without a word
    [gone] = eventually(lambda: hub_peer.messages("gone"))[:1]
    assert (gone["body"], gone["conn"]) == ({"reason": "lost"}, 1)
    eventually(lambda: rig.conn >= 2 and rig.link.welcomed)


def test_it_comes_back_after_the_broker_was_away(
    rig: Rig, broker: Any, pki: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.epoch is not None)
    broker.stop()
    eventually(lambda: rig.link.epoch is None)
    assert rig.link.publish_health(Health(uptime_s=1)) is False
    eventually(lambda: "Nothing answers" in (rig.link.trouble or ""))
    broker.start()
    eventually(lambda: rig.link.epoch == rig.conn, within_s=30)


def test_messages_of_the_hub_reach_their_handlers_and_bad_ones_harm_nothing(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    for payload in (b"", b"{", b'{"v":2}', b"\xff" * 100, b"[" * 5000):
        hub_peer.say("ack", payload)
    hub_peer.say("command", b"one")
    hub_peer.say("override", b"two")
    hub_peer.say("command", b"for another", device="test-ecb-02")
    eventually(lambda: len(rig.downs) == 2)
    assert rig.downs == [(Down.COMMAND, b"one"), (Down.OVERRIDE, b"two")]
    assert rig.link.publish_health(Health(uptime_s=5))
    assert eventually(lambda: hub_peer.messages("health"))[0]["body"]["uptime_s"] == 5


def test_a_hub_that_asks_for_patience_gets_it(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    hub_peer.retry_after_s = 60
    rig.link.start()
    eventually(lambda: rig.acks and rig.acks[0].retry_after_s == 60)
    rig.link.announce()
    with pytest.raises(AssertionError):
        eventually(lambda: len(hub_peer.messages("birth")) > 1, within_s=1.5)


def test_a_changed_configuration_is_announced_in_the_same_session(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    rig.link.announce()
    eventually(lambda: len(hub_peer.messages("birth")) == 2)
    assert rig.link.welcomed
    assert rig.conn == 1


def test_a_new_certificate_is_taken_up_without_saying_gone(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    rig.link.reconnect()
    eventually(lambda: rig.conn == 2 and rig.link.welcomed)
    assert rig.credentials.connections == 2
    assert hub_peer.messages("gone") == []


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        pytest.param("nothing-there", "Nothing answers", id="nothing-answers"),
        pytest.param("other-ca", "not the one in the seed", id="another-hub"),
        pytest.param("no-pair", "no certificate yet", id="not-enrolled"),
    ],
)
def test_what_keeps_it_from_connecting_is_one_sentence(
    rig: Rig, pki: Any, tmp_path: Path, eventually: Callable[..., Any], break_it: str, says: str
) -> None:
    match break_it:
        case "nothing-there":
            rig.link._broker = ("127.0.0.1", 1)
        case "other-ca":
            (tmp_path / "other").mkdir()
            other = type(pki)(tmp_path / "other")
            rig.credentials.ca = other.folder / "ca.pem"
        case "no-pair":
            rig.credentials.pair = None
    rig.link.start()
    eventually(lambda: says in (rig.link.trouble or ""))
    assert rig.link.epoch is None


def test_a_certificate_that_the_broker_does_not_take_is_said(
    rig: Rig, pki: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    (tmp_path / "other").mkdir()
    other = type(pki)(tmp_path / "other")
    certificate, key = other.leaf(DEVICE)
    assert rig.credentials.pair is not None
    rig.credentials.pair = rig.credentials.pair._replace(certificate=certificate, key=key)
    rig.link.start()
    eventually(lambda: rig.link.trouble not in (None, "not connected yet"))
    assert rig.link.epoch is None


def lose(rig: Rig, eventually: Callable[..., Any]) -> None:
    connection = rig.link._connection
    assert connection is not None
    connection.client.socket().close()
    eventually(lambda: rig.link.epoch is None)


def test_a_box_spreads_its_return_over_the_window_that_the_hub_names(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    hub_peer.window_s = 1000.0
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    lose(rig, eventually)
    time.sleep(3)
    assert rig.link.epoch is None  # alone it would be back after a second
    rig.link.reconnect()
    eventually(lambda: rig.link.welcomed)


@pytest.mark.parametrize(
    ("window_s", "longest"),
    [
        pytest.param(None, [1, 2, 4, 8, 16, 32, 60, 60], id="no-hub-has-answered-yet"),
        pytest.param(0.0, [1, 2, 4, 5, 5, 5, 5, 5], id="small-fleet"),
        pytest.param(10.0, [10, 10, 10, 10, 16, 20, 20, 20], id="large-fleet"),
        pytest.param(120.0, [120] * 8, id="state"),
    ],
)
def test_no_wait_is_longer_than_the_fleets_size_asks_for(
    pki: Any, eventually: Callable[..., Any], window_s: float | None, longest: list[float]
) -> None:
    dice = Dice()
    credentials = Credentials(pki.folder / "ca.pem", *pki.leaf(DEVICE))
    rig = Rig(1, credentials, window_s=window_s, rng=dice)  # nobody listens there
    rig.link.start()
    eventually(lambda: len(dice.most) >= len(longest))
    rig.link.stop()
    assert dice.most[: len(longest)] == longest


def test_the_window_that_a_hub_names_is_told_when_it_changes_and_none_named_is_zero(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    hub_peer.window_s = 7.5
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    for named_s, births in ((7.5, 2), (None, 3)):
        hub_peer.window_s = named_s
        rig.link.announce()
        eventually(lambda births=births: len(rig.acks) == births)
    eventually(lambda: len(rig.windows) == 2)
    assert rig.windows == [7.5, 0.0]


def test_a_press_does_not_wait_for_the_window(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    hub_peer.window_s = 1000.0
    rig.link.start()
    eventually(lambda: rig.link.welcomed)
    lose(rig, eventually)
    eventually(lambda: rig.link._connection is None)
    rig.urgent = True
    rig.link.hurry()
    eventually(lambda: rig.link.welcomed)


def test_a_hub_that_hangs_up_before_it_answers_is_busy_and_not_a_refusal(
    pki: Any, eventually: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.folder / "ca.pem")
        context.load_cert_chain(*pki.server_files)
        rig = Rig(door.getsockname()[1], Credentials(pki.folder / "ca.pem", *pki.leaf(DEVICE)))
        rig.link.start()
        with context.wrap_socket(door.accept()[0], server_side=True) as visitor:
            assert visitor.recv(100)
        eventually(lambda: "busy" in (rig.link.trouble or ""))
        rig.link.stop()


def test_a_press_in_the_hubs_line_leaves_it_and_knocks_again_as_urgent(
    pki: Any, eventually: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.folder / "ca.pem")
        context.load_cert_chain(*pki.server_files)
        rig = Rig(door.getsockname()[1], Credentials(pki.folder / "ca.pem", *pki.leaf(DEVICE)))
        rig.link.start()
        with context.wrap_socket(door.accept()[0], server_side=True) as first:
            assert b"urgent" not in first.recv(1000)
            rig.urgent = True
            rig.link.hurry()
            with context.wrap_socket(door.accept()[0], server_side=True) as second:
                assert second.recv(1000).endswith(b"urgent")
        rig.link.stop()


def test_a_card_that_does_not_take_which_certificate_connected_keeps_no_box_from_being_welcome(
    rig: Rig, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    def read_only(_pair: Pair) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    rig.credentials.connected = read_only  # type: ignore[method-assign]
    rig.link.start()
    eventually(lambda: rig.welcomes, within_s=20)
    assert (rig.welcomes, len(rig.acks)) == (1, 1)
