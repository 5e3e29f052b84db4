"""prahari-hub: set up and run the hub, and do from a shell what the console does. Safe beside a running hub."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from prahari_hub import settings as configuration
from prahari_hub.access import chain, links, tokens, users
from prahari_hub.errors import HubError, Invalid, SetupError
from prahari_hub.fleet import queries as fleet
from prahari_hub.fleet import registry
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.paging import Page
from prahari_hub.identity.spread import tell_running_hub
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit

T = TypeVar("T")
SHELL = Actor("system:shell", Role.ADMIN, "system")
CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings=CONTEXT, help=__doc__
)
user_app = typer.Typer(no_args_is_help=True, help="Accounts of people.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens of programs.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log.")
zone_app = typer.Typer(no_args_is_help=True, help="Administrative areas.")
site_app = typer.Typer(no_args_is_help=True, help="Places where devices stand.")
device_app = typer.Typer(no_args_is_help=True, help="Devices: the boxes at the sites.")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")
app.add_typer(zone_app, name="zone")
app.add_typer(site_app, name="site")
app.add_typer(device_app, name="device")

Home = Annotated[
    Path | None, typer.Option("--home", help="The hub's home; PRAHARI_HOME or .prahari/hub if left out.")
]
RoleOption = Annotated[Role, typer.Option("--role", help="What it may do.")]
ZoneId = Annotated[str, typer.Argument(help="Its id.")]
SiteId = Annotated[str, typer.Argument(help="Its id.")]
DeviceId = Annotated[str, typer.Argument(help="Its id.")]
UserName = Annotated[str, typer.Argument(help="Name of the user.")]


def load(home: Path | None) -> Settings:
    return configuration.load(**({} if home is None else {"home": home}))


@contextmanager
def told() -> Iterator[None]:
    """An error of the hub's own is one sentence on standard error and exit code 1."""
    try:
        yield
    except HubError as error:
        print(f"prahari-hub: {error}", file=sys.stderr)
        if isinstance(error, Invalid):
            for path, expected in error.fields:
                print(f"  {path}: {expected}", file=sys.stderr)
        raise typer.Exit(1) from None


@contextmanager
def opened(home: Path | None) -> Iterator[Store]:
    """The store of a hub that ``init`` has made."""
    with told():
        settings = load(home)
        if settings.database_url is None and not (settings.home / "hub.db").exists():
            raise SetupError(f"there is no hub in {settings.home}; make one with prahari-hub init")
        store = Store.open(settings.store_url)
        try:
            yield store
        finally:
            store.close()


def write(home: Path | None, work: Callable[[Unit], T]) -> T:
    with opened(home) as store:
        return store.write_sync(work)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people; lines with tabs where a program reads."""
    if not sys.stdout.isatty():
        for row in rows:
            print(*[cell(value) for value in row], sep="\t")
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[cell(value) for value in row])
    Console(markup=False, highlight=False).print(table)


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)


@app.command()
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
    from prahari_hub.broker.role import write_configuration
    from prahari_hub.identity.service import open_identity
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


@app.command()
def serve(home: Home = None) -> None:
    """Run the hub until Ctrl-C."""
    from prahari_hub.main import serve as run

    with told():
        run(load(home))


@user_app.command("add")
def add_user(
    name: UserName,
    role: RoleOption,
    locale: Annotated[str, typer.Option(help="en or hi")] = "en",
    password_file: Annotated[
        Path | None, typer.Option(help="Read the password from this file; asked for if left out.")
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Signs in by one-time links alone.")
    ] = False,
    home: Home = None,
) -> None:
    """Make an account."""
    password = None if no_password else read_password(password_file)
    write(home, lambda unit: users.add(unit, SHELL, name, password=password, role=role, locale=locale))
    print(f"{name} can sign in as {role}.")


@user_app.command("list")
def list_users(home: Home = None) -> None:
    """All accounts."""
    with opened(home) as store:
        found = store.read_sync(users.listed)
    rows = [(u.name, u.role, u.locale, u.disabled, u.locked_until, u.created_at) for u in found]
    show("Users", ("name", "role", "language", "disabled", "locked until", "made"), rows)


@user_app.command("disable")
def disable_user(name: UserName, home: Home = None) -> None:
    """Keep somebody out, at once; the history stays."""
    write(home, lambda unit: users.change(unit, SHELL, name, disabled=True))
    print(f"{name} is signed out and cannot sign in.")


@user_app.command("enable")
def enable_user(name: UserName, home: Home = None) -> None:
    """Let somebody in again."""
    write(home, lambda unit: users.change(unit, SHELL, name, disabled=False))
    print(f"{name} can sign in again.")


@user_app.command("role")
def change_role(
    name: UserName, role: Annotated[Role, typer.Argument(help="The new role.")], home: Home = None
) -> None:
    """Change what somebody may do."""
    write(home, lambda unit: users.change(unit, SHELL, name, role=role))
    print(f"{name} is {role} from the next log-in on.")


@user_app.command("password")
def set_password(
    name: UserName,
    password_file: Annotated[Path | None, typer.Option(help="Read it from this file.")] = None,
    home: Home = None,
) -> None:
    """Set a new password; it also unlocks the account and ends its sessions."""
    password = read_password(password_file)
    write(home, lambda unit: users.set_password(unit, SHELL, name, password))
    print(f"{name} has a new password.")


@user_app.command("login-link")
def login_link(
    name: UserName,
    base: Annotated[str | None, typer.Option(help="Address of the console.")] = None,
    home: Home = None,
) -> None:
    """Print an address that signs the user in once, within 12 hours."""
    token = write(home, lambda unit: links.make_login_link(unit, name))
    address = base or f"http://localhost:{load(home).console_port}"
    print(f"{address.rstrip('/')}{links.LOGIN_PATH}?token={token}")


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: RoleOption,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 90,
    read_only: Annotated[bool, typer.Option("--read-only", help="May read, may change nothing.")] = False,
    home: Home = None,
) -> None:
    """Make a token and print it, this once."""
    scopes: tuple[Literal["read", "write"], ...] = ("read",) if read_only else tokens.SCOPES
    _, text = write(
        home,
        lambda unit: tokens.create(unit, SHELL, name, role=role, scopes=scopes, life=timedelta(days=days)),
    )
    print(text)


@token_app.command("list")
def list_tokens(home: Home = None) -> None:
    """All tokens that were ever made, without their secrets."""
    with opened(home) as store:
        found = store.read_sync(tokens.listed)
    columns = ("id", "name", "role", "scopes", "created_by", "expires_at", "last_used_at", "revoked_at")
    show("API tokens", columns, [[getattr(token, column) for column in columns] for token in found])


@token_app.command("revoke")
def revoke_token(token: Annotated[str, typer.Argument(help="Id of the token.")], home: Home = None) -> None:
    """Void a token at once."""
    write(home, lambda unit: tokens.revoke(unit, SHELL, token))
    print(f"The token {token} opens nothing any more.")


@audit_app.command("verify")
def verify_audit(
    head: Annotated[str | None, typer.Option(help="A hash noted earlier that must still be there.")] = None,
    home: Home = None,
) -> None:
    """Check the audit log's hash chain; exit code 1 names the first row that is not as it was."""
    with opened(home) as store:
        found = store.read_sync(lambda conn: chain.verify(conn, head))
    if found.broken is not None:
        print(
            f"BROKEN at row {found.broken}: {found.reason}. {found.sealed} rows before it are as they were."
        )
        raise typer.Exit(1)
    print(f"{found.sealed} rows are as they were sealed. Note this hash elsewhere: {found.head or '-'}")
    if found.unsealed:
        print(f"{found.unsealed} newer rows are not sealed yet; a running hub seals them within 2 seconds.")


@zone_app.command("add")
def add_zone(
    zone: Annotated[str, typer.Argument(help="Its id, such as kasba-peth.")],
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    parent: Annotated[str | None, typer.Option(help="Id of the zone that it is part of.")] = None,
    home: Home = None,
) -> None:
    """Add a zone."""
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

    def work(unit: Unit) -> None:
        old = registry.zone_of(unit.conn, zone)
        above = old["parent_id"] if parent is None else parent or None
        registry.put_zone(unit, SHELL, zone, old["name"] if name is None else name, parent=above)

    write(home, work)
    print(f"Zone {zone} is changed.")


@zone_app.command("remove")
def remove_zone(zone: ZoneId, home: Home = None) -> None:
    """Remove a zone that nothing stands in."""
    write(home, lambda unit: registry.delete_zone(unit, SHELL, zone))
    print(f"Zone {zone} is gone.")


@zone_app.command("list")
def list_zones(home: Home = None) -> None:
    """All zones."""
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
    write(home, lambda unit: registry.delete_site(unit, SHELL, site))
    print(f"Site {site} is gone.")


@site_app.command("list")
def list_sites(home: Home = None) -> None:
    """All sites."""
    columns = ("id", "name", "zone_id", "lat", "lon")
    rows = all_of(home, fleet.list_sites)
    show("Sites", columns, [[row[column] for column in columns] for row in rows])


@device_app.command("add")
def add_device(
    device: Annotated[str, typer.Argument(help="Its id: 3 to 32 of a-z, 0-9 and '-'.")],
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    site: Annotated[str | None, typer.Option(help="Id of the site where it stands.")] = None,
    home: Home = None,
) -> None:
    """Register a device; prahari-provision claim then lets it enrol."""
    write(home, lambda unit: registry.create_device(unit, SHELL, device, name=name, site=site))
    print(f"Device {device} is registered; make its claim with prahari-provision claim {device}.")


@device_app.command("set")
def change_device(
    device: Annotated[str, typer.Argument(help="Its id.")],
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    site: Annotated[str | None, typer.Option(help="Id of the site where it stands now.")] = None,
    service: Annotated[str | None, typer.Option(help=f"One of {', '.join(registry.SERVICES)}.")] = None,
    home: Home = None,
) -> None:
    """Change a device's name, site or state of service."""
    given = {"name": name, "site": site, "service": service}
    changes = {key: value for key, value in given.items() if value is not None}
    write(home, lambda unit: registry.change_device(unit, SHELL, device, changes))
    if service is not None:
        asyncio.run(tell_running_hub(load(home), device))
    print(f"Device {device} is changed.")


@device_app.command("retire")
def retire_device(device: DeviceId, home: Home = None) -> None:
    """Take a device out of service: it is cut off and refused until it is active again."""
    serve_as(home, device, "retired")
    print(f"Device {device} is retired.")


@device_app.command("activate")
def activate_device(device: DeviceId, home: Home = None) -> None:
    """Take a device (back) into service."""
    serve_as(home, device, "active")
    print(f"Device {device} is active.")


def serve_as(home: Path | None, device: str, service: str) -> None:
    write(home, lambda unit: registry.change_device(unit, SHELL, device, {"service": service}))
    asyncio.run(tell_running_hub(load(home), device))


@device_app.command("revoke")
def revoke_device(
    device: DeviceId,
    reason: Annotated[str, typer.Option(help="Why: it stands in the audit log.")],
    home: Home = None,
) -> None:
    """Void a device's certificates and open claims; a running hub cuts it at once. It needs a new claim to come back."""
    from prahari_hub.identity.service import open_identity

    with opened(home) as store:
        settings = load(home)
        identity = open_identity(settings.home, store, city=settings.city)
        count = store.write_sync(lambda unit: identity.revoke(unit, SHELL, device, reason))
        told_hub = asyncio.run(tell_running_hub(settings, device))
    heard = "the running hub cuts it" if told_hub else "no hub runs here; the next one refuses it"
    print(f"Device {device}: {count} certificates are void; {heard}.")


@device_app.command("list")
def list_devices(home: Home = None) -> None:
    """All devices with their presence."""
    rows = all_of(home, partial(fleet.list_devices, wanted=fleet.Filter()))
    found = [(d.id, d.name, d.site.id if d.site else None, d.service, d.presence, d.last_seen) for d in rows]
    show("Devices", ("id", "name", "site", "service", "presence", "last seen"), found)


def all_of(home: Path | None, listed: Callable[..., Page[T]]) -> list[T]:
    """Every page of a list."""
    found: list[T] = []
    with opened(home) as store:
        cursor: str | None = None
        while True:
            page = store.read_sync(partial(listed, cursor=cursor, limit=500))
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


def read_password(file: Path | None) -> str:
    """From a file (its first line), or asked for twice without showing it."""
    if file is None:
        answer: Any = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return str(answer)
    try:
        return file.read_text().splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        print(f"prahari-hub: no password can be read from {file}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
