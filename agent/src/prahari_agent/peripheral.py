"""The port between the agent's core and what it serves: a camera, a call box, a display.

The core builds one Peripheral for each entry of the twin, tells it its configuration, asks for its health and hands it
commands; a peripheral reaches the rest of the agent through Surroundings alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prahari_wire.base import Message
from prahari_wire.envelope import Stamp
from prahari_wire.evidence import ChainHead
from prahari_wire.health import PeripheralHealth
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.recording import TransferManifest
from prahari_wire.twin import PeripheralConfig

from prahari_agent.hardware.port import Board
from prahari_agent.settings import PRIVATE_NETWORKS


class Emit(Protocol):
    """Store a durable event; when this returns, it survives a power cut. Thread-safe.

    ``stamp``: when it happened, the present if left out.
    """

    def __call__(
        self, kind: str, body: Message, *, peripheral: str | None = None, stamp: Stamp | None = None
    ) -> int: ...


Show = Callable[[str, Iterator[bytes]], None]
"""(live view, its JPEGs as they are taken): hand them to the hub until there are no more, or nobody watches. HubUnreachable."""


class Transfers(Protocol):
    """Footage on its way to the hub, and the device's word for it."""

    def send(self, manifest: TransferManifest, files: Mapping[str, Path], rate_kbit_s: int) -> None:
        """Keep on disk what is to be sent, then send it; ``files`` by SHA-256. The same transfer again changes nothing."""
        ...

    def ended(self, camera: str) -> list[str]:
        """Transfers of ``camera`` that have ended and are not forgotten yet."""
        ...

    def forget(self, transfer: str) -> None: ...

    def deny(self, camera: str, why: str | None) -> None:
        """Nothing more of ``camera`` is sent, what is under way included, until this is taken back by None."""
        ...

    def sign(self, head: ChainHead) -> ChainHead:
        """``head`` with the serial of the device's certificate and its key's signature: ECDSA, SHA-256, DER, base64url unpadded."""
        ...

    def certificate(self) -> str:
        """PEM of the device's certificate and its issuer."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What the core lends to a peripheral. ``networks``: those that cameras may be in.

    ``home``: a folder of the peripheral's own. ``upload(data, content_type)``: keep bytes on disk until the hub has them,
    gives their SHA-256. ``fetch(sha256, size)``: a local path of a content-addressed file, from the cache or the hub; raises
    HubUnreachable.
    ``secret(peripheral)``: user and password of a source from the box's secrets.toml, or None. ``transfers``, ``show``: None where
    there is no hub to send footage to, or live pictures. ``undisputed``: whether the hub has had its say on the box's time and does
    not deny it; by another nothing is deleted.
    """

    device: str
    home: Path
    board: Board
    emit: Emit
    upload: Callable[[bytes, str], str]
    fetch: Callable[[str, int], Path]
    stamp: Callable[[], Stamp]
    undisputed: Callable[[], bool]
    secret: Callable[[str], tuple[str, str] | None]
    transfers: Transfers | None = None
    show: Show | None = None
    networks: Sequence[str] = PRIVATE_NETWORKS


class Arguments(dict[str, Any]):
    """A command's arguments. ``issued_ms``: when the hub issued it, on this box's monotonic clock; None where the box cannot tell."""

    issued_ms: int | None = None


class Peripheral(Protocol):
    """One served peripheral. All calls come from the core's thread and return soon; work happens in threads or a process of its own."""

    @property
    def info(self) -> PeripheralInfo: ...

    def configure(self, config: PeripheralConfig) -> None:
        """Apply a validated configuration (also the first one). ConfigRefused leaves the old one in force."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def health(self) -> PeripheralHealth: ...

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """Command name → function of the arguments; its result is the command's. Rejected says why not.

        The agent's core gives Arguments.
        """
        ...
