"""Cut a live connection: what the callout remembers at once, then every connection that the servers themselves list."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from nats.errors import Error

from prahari_hub.broker.callout import Connection
from prahari_hub.broker.connection import Bus
from prahari_hub.errors import Unavailable
from prahari_hub.log import about

ANSWERS_S = 0.3
"""How long servers of a cluster may take to list a device's connections."""
MOST_UNANSWERED = 4096
log = logging.getLogger(__name__)


class Kicker:
    """Speaks in the system account. ``remembered`` is the callout's table (another process's hub may have an empty one)."""

    def __init__(self, bus: Bus, remembered: dict[str, Connection]) -> None:
        self._bus = bus
        self._remembered = remembered

    async def kick(self, device: str) -> int:
        """Cut the device's connections and return how many were found. Mark the device as revoked before."""
        known = self._remembered.pop(device, None)
        if known:
            await self.cut(known)
        listed = [found for found in await self._list(device) if found != known]
        for found in listed:
            await self.cut(found)
        count = len(listed) + (known is not None)
        log.info("kicked %s: %d connections", device, count, extra=about(device=device))
        return count

    async def cut(self, at: Connection) -> None:
        """Close one connection, also one that is still being let in."""
        request = json.dumps({"cid": at.client}).encode()
        try:
            await self._bus.request(f"$SYS.REQ.SERVER.{at.server}.KICK", request)
        except Unavailable as error:  # the server is gone, and the connection with it
            log.warning("kick of connection %d: %s", at.client, error)

    async def unanswered(self) -> set[Connection]:
        """Devices that have said who they are and wait for the hub's word. Unavailable while the broker is away."""
        request = {"auth": True, "limit": MOST_UNANSWERED}
        said = await self._bus.request("$SYS.REQ.SERVER.PING.CONNZ", json.dumps(request).encode())
        answer = json.loads(said)
        listed = (answer.get("data") or {}).get("connections") or []
        waiting = (each for each in listed if each.get("mqtt_client") and not each.get("account"))
        return {Connection(answer["server"]["id"], int(each["cid"])) for each in waiting}

    async def _list(self, device: str) -> list[Connection]:
        """Every server's answer within ANSWERS_S."""
        client = self._bus.client
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        found: list[Connection] = []
        request = json.dumps({"mqtt_client": device, "auth": False}).encode()
        try:
            await client.publish("$SYS.REQ.SERVER.PING.CONNZ", request, reply=inbox)
            async with asyncio.timeout(ANSWERS_S):
                while True:
                    message = await answers.next_msg(timeout=ANSWERS_S)
                    found += _connections(json.loads(message.data), device)
        except TimeoutError:
            return found
        except Error as error:
            raise Unavailable(f"the broker could not list connections: {error}") from error
        finally:
            await answers.unsubscribe()


def _connections(answer: dict[str, Any], device: str) -> list[Connection]:
    server = answer["server"]["id"]
    listed = (answer.get("data") or {}).get("connections") or []
    return [Connection(server, int(item["cid"])) for item in listed if item.get("mqtt_client") == device]
