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
        self._touched: set[str] = set()

    def begin(self) -> None:
        """Whatever changes from now on is newer than what ``replace_all`` will bring."""
        self._touched = set()

    def replace_all(self, devices: dict[str, Serials], retired: set[str]) -> tuple[set[str], set[str]]:
        """Everything anew, but for devices that changed since ``begin``: who lost a serial or was retired; who was taken back."""
        for device in self._touched:
            devices.pop(device, None)
            if device in self._devices:
                devices[device] = self._devices[device]
            (retired.add if device in self._retired else retired.discard)(device)
        lost = {
            device
            for device, had in self._devices.items()
            if not had.keys() <= devices.get(device, {}).keys()
        }
        lost |= retired - self._retired
        back = self._retired - retired
        self._devices, self._retired = devices, retired
        return lost, back

    def put(self, device: str, serials: Serials) -> None:
        """The allowed serials of one device; an empty table takes it out of service."""
        self._touched.add(device)
        if serials:
            self._devices[device] = serials
        else:
            self._devices.pop(device, None)

    def set_retired(self, device: str, retired: bool) -> bool:
        """Whether that is a change."""
        self._touched.add(device)
        if retired == (device in self._retired):
            return False
        (self._retired.add if retired else self._retired.discard)(device)
        return True

    def is_retired(self, device: str) -> bool:
        return device in self._retired

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
