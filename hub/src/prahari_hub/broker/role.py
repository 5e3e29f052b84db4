"""The broker as one part that the composition root starts and stops."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit

from prahari_hub.broker.callout import Admission, Callout
from prahari_hub.broker.config import LOOPBACK, Plan, write
from prahari_hub.broker.connection import Bus, Sight, unseen
from prahari_hub.broker.crowd import Crowd
from prahari_hub.broker.downlink import Downlink
from prahari_hub.broker.gate import Gate
from prahari_hub.broker.keys import Keys, open_keys
from prahari_hub.broker.kick import Kicker
from prahari_hub.broker.lookout import Lookout
from prahari_hub.broker.server import EmbeddedServer
from prahari_hub.broker.shut import Shut
from prahari_hub.broker.statistics import Node, nodes
from prahari_hub.errors import SetupError, Unavailable
from prahari_hub.settings import Settings

ON_LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOOKS, LOOK_S = 100, 0.02
log = logging.getLogger(__name__)


class Broker:
    """Start: server (unless external, or another process has it), the hub's connections, kick, callout. Stop: the other way round.

    ``bus`` is in the devices' account, and so is ``between``, on which the hub's processes speak among themselves;
    ``on_sight(False | True)`` tells when the hub lost or regained sight of the devices.
    """

    def __init__(
        self,
        plan: Plan,
        keys: Keys,
        admission: Admission,
        *,
        external_url: str | None = None,
        external_ca: Path | None = None,
        on_sight: Sight = unseen,
        embedded: bool = True,
        gate: Gate | None = None,
        bench: bool = False,
    ) -> None:
        url = external_url or plan.url
        self.server = None if external_url or not embedded else EmbeddedServer(plan, keys)
        self.bus = Bus("hub", url, keys.hub, ca=external_ca, on_sight=on_sight)
        self.callout = Callout(keys, admission, gate=gate, bench=bench)
        self.downlink = Downlink(self.bus)
        self.between = Bus("relay", url, keys.hub, ca=external_ca, echo=False)
        self._system = Bus("system", url, keys.system, ca=external_ca)
        self._auth = Bus("callout", url, keys.callout, ca=external_ca, on_sight=self._on_callout)
        self._kicker = Kicker(self._system, self.callout.connections)
        self.callout.cut = self._kicker.cut
        self._shut = Shut(self.bus, self._kicker)
        self.callout.shut = self._shut.holds
        self.crowd = Crowd(self.bus)
        self.callout.crowd = self.crowd.note
        self.callout.sees = lambda: self.bus.sees
        self._lookout = Lookout(self._system, (self.bus, self.between, self._auth))
        self._looking: asyncio.Task[None] | None = None
        self._answers = False
        self._clearing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open and answer at once. SetupError says in one sentence what stands in the way; nothing is left running then."""
        await self.open()
        await self.answer()

    async def open(self) -> None:
        """Server and connections; no device is let in yet."""
        try:
            if self.server:
                await self.server.start()
            for bus in (self.bus, self.between, self._system):
                await bus.open()
            await self._shut.listen()
            await self.crowd.listen()
            if self._lookout.needed:
                self._looking = asyncio.create_task(self._lookout.run(), name="broker.lookout")
        except BaseException:
            await self.stop()
            raise

    async def answer(self) -> None:
        """Let devices in from now on."""
        try:
            await self._auth.open()
            await self.callout.serve(self._auth)
            self._answers = True
            await self._on_callout(True)
        except BaseException:
            await self.stop()
            raise

    async def nodes(self) -> list[Node]:
        """What each node of the broker says about itself; Unavailable while it is away."""
        return await nodes(self._system, expected=len(self.bus.nodes))

    async def kick(self, device: str) -> int:
        """Cut the device's live connections; how many were found."""
        return await self._kicker.kick(device)

    async def shut_out(self, device: str, for_s: float) -> None:
        """Cut a device that floods the hub, and let it in again after so long."""
        await self._shut.out(device, for_s)

    async def _on_callout(self, sees: bool) -> None:
        """Our own server lets devices knock before anybody answers; an outside one has other hubs, which do."""
        if sees and self._answers and self.server:
            self._clearing = asyncio.create_task(self._clear(), name="broker.clear")

    async def _clear(self) -> None:
        for _ in range(LOOKS):
            if self._system.sees:
                break
            await asyncio.sleep(LOOK_S)
        try:
            count = await self.callout.cut_unheard(self._kicker.unanswered)
        except Unavailable as error:
            log.info("devices that came before the hub answered wait for the broker's refusal: %s", error)
        else:
            if count:
                log.info("%d devices came before the hub answered and were asked to come again", count)

    async def stop(self) -> None:
        self._answers = False
        for task in (self._clearing, self._looking):
            if task:
                task.cancel()
        self.callout.stop()
        for bus in (self._auth, self._system, self.between, self.bus):
            await bus.close()
        if self.server:
            await self.server.stop()


def open_broker(
    settings: Settings,
    admission: Admission,
    *,
    certificate: Path,
    key: Path,
    ca: Path,
    on_sight: Sight = unseen,
) -> Broker:
    """The broker that the settings describe: embedded, or external with the keys in ``nats_seed_file``."""
    plan, keys = _plan(settings, certificate, key, ca)
    return Broker(
        plan,
        keys,
        admission,
        external_url=settings.nats_url,
        external_ca=ca,
        on_sight=on_sight,
        embedded="broker" in settings.roles,
        gate=Gate(settings.admission_rate),
        bench=bench_allowed(settings),
    )


def bench_allowed(settings: Settings) -> bool:
    """Whether load generators may speak for every device. SetupError unless broker and hub can be reached from this machine alone."""
    if not settings.bench:
        return False
    broker = settings.nats_urls or [f"nats://{LOOPBACK}"]
    hosts = [settings.listen, *(urlsplit(url).hostname or "" for url in broker)]
    if away := [host for host in hosts if host not in ON_LOOPBACK]:
        raise SetupError(
            f"bench is on and {away[0]} can be reached from other machines: set listen to 127.0.0.1, or take bench out"
        )
    log.warning(
        "BENCH IS ON: a load generator may speak in the name of every device. Never set it where devices are real"
    )
    return True


def write_configuration(settings: Settings, *, certificate: Path, key: Path, ca: Path) -> Path:
    """The configuration of a server that somebody else starts, beside the hub on the same machine; its file."""
    plan, keys = _plan(settings, certificate, key, ca)
    write(plan, keys)
    return plan.config_file


def _plan(settings: Settings, certificate: Path, key: Path, ca: Path) -> tuple[Plan, Keys]:
    folder = settings.home / "broker"
    plan = Plan(folder, settings.mqtt_port, settings.nats_port, certificate, key, ca, settings.listen)
    return plan, open_keys(settings.nats_seed_file or folder / "keys.json")


async def hub_bus(settings: Settings, *, within_s: float) -> Bus:
    """A connection of this hub for a short-lived program; SetupError if no broker of this hub runs."""
    folder = settings.home / "broker"
    keys = open_keys(settings.nats_seed_file or folder / "keys.json")
    url = settings.nats_url or f"nats://{LOOPBACK}:{settings.nats_port}"
    bus = Bus("command line", url, keys.hub, ca=settings.home / "pki" / "ca.pem")
    await bus.open(within_s=within_s)
    return bus
