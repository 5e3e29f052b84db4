"""Make a hub and run it."""

from __future__ import annotations

from typing import Annotated

import typer

from prahari_hub.cli.shell import Home, load, told


def add_to(app: typer.Typer) -> None:
    for command in (init, serve):
        app.command()(command)


def init(
    home: Home = None,
    broker_config: Annotated[
        bool,
        typer.Option(
            help="Also write broker/nats.conf, for a nats-server that is started apart from the hub."
        ),
    ] = False,
) -> None:
    """Make the hub's home, keys and database, and print the first admin's one-time set-up token. Again does no harm."""
    from prahari_hub.access import links, users
    from prahari_hub.broker.role import write_configuration
    from prahari_hub.identity.service import open_identity
    from prahari_hub.store import Store
    from prahari_hub.store.migrate import migrate

    with told():
        settings = load(home)
        store = Store.open(settings.store_url)
        try:
            migrate(store.engine)
            authority = open_identity(settings.home, store, city=settings.city).authority
            if broker_config:
                authority.server_certificate(settings.hosts, now=store.clock())
                certificate, key = authority.server_files
                write_configuration(settings, certificate=certificate, key=key, ca=authority.ca_file)
            token = None
            if not store.read_sync(users.has_admin):
                token = store.write_sync(links.make_setup_token)
        finally:
            store.close()
    print(f"The hub in {settings.home} is ready: start it with prahari-hub serve.")
    if token is not None:
        print("Make the first admin, once, within 7 days, at:")
        print(f"http://localhost:{settings.console_port}{links.SETUP_PATH}?token={token}")


def serve(
    home: Home = None,
    roles: Annotated[
        str | None,
        typer.Option(help="What this process does: broker,web,ingest,scheduler; all if left out."),
    ] = None,
    partitions: Annotated[
        str | None,
        typer.Option(help="The only partitions it takes as ingest, such as 0-7; a fair share if left out."),
    ] = None,
) -> None:
    """Run the hub, or some of its roles, until Ctrl-C."""
    given = {"roles": roles, "partitions": partitions}
    with told():
        settings = load(home, **{name: value for name, value in given.items() if value is not None})
        from prahari_hub.main import serve as run

        run(settings)
