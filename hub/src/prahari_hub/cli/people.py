"""Accounts of people and API tokens of programs."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prahari_hub.cli.shell import SHELL, Home, load, opened, show, write
from prahari_hub.http.actor import Role

RoleOption = Annotated[Role, typer.Option("--role", help="What it may do.")]
UserName = Annotated[str, typer.Argument(help="Name of the user.")]

user_app = typer.Typer(no_args_is_help=True, help="Accounts of people.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens of programs.")


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
    from prahari_hub.access import users

    password = None if no_password else read_password(password_file)
    write(home, lambda unit: users.add(unit, SHELL, name, password=password, role=role, locale=locale))
    print(f"{name} can sign in as {role}.")


@user_app.command("list")
def list_users(home: Home = None) -> None:
    """All accounts."""
    from prahari_hub.access import users

    with opened(home) as store:
        found = store.read_sync(users.listed)
    rows = [(u.name, u.role, u.locale, u.disabled, u.locked_until, u.created_at) for u in found]
    show("Users", ("name", "role", "language", "disabled", "locked until", "made"), rows)


@user_app.command("disable")
def disable_user(name: UserName, home: Home = None) -> None:
    """Keep somebody out, at once; the history stays."""
    from prahari_hub.access import users

    write(home, lambda unit: users.change(unit, SHELL, name, disabled=True))
    print(f"{name} is signed out and cannot sign in.")


@user_app.command("enable")
def enable_user(name: UserName, home: Home = None) -> None:
    """Let somebody in again."""
    from prahari_hub.access import users

    write(home, lambda unit: users.change(unit, SHELL, name, disabled=False))
    print(f"{name} can sign in again.")


@user_app.command("role")
def change_role(
    name: UserName, role: Annotated[Role, typer.Argument(help="The new role.")], home: Home = None
) -> None:
    """Change what somebody may do."""
    from prahari_hub.access import users

    write(home, lambda unit: users.change(unit, SHELL, name, role=role))
    print(f"{name} is {role} from the next log-in on.")


@user_app.command("password")
def set_password(
    name: UserName,
    password_file: Annotated[Path | None, typer.Option(help="Read it from this file.")] = None,
    home: Home = None,
) -> None:
    """Set a new password; it also unlocks the account and ends its sessions."""
    from prahari_hub.access import users

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
    from prahari_hub.access import links

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
    from prahari_hub.access import tokens

    scopes: tuple[Literal["read", "write"], ...] = ("read",) if read_only else tokens.SCOPES
    _, text = write(
        home,
        lambda unit: tokens.create(unit, SHELL, name, role=role, scopes=scopes, life=timedelta(days=days)),
    )
    print(text)


@token_app.command("list")
def list_tokens(home: Home = None) -> None:
    """All tokens that were ever made, without their secrets."""
    from prahari_hub.access import tokens

    with opened(home) as store:
        found = store.read_sync(tokens.listed)
    columns = ("id", "name", "role", "scopes", "created_by", "expires_at", "last_used_at", "revoked_at")
    show("API tokens", columns, [[getattr(token, column) for column in columns] for token in found])


@token_app.command("revoke")
def revoke_token(token: Annotated[str, typer.Argument(help="Id of the token.")], home: Home = None) -> None:
    """Void a token at once."""
    from prahari_hub.access import tokens

    write(home, lambda unit: tokens.revoke(unit, SHELL, token))
    print(f"The token {token} opens nothing any more.")


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
