"""What every command needs: the home, the store of a hub that stands there, errors as one sentence, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from prahari_hub.errors import HubError, Invalid, SetupError
from prahari_hub.http.actor import Actor, Role

if TYPE_CHECKING:
    from prahari_hub.http.paging import Page
    from prahari_hub.settings import Settings
    from prahari_hub.store import Store, Unit

T = TypeVar("T")
SHELL = Actor("system:shell", Role.ADMIN, "system")

Home = Annotated[
    Path | None, typer.Option("--home", help="The hub's home; PRAHARI_HOME or .prahari/hub if left out.")
]


def load(home: Path | None, **given: str) -> Settings:
    """``given`` are settings that the command line names; they win over environment and hub.toml."""
    from prahari_hub import settings as configuration

    return configuration.load(**({} if home is None else {"home": home}), **given)


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
    from prahari_hub.store import Store

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


def all_of(home: Path | None, listed: Callable[..., Page[T]]) -> list[T]:
    """Every page of a list."""
    from functools import partial

    found: list[T] = []
    with opened(home) as store:
        cursor: str | None = None
        while True:
            page = store.read_sync(partial(listed, cursor=cursor, limit=500))
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people; lines with tabs where a program reads."""
    if not sys.stdout.isatty():
        for row in rows:
            print(*[cell(value) for value in row], sep="\t")
        return
    from rich.console import Console
    from rich.table import Table

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
