"""The only place where a topic or subject is spelled: build and parse.

MQTT topics travel between device and broker, NATS subjects between broker and hub; the broker maps ``/`` to ``.``.

>>> parse(up("cam-1", Up.HEALTH))
Address(device='cam-1', channel=<Up.HEALTH: 'health'>)
>>> parse_subject(mapped_subject("cam-1", Up.EVENT)).device
'cam-1'
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

DEVICE_ID = r"^[a-z0-9][a-z0-9-]{2,31}$"
PERIPHERAL_ID = r"^[a-z0-9][a-z0-9-]{0,31}$"
PARTITIONS = 16

_DEVICE = re.compile(DEVICE_ID)
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


class Up(StrEnum):
    """What a device says."""

    BIRTH = "birth"
    GONE = "gone"
    HEALTH = "health"
    EVENT = "event"


class Down(StrEnum):
    """What the hub says to one device."""

    ACK = "ack"
    TWIN = "twin"
    COMMAND = "command"
    OVERRIDE = "override"


class Address(NamedTuple):
    device: str
    channel: Up | Down


class Inbound(NamedTuple):
    """Where a message reached the hub: ``partition`` is None for a last will, which the broker does not map."""

    device: str
    channel: Up
    partition: int | None


def is_device_id(text: str) -> bool:
    return _DEVICE.match(text) is not None and not text.endswith("\n")


def _checked(device: str) -> str:
    if not is_device_id(device):
        raise ValueError(f"{device!r} is not a device id: 3 to 32 of a-z, 0-9 and '-', not starting with '-'")
    return device


def up(device: str, channel: Up) -> str:
    return f"prahari/v1/{_checked(device)}/up/{channel}"


def down(device: str, channel: Down) -> str:
    return f"prahari/v1/{_checked(device)}/down/{channel}"


def parse(topic: str) -> Address:
    """Parse an MQTT topic; ValueError if it is none of ours."""
    match topic.split("/"):
        case ["prahari", "v1", device, "up", channel] if is_device_id(device):
            return Address(device, Up(channel))
        case ["prahari", "v1", device, "down", channel] if is_device_id(device):
            return Address(device, Down(channel))
    raise ValueError(f"not a Prahari topic: {topic[:80]!r}")


def partition(device: str) -> int:
    """FNV-1a (32 bit) modulo 16: the function that nats-server's ``{{partition(16,1)}}`` mapping uses."""
    return fnv1a(device) % PARTITIONS


def fnv1a(text: str) -> int:
    """The 32-bit FNV-1a hash of the text in UTF-8."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def down_subject(device: str, channel: Down) -> str:
    return f"prahari.v1.{_checked(device)}.down.{channel}"


def mapped_subject(device: str, channel: Up) -> str:
    """The subject on which the hub receives a device's message after the broker's mapping."""
    return f"prahari.in.{partition(_checked(device))}.{device}.{channel}"


def gone_subject(device: str = "*") -> str:
    """Last wills are not mapped by the broker; ``*`` gives the hub's subscription."""
    return f"prahari.v1.{device if device == '*' else _checked(device)}.up.{Up.GONE}"


def inbound_subject(partition: int | None = None) -> str:
    """The hub's subscription for one partition, or for all."""
    return f"prahari.in.{'*' if partition is None else partition}.>"


def parse_subject(subject: str) -> Inbound:
    """Parse a subject at the hub; ValueError if the partition is not the device's own or the subject is none of ours."""
    match subject.split("."):
        case ["prahari", "in", part, device, channel] if (
            is_device_id(device) and part.isascii() and part.isdigit()
        ):
            if int(part) != partition(device):
                raise ValueError(f"{device} spoke on partition {part}, its own is {partition(device)}")
            return Inbound(device, Up(channel), int(part))
        case ["prahari", "v1", device, "up", "gone"] if is_device_id(device):
            return Inbound(device, Up.GONE, None)
    raise ValueError(f"not a Prahari subject: {subject[:80]!r}")


def mapping() -> tuple[str, str]:
    """Source and destination of the broker's subject mapping."""
    return "prahari.v1.*.up.>", f"prahari.in.{{{{partition({PARTITIONS},1)}}}}.{{{{wildcard(1)}}}}.>"


def device_permissions(device: str) -> tuple[list[str], list[str]]:
    """(publish, subscribe) subjects of one device, as the auth callout grants them.

    Permissions are checked on the mapped subject; the last will is not mapped. Each channel is named, because a device that may
    publish under any name can fill the broker's store with retained messages and so lock all others out. The broker needs
    both forms ``x`` and ``x.>`` to let an MQTT client subscribe to ``x/#``.
    """
    publish = [*(mapped_subject(device, channel) for channel in Up), gone_subject(device)]
    subscribe = [f"prahari.v1.{device}.down", f"prahari.v1.{device}.down.>"]
    return publish, subscribe


def bench_permissions() -> tuple[list[str], list[str]]:
    """(publish, subscribe) subjects of a load generator that speaks for many devices: granted on loopback alone."""
    publish = [*(f"prahari.in.*.*.{channel}" for channel in Up), gone_subject()]
    return publish, ["prahari.v1.*.down", "prahari.v1.*.down.>"]


BENCH_FILTER = "prahari/v1/+/down/#"
"""What such a load generator subscribes to."""


def down_filter(device: str) -> str:
    """The one MQTT filter that a device subscribes to."""
    return f"prahari/v1/{_checked(device)}/down/#"
