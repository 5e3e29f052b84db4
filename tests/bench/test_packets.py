"""The swarm's own MQTT: what it builds is cut again into the same packets, however the stream is torn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.swarm import packets


@given(st.lists(st.binary(max_size=400), max_size=5), st.integers(1, 50))
def test_a_torn_stream_gives_every_message_once(payloads: list[bytes], step: int) -> None:
    stream = b"".join(packets.publish(b"a/b", payload) for payload in payloads)
    buffer, found = bytearray(), []
    for at in range(0, len(stream), step):
        buffer += stream[at : at + step]
        found += [packets.message(body) for _, body in packets.packets(buffer)]
    assert found == [("a/b", payload) for payload in payloads]
    assert not buffer


def test_a_length_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        list(packets.packets(bytearray(b"\x30\xff\xff\xff\xff\xff\x01")))


def test_connect_carries_will_and_user() -> None:
    raw = packets.connect("dev-1", keepalive_s=30, will_topic="t", will=b"w", user="urgent")
    assert raw[0] == 0x10
    assert raw[2:8] == b"\x00\x04MQTT"
    assert raw[9] == 0x8E
    assert raw.endswith(b"\x00\x06urgent")
