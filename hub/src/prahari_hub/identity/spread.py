"""Tell every process of the hub that a device's certificates changed, so that no callout answers from an old table."""

from __future__ import annotations

from prahari_wire.topics import is_device_id

from prahari_hub.broker.connection import Bus
from prahari_hub.broker.role import Broker, hub_bus
from prahari_hub.errors import SetupError
from prahari_hub.identity.service import Identity
from prahari_hub.settings import Settings

SUBJECT = "prahari.hub.identity"
COMMAND_LINE_S = 2.0


async def attach(identity: Identity, broker: Broker) -> None:
    """Tie identity to a started broker: revocation cuts connections, changes are told to other processes and heard from them."""

    async def heard(_subject: str, payload: bytes) -> None:
        device = payload.decode("ascii", errors="replace")
        if is_device_id(device):
            await identity.reload(device)

    async def notify(device: str) -> None:
        await announce(broker.bus, device)

    identity.kick = broker.kick
    identity.notify = notify
    await broker.bus.subscribe(SUBJECT, heard)


async def announce(bus: Bus, device: str) -> None:
    await bus.publish(SUBJECT, device.encode())


async def tell_running_hub(settings: Settings, device: str) -> bool:
    """For a command line that changed the store beside a running hub; False if none runs."""
    try:
        bus = await hub_bus(settings, within_s=COMMAND_LINE_S)
    except SetupError:
        return False
    try:
        await announce(bus, device)
        await bus.client.flush()
    finally:
        await bus.close()
    return True
