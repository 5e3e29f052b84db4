"""What each node of the broker says about itself."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

from nats.errors import Error

from prahari_hub.broker.connection import Bus
from prahari_hub.errors import Unavailable

ANSWERS_S = 0.3
"""How long the nodes of a cluster may take."""


class Node(NamedTuple):
    """A node by its name; ``slow`` counts connections that it cut because they did not read fast enough."""

    name: str
    version: str
    connections: int
    slow: int
    id: str = ""


async def nodes(system: Bus, *, expected: int = 1) -> list[Node]:
    """The nodes that answer in time, by name; ``system`` speaks in the system account. Unavailable while the broker is away.

    Cities' nodes are none of them: they hang on one node, and would make a part that was split off look greater.
    """
    try:
        return await _asked(system, expected)
    except Error as error:
        raise Unavailable(f"the broker does not tell about itself: {error}") from error


async def _asked(system: Bus, expected: int) -> list[Node]:
    client = system.client
    cluster = system.cluster
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    found: dict[str, Node] = {}
    try:
        await client.publish("$SYS.REQ.SERVER.PING.STATSZ", _only(cluster), reply=inbox)
        async with asyncio.timeout(ANSWERS_S):
            while len(found) < expected:
                message = await answers.next_msg(timeout=ANSWERS_S)
                if node := _node(message.data, cluster):
                    found[node.name] = node
    except TimeoutError:
        return sorted(found.values())  # a node is away
    finally:
        await answers.unsubscribe()
    return sorted(found.values())


def _only(cluster: str) -> bytes:
    """Spares cities' lines the answers of their nodes; a server takes a part of the name for the name."""
    return json.dumps({"cluster": cluster}).encode() if cluster else b""


def _node(payload: bytes, cluster: str) -> Node | None:
    body = json.loads(payload)
    server = body["server"]
    if server.get("cluster", "") != cluster:
        return None
    said = body["statsz"]
    slow = int(said.get("slow_consumers", 0))
    return Node(str(server["name"]), str(server["ver"]), int(said["connections"]), slow, str(server["id"]))
