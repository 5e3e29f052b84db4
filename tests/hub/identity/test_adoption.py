"""After a restore: certificates that the hub issued since the backup are taken in again, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_hub.access import audit
from prahari_hub.broker.callout import Peer
from prahari_hub.http.actor import system
from prahari_hub.identity import adoption, certificates
from prahari_hub.identity.service import Identity, open_identity
from prahari_hub.store import Store

BACKUP = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
RESTORE = BACKUP + timedelta(days=2)
DEVICE = "pune-cam-01"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url, clock=lambda: RESTORE + timedelta(hours=2))
    yield found
    found.close()


@pytest.fixture
def hub(store: Any, tmp_path: Path) -> Iterator[Identity]:
    """A hub as it was at the time of the backup: it knows one certificate of the device."""
    found = open_identity(tmp_path / "home", store, city="Pune")

    def issue(unit: Any) -> None:
        made = certificates.issue(unit, found.authority, DEVICE, new_key().public_key())
        certificates.connected(unit, DEVICE, f"{made.serial_number:x}")

    store.write_sync(issue)
    yield found


@pytest.fixture
def shown(hub: Identity) -> Callable[..., Peer]:
    """A certificate of this authority of which the database knows nothing, as the broker shows it."""

    def make(issued: datetime, device: str = DEVICE) -> Peer:
        return Peer.of(hub.authority.device_certificate(device, new_key().public_key(), now=issued))

    return make


def restored(store: Store) -> None:
    def work(unit: Any) -> None:
        unit.now = RESTORE
        audit.record(unit, system("shell"), adoption.RESTORED, "hub", detail={"backup": BACKUP.isoformat()})

    store.write_sync(work)


async def comes_in(hub: Identity, peer: Peer) -> bool:
    """At its second attempt, a moment later."""
    await hub.load()
    assert hub.admission.refusal(peer) is not None
    await hub.close()
    return hub.admission.refusal(peer) is None


async def test_a_certificate_renewed_since_the_backup_comes_in_and_replaces_the_old_one(
    hub: Identity, store: Any, shown: Callable[..., Peer]
) -> None:
    restored(store)
    peer = shown(BACKUP + timedelta(hours=9))
    assert await comes_in(hub, peer)
    hub.admission.connected(peer)
    await hub.close()
    history = store.read_sync(lambda conn: certificates.history(conn, DEVICE))
    assert {row.serial: row.state for row in history}[peer.serial] == "current"
    assert sorted(row.state for row in history) == ["current", "superseded"]
    [entry] = store.read_sync(lambda conn: audit.page(conn, audit.Filter(action="device.adopt"))).items
    assert entry.detail["serial"] == peer.serial


async def test_without_a_restore_nothing_is_taken_in(hub: Identity, shown: Callable[..., Peer]) -> None:
    assert not await comes_in(hub, shown(BACKUP + timedelta(hours=9)))


@pytest.mark.parametrize(
    "issued",
    [BACKUP - timedelta(hours=1), RESTORE + timedelta(hours=1)],
    ids=["before the backup", "after the restore"],
)
async def test_what_was_not_issued_in_the_gap_stays_out(
    hub: Identity, store: Any, shown: Callable[..., Peer], issued: datetime
) -> None:
    restored(store)
    assert not await comes_in(hub, shown(issued))


async def test_a_device_that_was_revoked_before_the_backup_stays_out(
    hub: Identity, store: Any, shown: Callable[..., Peer]
) -> None:
    store.write_sync(lambda unit: certificates.revoke_all(unit, DEVICE, "stolen"))
    restored(store)
    assert not await comes_in(hub, shown(BACKUP + timedelta(hours=9)))


async def test_a_device_of_which_the_backup_knows_nothing_stays_out(
    hub: Identity, store: Any, shown: Callable[..., Peer]
) -> None:
    restored(store)
    assert not await comes_in(hub, shown(BACKUP + timedelta(hours=9), "pune-cam-99"))


async def test_a_retired_device_stays_out(hub: Identity, store: Any, shown: Callable[..., Peer]) -> None:
    hub.retired = lambda conn: {DEVICE}
    restored(store)
    assert not await comes_in(hub, shown(BACKUP + timedelta(hours=9)))
