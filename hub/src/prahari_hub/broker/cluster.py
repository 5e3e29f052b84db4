"""Files for brokers on machines of their own: a cluster of nodes in the centre, and nodes in cities that hang on it.

Each node gets a folder to be copied to its machine: nats.conf, node.pem, node.key, ca.pem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prahari_hub.broker.config import CLUSTER, Cluster, Plan, render
from prahari_hub.broker.files import private_folder, write_private
from prahari_hub.broker.keys import Keys
from prahari_hub.errors import SetupError

MQTT_PORT, NATS_PORT, ROUTE_PORT, LEAF_PORT = 8883, 4222, 6222, 7422
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a node serves devices and hubs of other machines
SIZES = (1, 3, 5)
"""Sessions are kept by a majority of the nodes: an even number stands no more losses than the odd one below it."""

Certify = Callable[[Path, Sequence[str]], None]
"""Writes node.pem, node.key and ca.pem for these names into a folder."""


@dataclass(frozen=True)
class Node:
    """``host`` is the name or address by which devices, hubs and other nodes reach it."""

    name: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Node:
        """``a=broker-a.example``; SetupError if it is not so."""
        name, equals, host = text.partition("=")
        if not (equals and host and name.isidentifier()):
            raise SetupError(f"{text[:60]!r} is not NAME=HOST, for instance a=broker-a.example")
        return cls(name, host)


def write_nodes(
    folder: Path,
    keys: Keys,
    nodes: Sequence[Node],
    leaves: Sequence[Node],
    *,
    at: Path,
    names: Sequence[str],
    certify: Certify,
) -> list[Path]:
    """A folder a node below ``folder``; ``at`` is where its files will lie on the node's machine, with ``{name}`` for the node's,
    and ``names`` what devices call the hub."""
    if len(nodes) not in SIZES:
        raise SetupError(f"a cluster has {', '.join(map(str, SIZES))} nodes, not {len(nodes)}: name 3")
    if len({node.name for node in (*nodes, *leaves)}) < len(nodes) + len(leaves):
        raise SetupError("two nodes have the same name: give each one of its own")
    if any(leaf.name == CLUSTER for leaf in leaves):
        raise SetupError(f"a city's node cannot be named {CLUSTER}, as the cluster is: give it another name")
    made = []
    for node in (*nodes, *leaves):
        own = private_folder(folder / node.name)
        certify(own, [node.host, *names, "localhost", "127.0.0.1"])
        plan = plan_of(node, nodes, at=at, leaves=bool(leaves))
        write_private(own / "nats.conf", render(plan, keys).encode())
        made.append(own)
    return made


def plan_of(node: Node, nodes: Sequence[Node], *, at: Path, leaves: bool) -> Plan:
    """A node of the cluster, or a city's if it is none of ``nodes``."""
    core = node in nodes
    at = Path(str(at).replace("{name}", node.name))
    others = tuple(f"{other.host}:{ROUTE_PORT}" for other in nodes if other != node)
    return Plan(
        at,
        MQTT_PORT,
        NATS_PORT,
        at / "node.pem",
        at / "node.key",
        at / "ca.pem",
        listen=EVERYWHERE,
        name=node.name,
        nats_listen=EVERYWHERE,
        cluster=Cluster(f"{EVERYWHERE}:{ROUTE_PORT}", others) if core and others else None,
        leaves=f"{EVERYWHERE}:{LEAF_PORT}" if core and leaves else None,
        centre=() if core else tuple(f"tls://{each.host}:{LEAF_PORT}" for each in nodes),
    )
