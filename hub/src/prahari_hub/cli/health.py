"""Is the hub well?"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from prahari_hub.cli.shell import Home, load, told
from prahari_hub.errors import HubError, SetupError

if TYPE_CHECKING:
    from prahari_hub.operations.doctor.findings import Finding
    from prahari_hub.settings import Settings
    from prahari_hub.store import Store

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Leave out what reads the whole database: its pages and the audit log."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    home: Home = None,
) -> None:
    """Look at everything that may be wrong with the hub, running or not, and say what to do; exit code 1 if something fails."""
    from prahari_hub.operations.doctor import examine, worst
    from prahari_hub.operations.doctor.findings import Level, Look

    with told():
        settings = load(home)
        if settings.database_url is None and not (settings.home / "hub.db").exists():
            raise SetupError(
                f"there is no hub in {settings.home}; make one with prahari-hub init, or restore one with prahari-hub restore"
            )
    store = _store(settings)
    try:
        found = examine(Look(settings, datetime.now(UTC), store, thorough=not quick))
    finally:
        if store is not None:
            store.close()
    if as_json:
        print(
            json.dumps(
                {"worst": str(worst(found)), "findings": [finding.as_json() for finding in found]}, indent=1
            )
        )
    else:
        _print(found)
    if worst(found) is Level.FAIL:
        raise typer.Exit(1)


def _store(settings: Settings) -> Store | None:
    """None where it does not open: the doctor's check of the database says why."""
    from prahari_hub.store import Store

    try:
        return Store.open(settings.store_url)
    except HubError as error:
        print(f"prahari-hub: {error}", file=sys.stderr)
        return None


def _print(found: list[Finding]) -> None:
    for finding in found:
        print(f"{MARKS[finding.level]}  {finding.subject}: {finding.said()}")
        if (advice := finding.advice()) is not None:
            print(f"      → {advice}")
