"""Cells: small groups of devices that are packed and written together.

A device's cell follows from its id alone, and all devices of a cell are in one partition, so that one ingest worker writes it. With
400,000 devices a cell holds about a hundred, with a city's 600 at most a few.
"""

from __future__ import annotations

from prahari_wire.topics import PARTITIONS, fnv1a

CELLS_A_PARTITION = 256
CELLS = PARTITIONS * CELLS_A_PARTITION


def cell_of(device: str) -> int:
    """0 to CELLS - 1; ``cell // CELLS_A_PARTITION`` is the device's partition."""
    value = fnv1a(device)
    return value % PARTITIONS * CELLS_A_PARTITION + (value >> 16) % CELLS_A_PARTITION


def cells_of(partition: int) -> range:
    """The cells of a partition."""
    return range(partition * CELLS_A_PARTITION, (partition + 1) * CELLS_A_PARTITION)
