"""What a device can and cannot do at the broker; every denial is asserted on delivery."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prahari_hub.identity.ca import open_authority, pem
from prahari_wire.ack import Ack
from prahari_wire.topics import (
    Down,
    Up,
    gone_subject,
    inbound_subject,
    mapped_subject,
    parse_subject,
    partition,
    up,
)

A, B = "pune-cam-01", "pune-ecb-01"


async def listen(site) -> list[tuple[str, bytes]]:
    """Everything that the hub would ever see."""
    heard: list[tuple[str, bytes]] = []

    async def note(subject: str, payload: bytes) -> None:
        heard.append((subject, payload))

    for subject in (inbound_subject(), gone_subject(), "prahari.v1.*.down.>"):
        await site.broker.bus.subscribe(subject, note)
    return heard


async def settled(condition, within_s: float = 60.0) -> bool:
    for _ in range(int(within_s / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


async def fence(site, device, name: str, heard: list[tuple[str, bytes]]) -> None:
    """Send a last allowed message and wait for it: whatever came before it has arrived or never will."""
    await asyncio.to_thread(device.publish, up(name, Up.HEALTH), b"fence")
    assert await settled(lambda: (mapped_subject(name, Up.HEALTH), b"fence") in heard)


async def test_a_device_speaks_and_is_spoken_to(site) -> None:
    heard = await listen(site)
    device = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    device.publish(up(A, Up.EVENT), b"one")
    assert await settled(lambda: (mapped_subject(A, Up.EVENT), b"one") in heard)
    ack = Ack(id="0" * 26, at=datetime.now(UTC))
    await site.broker.downlink.send(A, Down.ACK, ack)
    assert await settled(lambda: device.messages)
    topic, payload = device.messages[0]
    assert topic == f"prahari/v1/{A}/down/ack"
    assert Ack.model_validate_json(payload) == ack
    assert [peer.device for peer in site.register.seen] == [A]


async def test_a_clean_goodbye_arrives_mapped_and_a_last_will_unmapped(site) -> None:
    heard = await listen(site)
    device = await asyncio.to_thread(site.fleet.online, A, site.issue(A), will=(up(A, Up.GONE), b"will"))
    device.publish(up(A, Up.GONE), b"bye", qos=1)
    assert await settled(lambda: (mapped_subject(A, Up.GONE), b"bye") in heard)
    await site.broker.kick(A)
    assert await settled(lambda: (gone_subject(A), b"will") in heard)
    assert all(parse_subject(subject).device == A for subject, _ in heard)


@pytest.mark.parametrize(
    "topic",
    [
        up(A, Up.EVENT),
        up(A, Up.GONE),
        f"prahari/v1/{A}/down/command",
        f"prahari/in/{partition(A)}/{A}/event",
        f"prahari/in/0/{A}/event",
    ],
    ids=["event", "gone", "down", "mapped", "mapped-elsewhere"],
)
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_device_cannot_publish_as_another(site, topic: str, qos: int) -> None:
    heard = await listen(site)
    victim = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    thief = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    thief.publish(topic, b"forged", qos)
    await fence(site, thief, B, heard)
    assert not [item for item in heard if item[1] == b"forged"]
    assert not victim.messages


async def test_a_device_cannot_speak_on_a_partition_that_is_not_its_own(site) -> None:
    heard = await listen(site)
    device = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    for number in range(16):
        device.publish(f"prahari/in/{number}/{B}/event", str(number).encode())
    await fence(site, device, B, heard)
    assert {payload for _, payload in heard} <= {b"fence", str(partition(B)).encode()}


@pytest.mark.parametrize(
    "topic",
    [
        "#",
        "prahari/#",
        "prahari/v1/+/down/#",
        f"prahari/v1/{A}/down/#",
        f"prahari/v1/{A}/down/ack",
        "prahari/in/#",
        "$SYS/#",
        "$JS/#",
        "$MQTT/#",
    ],
)
async def test_a_device_cannot_listen_to_another(site, topic: str) -> None:
    thief = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    await asyncio.to_thread(thief.subscribe, topic)
    await site.broker.downlink.send(A, Down.ACK, Ack(id="0" * 26, at=datetime.now(UTC)))
    await site.broker.bus.publish(mapped_subject(A, Up.EVENT), b"secret")
    last = Ack(id="1" + "0" * 25, at=datetime.now(UTC))
    await site.broker.downlink.send(B, Down.ACK, last)
    assert await settled(lambda: any(last.id.encode() in payload for _, payload in thief.messages))
    assert {name for name, _ in thief.messages} == {f"prahari/v1/{B}/down/ack"}


async def test_a_last_will_in_anothers_name_is_never_delivered(site) -> None:
    heard = await listen(site)
    thief = await asyncio.to_thread(site.fleet.device, B, site.issue(B), will=(up(A, Up.GONE), b"forged"))
    await settled(lambda: thief.connected.is_set() or thief.refused.is_set())
    await site.broker.kick(B)
    again = await asyncio.to_thread(site.fleet.online, B, site.issue(B, file="again"))
    await fence(site, again, B, heard)
    assert not [item for item in heard if item[1] == b"forged"]


async def test_a_client_id_other_than_the_certificates_name_is_refused_and_does_not_cut_the_owner(
    site,
) -> None:
    owner = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    thief = await asyncio.to_thread(site.fleet.device, B, site.issue(B), client_id=A)
    assert await asyncio.to_thread(thief.refused.wait, 60)
    assert not owner.lost.is_set()
    assert site.broker.callout.refusals["the client id is not the certificate's name"] == 1


async def test_a_user_name_in_connect_changes_nothing(site) -> None:
    heard = await listen(site)
    device = await asyncio.to_thread(site.fleet.online, B, site.issue(B), user=A)
    device.publish(up(A, Up.EVENT), b"forged")
    await fence(site, device, B, heard)
    assert {payload for _, payload in heard} == {b"fence"}


async def test_without_a_certificate_nobody_comes_in(site) -> None:
    nobody = await asyncio.to_thread(site.fleet.device, A, None)
    assert await asyncio.to_thread(nobody.refused.wait, 60)


async def test_a_certificate_of_another_authority_is_refused(site, tmp_path: Path) -> None:
    other = open_authority(tmp_path / "other", city="Pune", now=datetime.now(UTC))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = other.device_certificate(A, key.public_key(), now=datetime.now(UTC))
    stranger = await asyncio.to_thread(
        site.fleet.device, A, site.issue.keep("other", pem([certificate, *other.chain]), key)
    )
    assert await asyncio.to_thread(stranger.refused.wait, 60)


async def test_a_self_signed_certificate_is_refused(site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, A)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
    )
    certificate = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    stranger = await asyncio.to_thread(site.fleet.device, A, site.issue.keep("self", pem([certificate]), key))
    assert await asyncio.to_thread(stranger.refused.wait, 60)


async def test_an_expired_certificate_is_refused(site) -> None:
    late = await asyncio.to_thread(site.fleet.device, A, site.issue(A, life=timedelta(minutes=-1)))
    assert await asyncio.to_thread(late.refused.wait, 60)


async def test_the_servers_own_certificate_opens_no_device_connection(site) -> None:
    certificate, key = site.issue.authority.server_files
    server = await asyncio.to_thread(site.fleet.device, "localhost", site.issue.stored(certificate, key))
    assert await asyncio.to_thread(server.refused.wait, 60)


async def test_a_certificate_that_expires_while_connected_ends_the_connection(site) -> None:
    device = await asyncio.to_thread(site.fleet.online, A, site.issue(A, life=timedelta(seconds=3)))
    assert await asyncio.to_thread(device.lost.wait, 60)


async def test_a_revoked_device_is_cut_in_two_seconds_and_its_next_connect_refused(site) -> None:
    credentials = site.issue(A)
    device = await asyncio.to_thread(site.fleet.online, A, credentials)
    neighbour = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    site.register.revoked.add(A)
    assert await site.broker.kick(A) == 1
    assert await asyncio.to_thread(device.lost.wait, 60)
    again = await asyncio.to_thread(site.fleet.device, A, credentials)
    assert await asyncio.to_thread(again.refused.wait, 60)
    assert not neighbour.lost.is_set()


async def test_kick_finds_a_connection_that_the_hub_does_not_remember(site) -> None:
    device = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    site.broker.callout.connections.clear()
    assert await site.broker.kick(A) == 1
    assert await asyncio.to_thread(device.lost.wait, 60)


async def test_a_device_that_is_shut_out_is_cut_and_asked_to_come_later_and_its_neighbour_stays(site) -> None:
    credentials = site.issue(A)
    device = await asyncio.to_thread(site.fleet.online, A, credentials)
    neighbour = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    shut = asyncio.create_task(site.broker.shut_out(A, 5))
    assert await asyncio.to_thread(device.lost.wait, 60)
    again = await asyncio.to_thread(site.fleet.device, A, credentials)
    assert await asyncio.to_thread(again.lost.wait, 60)
    assert not again.connected.is_set() and not again.refused_by_code
    await shut
    assert not neighbour.lost.is_set()
    site.broker._shut._until_s[A] = 0.0
    assert await asyncio.to_thread(site.fleet.online, A, credentials)


async def test_a_message_above_the_limit_ends_the_connection_and_reaches_nobody(site) -> None:
    heard = await listen(site)
    device = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    device.publish(up(A, Up.EVENT), b"x" * 80_000)
    assert await asyncio.to_thread(device.lost.wait, 60)
    assert not heard


@pytest.mark.parametrize(
    ("topic", "qos", "retain"),
    [("x{}", 0, True), ("event", 1, False), ("event", 1, True)],
    ids=["retained-under-any-name", "qos-1", "retained"],
)
async def test_a_device_cannot_fill_the_brokers_store_and_lock_others_out(
    site, topic: str, qos: int, retain: bool
) -> None:
    heard = await listen(site)
    hostile = await asyncio.to_thread(site.fleet.online, A, site.issue(A))
    for number in range(1300):
        hostile.client.publish(f"prahari/v1/{A}/up/{topic.format(number)}", b"x" * 60_000, qos, retain)
    await asyncio.to_thread(hostile.publish, up(A, Up.HEALTH), b"last")
    assert await settled(lambda: (mapped_subject(A, Up.HEALTH), b"last") in heard, within_s=30)
    other = await asyncio.to_thread(site.fleet.online, B, site.issue(B))
    other.publish(up(B, Up.GONE), b"bye", qos=1)
    await fence(site, other, B, heard)
    assert (mapped_subject(B, Up.GONE), b"bye") in heard
