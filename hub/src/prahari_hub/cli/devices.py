"""Devices: the boxes at the sites."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from prahari_hub.cli.shell import SHELL, Home, all_of, load, opened, show, write

DeviceId = Annotated[str, typer.Argument(help="Its id.")]

app = typer.Typer(no_args_is_help=True, help="Devices: the boxes at the sites.")


@app.command("add")
def add_device(
    device: Annotated[str, typer.Argument(help="Its id: 3 to 32 of a-z, 0-9 and '-'.")],
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    site: Annotated[str | None, typer.Option(help="Id of the site where it stands.")] = None,
    vendor: Annotated[str | None, typer.Option(help="Who answers for it, as the figures name it.")] = None,
    model: Annotated[str | None, typer.Option(help="What it is.")] = None,
    home: Home = None,
) -> None:
    """Register a device; prahari-provision claim then lets it enrol."""
    from prahari_hub.fleet import registry

    given = {"name": name, "site": site, "vendor": vendor, "model": model}
    write(home, lambda unit: registry.create_device(unit, SHELL, device, **given))
    print(f"Device {device} is registered; make its claim with prahari-provision claim {device}.")


@app.command("set")
def change_device(
    device: Annotated[str, typer.Argument(help="Its id.")],
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    site: Annotated[str | None, typer.Option(help="Id of the site where it stands now.")] = None,
    vendor: Annotated[str | None, typer.Option(help="Who answers for it, as the figures name it.")] = None,
    model: Annotated[str | None, typer.Option(help="What it is.")] = None,
    service: Annotated[
        str | None, typer.Option(help="One of registered, active, maintenance, retired.")
    ] = None,
    home: Home = None,
) -> None:
    """Change a device's name, site, vendor, model or state of service."""
    from prahari_hub.fleet import registry
    from prahari_hub.identity.spread import tell_running_hub

    given = {"name": name, "site": site, "vendor": vendor, "model": model, "service": service}
    changes = {key: value for key, value in given.items() if value is not None}
    write(home, lambda unit: registry.change_device(unit, SHELL, device, changes))
    if service is not None:
        asyncio.run(tell_running_hub(load(home), device))
    print(f"Device {device} is changed.")


@app.command("retire")
def retire_device(device: DeviceId, home: Home = None) -> None:
    """Take a device out of service: it is cut off and refused until it is active again."""
    serve_as(home, device, "retired")
    print(f"Device {device} is retired.")


@app.command("activate")
def activate_device(device: DeviceId, home: Home = None) -> None:
    """Take a device (back) into service."""
    serve_as(home, device, "active")
    print(f"Device {device} is active.")


def serve_as(home: Path | None, device: str, service: str) -> None:
    from prahari_hub.fleet import registry
    from prahari_hub.identity.spread import tell_running_hub

    write(home, lambda unit: registry.change_device(unit, SHELL, device, {"service": service}))
    asyncio.run(tell_running_hub(load(home), device))


@app.command("revoke")
def revoke_device(
    device: DeviceId,
    reason: Annotated[str, typer.Option(help="Why: it stands in the audit log.")],
    home: Home = None,
) -> None:
    """Void a device's certificates and open claims; a running hub cuts it at once. It needs a new claim to come back."""
    from prahari_hub.identity.service import open_identity
    from prahari_hub.identity.spread import tell_running_hub

    with opened(home) as store:
        settings = load(home)
        identity = open_identity(settings.home, store, city=settings.city)
        count = store.write_sync(lambda unit: identity.revoke(unit, SHELL, device, reason))
        told_hub = asyncio.run(tell_running_hub(settings, device))
    heard = "the running hub cuts it" if told_hub else "no hub runs here; the next one refuses it"
    print(f"Device {device}: {count} certificates are void; {heard}.")


@app.command("list")
def list_devices(home: Home = None) -> None:
    """All devices with their presence."""
    from prahari_hub.fleet import queries as fleet

    rows = all_of(home, partial(fleet.list_devices, wanted=fleet.Filter()))
    found = [(d.id, d.name, d.site.id if d.site else None, d.service, d.presence, d.last_seen) for d in rows]
    show("Devices", ("id", "name", "site", "service", "presence", "last seen"), found)
