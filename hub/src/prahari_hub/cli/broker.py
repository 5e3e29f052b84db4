"""Brokers on machines of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prahari_hub.cli.shell import Home, load, told

app = typer.Typer(no_args_is_help=True, help="Brokers on machines of their own.")


@app.command("config")
def config(
    node: Annotated[
        list[str],
        typer.Option(help="NAME=HOST of a node of the cluster; give three of them.", metavar="NAME=HOST"),
    ],
    leaf: Annotated[
        list[str] | None,
        typer.Option(help="NAME=HOST of a node in a city, which hangs on the cluster.", metavar="NAME=HOST"),
    ] = None,
    at: Annotated[
        Path, typer.Option(help="Where the files will lie on each node's machine; {name} is the node's.")
    ] = Path("/var/lib/prahari-nats"),
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; broker/nodes in the home if left out.")
    ] = None,
    home: Home = None,
) -> None:
    """Write configuration and certificate of each node of a NATS cluster, a folder a node, to be copied to its machine."""
    from prahari_wire.base import now_utc

    from prahari_hub.broker.cluster import Node, write_nodes
    from prahari_hub.broker.keys import open_keys
    from prahari_hub.identity.ca import open_authority

    with told():
        settings = load(home)
        now = now_utc()
        authority = open_authority(settings.home, city=settings.city, now=now)
        folder = out or settings.home / "broker" / "nodes"
        made = write_nodes(
            folder,
            open_keys(settings.nats_seed_file or settings.home / "broker" / "keys.json"),
            [Node.parse(text) for text in node],
            [Node.parse(text) for text in leaf or []],
            at=at,
            names=settings.hosts,
            certify=lambda own, names: authority.node_certificate(own, names, now=now),
        )
    for each in made:
        there = str(at).replace("{name}", each.name)
        print(
            f"{each}: copy it to {there} on the node, for its user alone, and start nats-server --config {there}/nats.conf"
        )
    urls = ",".join(f"tls://{text.partition('=')[2]}:4222" for text in node)
    print(f"Start the hub's processes with PRAHARI_NATS_URL={urls}")
