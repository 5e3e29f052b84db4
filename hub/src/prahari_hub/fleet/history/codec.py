"""Blocks as bytes.

A value keeps three significant digits and nothing finer than 0.01: 41.97 % becomes 42.0, 183.4 ms 183, 0.014 becomes 0.01. That is an
error of at most 0.5 % of the value or 0.005. Such values, in order, are numbered (``codes``), so that near values have near
numbers. A block is then its names, the counts, of each mean the difference to the slot before, and how far least and most lie from it;
each as a plane of low and one of high bytes, check by check, device by device, slots in a row. Then zlib.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from prahari_hub.fleet.history.block import Block, Counts, Values

Codes = NDArray[np.int32]
VERSION = b"\x01"
LEVEL, QUICK = 6, 1
LARGEST = 9.99e14
N = TypeVar("N", np.int32, np.uint32)
_HEAD = struct.Struct("<I")
PLANES = 10
"""Bytes a value in a block: four of the count, two each of mean, least and most."""


def codes(values: NDArray[Any]) -> Codes:
    """-13,599 to 13,599; 0 to 999 are hundredths, then each decade has 900."""
    size = np.minimum(np.abs(values.astype(np.float64)), LARGEST)
    exponent = np.floor(np.log10(np.maximum(size, 10.0))).astype(np.int32)
    digits = np.rint(size / _UNIT[exponent]).astype(np.int32)
    large = 1000 + (exponent - 1) * 900 + digits - 100
    found = np.where(size < 10.0, np.rint(np.minimum(size, 10.0) * 100).astype(np.int32), large)
    return np.where(values < 0, -found, found).astype(np.int32)


def values(numbers: NDArray[Any]) -> Values:
    """The values that ``codes`` numbered, with no digit more than they keep."""
    size = _VALUES[np.abs(numbers)]
    found: Values = np.where(numbers < 0, -size, size)
    return found


def _table() -> Values:
    """The value of each number from 0 on; a little longer than ``codes`` reaches, for differences that were rounded apart."""
    size = np.arange(1 << 15)
    above = np.maximum(size - 1000, 0)
    digits, power = above % 900 + 100, above // 900 - 1
    large = np.where(power < 0, digits / 10, digits * np.power(10.0, np.clip(power, 0, 30)))
    found: Values = np.where(size < 1000, size / 100, large)
    return found


_VALUES = _table()
_UNIT = np.power(10.0, np.arange(17) - 2)
"""What the third significant digit is worth, by exponent."""


def pack(block: Block, *, quick: bool = False) -> bytes:
    """``quick`` takes an eighth of the time for 6 % more bytes: for what is packed again soon."""
    head = json.dumps(
        {"devices": block.devices, "checks": block.checks, "slots": block.slots}, separators=(",", ":")
    ).encode()
    mean = _filled(codes(block.mean), block.count)
    least = np.where(block.count > 0, mean - codes(block.least), 0)
    most = np.where(block.count > 0, codes(block.most) - mean, 0)
    steps = np.diff(mean, axis=2, prepend=0)
    body = (
        _bytes(block.count, 4)
        + _bytes(_zigzag(steps), 2)
        + _bytes(np.maximum(least, 0), 2)
        + _bytes(np.maximum(most, 0), 2)
    )
    return VERSION + zlib.compress(_HEAD.pack(len(head)) + head + body, QUICK if quick else LEVEL)


def unpack(packed: bytes) -> Block:
    opened = _open(packed)
    return _block(opened, opened.devices, slice(None))


def pick(packed: bytes, device: str) -> Block | None:
    """The block of one device alone, without decoding the others; None if it is not in it."""
    opened = _open(packed)
    if device not in opened.devices:
        return None
    row = opened.devices.index(device)
    return _block(opened, [device], slice(row, row + 1))


@dataclass(frozen=True)
class _Opened:
    devices: list[str]
    checks: list[str]
    planes: NDArray[np.uint8]  # [PLANES, C, D, T]


def _open(packed: bytes) -> _Opened:
    if packed[:1] != VERSION:
        raise ValueError(f"a block of history begins with {packed[:1]!r}: it was written by a newer hub")
    raw = zlib.decompress(memoryview(packed)[1:])
    (length,) = _HEAD.unpack_from(raw)
    head = json.loads(raw[_HEAD.size : _HEAD.size + length])
    shape = (PLANES, len(head["checks"]), len(head["devices"]), head["slots"])
    planes = np.frombuffer(raw, np.uint8, offset=_HEAD.size + length).reshape(shape)
    return _Opened(head["devices"], head["checks"], planes)


def _block(opened: _Opened, devices: list[str], rows: slice) -> Block:
    planes = opened.planes[:, :, rows, :]
    count: Counts = _number(planes[0:4], np.uint32)
    mean = np.cumsum(_unzigzag(_number(planes[4:6], np.int32)), axis=2, dtype=np.int32)
    least = mean - _number(planes[6:8], np.int32)
    most = mean + _number(planes[8:10], np.int32)
    return Block(devices, opened.checks, count, values(least), values(mean), values(most))


def _filled(numbers: Codes, count: Counts) -> Codes:
    """Where nothing was measured, the number before: no step, no bits."""
    found = numbers.copy()
    found[:, :, 0] = np.where(count[:, :, 0] > 0, found[:, :, 0], 0)
    for slot in range(1, found.shape[2]):
        found[:, :, slot] = np.where(count[:, :, slot] > 0, found[:, :, slot], found[:, :, slot - 1])
    return found


def _zigzag(numbers: NDArray[Any]) -> NDArray[Any]:
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)


def _unzigzag(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    return (numbers >> 1) ^ -(numbers & 1)


def _bytes(numbers: NDArray[Any], width: int) -> bytes:
    """Planes, the lowest bytes first."""
    planes = np.ascontiguousarray(numbers.astype(f"<u{width}")).view(np.uint8).reshape(-1, width)
    return planes.T.tobytes()


def _number(planes: NDArray[np.uint8], kind: type[N]) -> NDArray[N]:
    found = np.zeros(planes.shape[1:], kind)
    for shift, plane in enumerate(planes):
        if shift < 2 or plane.any():
            found |= plane.astype(kind) << kind(8 * shift)
    return found
