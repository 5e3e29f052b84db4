"""Zones and sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prahari_hub.cli.shell import SHELL, Home, all_of, show, write

if TYPE_CHECKING:
    from prahari_hub.store import Unit

ZoneId = Annotated[str, typer.Argument(help="Its id.")]
SiteId = Annotated[str, typer.Argument(help="Its id.")]

zone_app = typer.Typer(no_args_is_help=True, help="Administrative areas.")
site_app = typer.Typer(no_args_is_help=True, help="Places where devices stand.")


@zone_app.command("add")
def add_zone(
    zone: Annotated[str, typer.Argument(help="Its id, such as kasba-peth.")],
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    parent: Annotated[str | None, typer.Option(help="Id of the zone that it is part of.")] = None,
    home: Home = None,
) -> None:
    """Add a zone."""
    from prahari_hub.fleet import registry

    write(home, lambda unit: registry.create_zone(unit, SHELL, zone, name, parent=parent))
    print(f"Zone {zone} is there.")


@zone_app.command("set")
def change_zone(
    zone: ZoneId,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    parent: Annotated[
        str | None, typer.Option(help="Id of the zone that it is part of; '' for none.")
    ] = None,
    home: Home = None,
) -> None:
    """Change a zone's name or what it is part of; what is left out stays."""
    from prahari_hub.fleet import registry

    def work(unit: Unit) -> None:
        old = registry.zone_of(unit.conn, zone)
        above = old["parent_id"] if parent is None else parent or None
        registry.put_zone(unit, SHELL, zone, old["name"] if name is None else name, parent=above)

    write(home, work)
    print(f"Zone {zone} is changed.")


@zone_app.command("remove")
def remove_zone(zone: ZoneId, home: Home = None) -> None:
    """Remove a zone that nothing stands in."""
    from prahari_hub.fleet import registry

    write(home, lambda unit: registry.delete_zone(unit, SHELL, zone))
    print(f"Zone {zone} is gone.")


@zone_app.command("list")
def list_zones(home: Home = None) -> None:
    """All zones."""
    from prahari_hub.fleet import queries as fleet

    rows = all_of(home, fleet.list_zones)
    show("Zones", ("id", "name", "part of"), [(row["id"], row["name"], row["parent_id"]) for row in rows])


@site_app.command("add")
def add_site(
    site: Annotated[str, typer.Argument(help="Its id, such as shaniwar-wada.")],
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    lat: Annotated[float, typer.Option(help="Latitude in degrees.")],
    lon: Annotated[float, typer.Option(help="Longitude in degrees.")],
    zone: Annotated[str | None, typer.Option(help="Id of its zone.")] = None,
    home: Home = None,
) -> None:
    """Add a site."""
    from prahari_hub.fleet import registry

    write(home, lambda unit: registry.create_site(unit, SHELL, site, name, lat=lat, lon=lon, zone=zone))
    print(f"Site {site} is there.")


@site_app.command("set")
def change_site(
    site: SiteId,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    lat: Annotated[float | None, typer.Option(help="Latitude in degrees.")] = None,
    lon: Annotated[float | None, typer.Option(help="Longitude in degrees.")] = None,
    zone: Annotated[str | None, typer.Option(help="Id of its zone; '' for none.")] = None,
    home: Home = None,
) -> None:
    """Change a site's name, position or zone; what is left out stays."""
    from prahari_hub.fleet import registry

    def work(unit: Unit) -> None:
        old = registry.site_of(unit.conn, site)
        given = {"name": name, "lat": lat, "lon": lon}
        new: dict[str, Any] = {key: old[key] if value is None else value for key, value in given.items()}
        where = old["zone_id"] if zone is None else zone or None
        registry.put_site(unit, SHELL, site, **new, zone=where)

    write(home, work)
    print(f"Site {site} is changed.")


@site_app.command("remove")
def remove_site(site: SiteId, home: Home = None) -> None:
    """Remove a site where no device stands."""
    from prahari_hub.fleet import registry

    write(home, lambda unit: registry.delete_site(unit, SHELL, site))
    print(f"Site {site} is gone.")


@site_app.command("list")
def list_sites(home: Home = None) -> None:
    """All sites."""
    from prahari_hub.fleet import queries as fleet

    columns = ("id", "name", "zone_id", "lat", "lon")
    rows = all_of(home, fleet.list_sites)
    show("Sites", columns, [[row[column] for column in columns] for row in rows])
