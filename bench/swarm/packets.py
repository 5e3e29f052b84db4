"""The few MQTT 3.1.1 packets that a device needs: build them, and cut a stream of bytes into those that come back."""

from __future__ import annotations

from collections.abc import Iterator

CONNACK, PUBLISH, SUBACK, PINGRESP = 0x20, 0x30, 0x90, 0xD0
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
MAX_PACKET = 1024 * 1024
"""Larger than anything that the hub sends."""


def connect(
    client_id: str, *, keepalive_s: int, will_topic: str = "", will: bytes = b"", user: str = ""
) -> bytes:
    """CONNECT with a clean session; the will, if any, with QoS 1."""
    flags = 0x02 | (0x04 | 0x08 if will_topic else 0) | (0x80 if user else 0)
    body = _text(b"MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big") + _text(client_id.encode())
    if will_topic:
        body += _text(will_topic.encode()) + _text(will)
    if user:
        body += _text(user.encode())
    return b"\x10" + _length(len(body)) + body


def subscribe(topic_filter: str, *, packet_id: int = 1) -> bytes:
    body = packet_id.to_bytes(2, "big") + _text(topic_filter.encode()) + b"\x00"
    return b"\x82" + _length(len(body)) + body


def publish(topic: bytes, payload: bytes) -> bytes:
    """QoS 0."""
    return publish_head(topic, len(payload)) + payload


def publish_head(topic: bytes, payload_size: int) -> bytes:
    """What stands before the payload of a QoS 0 message."""
    return b"\x30" + _length(2 + len(topic) + payload_size) + _text(topic)


def packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take every whole packet off the front of ``buffer``: (type without flags, body). ValueError if it is no MQTT."""
    while len(buffer) >= 2:
        size = shift = 0
        at = 1
        while True:
            if at >= len(buffer):
                return
            byte = buffer[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80:
                break
            if at > 4:
                raise ValueError("the broker sent a packet length that is none")
        if size > MAX_PACKET:
            raise ValueError(f"the broker sent a packet of {size} bytes")
        if len(buffer) < at + size:
            return
        kind, body = buffer[0] & 0xF0, bytes(buffer[at : at + size])
        del buffer[: at + size]
        yield kind, body


def message(body: bytes) -> tuple[str, bytes]:
    """(topic, payload) of a QoS 0 PUBLISH body."""
    size = int.from_bytes(body[:2], "big")
    return body[2 : 2 + size].decode(), body[2 + size :]


def _text(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


def _length(size: int) -> bytes:
    parts = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        parts.append(low | (0x80 if size else 0))
        if not size:
            return bytes(parts)
