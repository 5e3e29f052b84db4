"""The topic grammar: one spelling, and no device can speak as another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_wire import topics
from prahari_wire.topics import Down, Up

DEVICES = st.from_regex(topics.DEVICE_ID, fullmatch=True).filter(lambda text: not text.endswith("\n"))
BAD_IDS = [
    "",
    "ab",
    "-cam",
    "Cam-1",
    "cam.1",
    "cam/1",
    "cam+1",
    "cam#",
    "cam 1",
    "cam-1\n",
    "камера",
    "a" * 33,
    "cam\x00",
]


@given(device=DEVICES, channel=st.sampled_from([*Up, *Down]))
def test_a_topic_says_who_and_what(device: str, channel: Up | Down):
    topic = topics.up(device, channel) if isinstance(channel, Up) else topics.down(device, channel)
    assert topics.parse(topic) == (device, channel)


@given(device=DEVICES, channel=st.sampled_from(list(Up)))
def test_a_mapped_subject_lies_in_the_devices_own_partition(device: str, channel: Up):
    inbound = topics.parse_subject(topics.mapped_subject(device, channel))
    assert inbound == (device, channel, topics.partition(device))
    assert 0 <= topics.partition(device) < topics.PARTITIONS


@pytest.mark.parametrize("device", BAD_IDS, ids=repr)
def test_no_other_device_id_gets_into_a_topic(device: str):
    for build in (topics.up, topics.mapped_subject):
        with pytest.raises(ValueError, match="not a device id"):
            build(device, Up.EVENT)
    for build_one in (topics.down_filter, topics.device_permissions):
        with pytest.raises(ValueError, match="not a device id"):
            build_one(device)


@pytest.mark.parametrize(
    "topic",
    ["", "prahari", "prahari/v1/cam-1/up", "prahari/v2/cam-1/up/event", "prahari/v1/cam-1/up/ack", "prahari/v1/cam-1/down/event",
     "prahari/v1/+/up/event", "prahari/v1/cam-1/up/event/more", "/prahari/v1/cam-1/up/event"],
)  # fmt: skip
def test_what_is_not_our_topic_is_refused(topic: str):
    with pytest.raises(ValueError, match=r"topic|not a valid"):
        topics.parse(topic)


@given(device=DEVICES, part=st.integers(min_value=0, max_value=topics.PARTITIONS - 1))
def test_a_device_on_a_foreign_partition_is_refused(device: str, part: int):
    subject = f"prahari.in.{part}.{device}.event"
    if part == topics.partition(device):
        assert topics.parse_subject(subject).device == device
    else:
        with pytest.raises(ValueError, match="its own is"):
            topics.parse_subject(subject)


@pytest.mark.parametrize("part", ["²", "-1", "+3", "0x1", "", "01" * 9])
def test_a_partition_that_is_no_number_of_ours_is_refused(part: str):
    with pytest.raises(ValueError, match=r"subject|partition"):
        topics.parse_subject(f"prahari.in.{part}.cam-1.event")


@pytest.mark.parametrize(
    ("device", "expected"), [("cam-1", 6), ("pune-cam-01", 11), ("pune-ecb-01", 0), ("pune-vms-01", 8)]
)
def test_the_partition_is_fnv_1a_as_the_broker_computes_it(device: str, expected: int):
    value = 2166136261
    for byte in device.encode():
        value = (value ^ byte) * 16777619 % 2**32
    assert topics.partition(device) == value % 16 == expected


def test_a_device_may_use_its_own_subjects_alone():
    publish, subscribe = topics.device_permissions("cam-1")
    assert all(".cam-1." in subject for subject in publish)
    assert subscribe == ["prahari.v1.cam-1.down", "prahari.v1.cam-1.down.>"]
    assert not any("*" in subject for subject in publish + subscribe)


def test_a_last_will_arrives_unmapped():
    assert topics.parse_subject(topics.gone_subject("cam-1")) == ("cam-1", Up.GONE, None)
    with pytest.raises(ValueError, match="subject"):
        topics.parse_subject("prahari.v1.cam-1.up.event")
