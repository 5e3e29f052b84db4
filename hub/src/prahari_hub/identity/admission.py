"""Which certificate serials of which devices are good now: in memory, so that the callout answers without the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from prahari_hub.broker.callout import Peer

log = logging.getLogger(__name__)


class Standing(StrEnum):
    """Of a certificate: ``next`` has been issued and not connected yet, ``current`` has."""

    NEXT = "next"
    CURRENT = "current"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


ALLOWED = (Standing.NEXT, Standing.CURRENT)
Serials = dict[str, Standing]


class AdmissionTable:
    """Implements the callout's port. ``on_first`` is called when a ``next`` certificate connects for the first time,
    ``on_stranger`` when a certificate of ours is shown that is not good any more. A retired device stays out with whatever it shows.
    """

    def __init__(self) -> None:
        self.on_first: Callable[[Peer], None] = lambda peer: None
        self.on_stranger: Callable[[Peer], None] = lambda peer: None
        self._devices: dict[str, Serials] = {}
        self._retired: set[str] = set()

    def replace_all(self, devices: dict[str, Serials]) -> None:
        self._devices = devices

    def put(self, device: str, serials: Serials) -> None:
        """The allowed serials of one device; an empty table takes it out of service."""
        if serials:
            self._devices[device] = serials
        else:
            self._devices.pop(device, None)

    def set_retired(self, device: str, retired: bool) -> bool:
        """Whether that is a change."""
        if retired == (device in self._retired):
            return False
        (self._retired.add if retired else self._retired.discard)(device)
        return True

    def serials(self, device: str) -> Serials:
        return self._devices.get(device, {})

    def refusal(self, peer: Peer) -> str | None:
        if peer.device in self._retired:
            return "the device is retired"
        serials = self.serials(peer.device)
        if peer.serial in serials:
            return None
        self.on_stranger(peer)
        return (
            "the certificate is revoked or has been replaced" if serials else "the device is not in service"
        )

    def connected(self, peer: Peer) -> None:
        if self.serials(peer.device).get(peer.serial) is Standing.NEXT:
            self.on_first(peer)
