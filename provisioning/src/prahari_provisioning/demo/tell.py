"""What the demo tells a person once it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from prahari_provisioning.demo.people import ADMIN, OPERATOR

if TYPE_CHECKING:
    from prahari_provisioning.demo.run import Demo


def ready(demo: Demo, passwords: Mapping[str, str], login: str, *, seconds: float) -> None:
    """Address, people, token file and what to try; plain lines, so that a terminal's width cuts no link."""
    table = Table(
        title=f"Prahari is ready ({seconds:.0f} s). Ctrl-C stops everything.", show_header=False, expand=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Console", demo.console)
    table.add_row("Log in as operator (works once)", login)
    table.add_row("or by password", f"{OPERATOR}   {passwords[OPERATOR]}")
    table.add_row("The admin", f"{ADMIN} {passwords[ADMIN]}   in a private window, to be two people at once")
    table.add_row("API token", str(demo.token_file))
    table.add_section()
    for what, how in _to_try(demo):
        table.add_row(what, how)
    # as wide as its longest line: a link that a terminal wraps can still be clicked and copied, one cut by a table cannot
    console = Console(width=500)
    console.width = console.measure(table).maximum
    console.print(table)


def _to_try(demo: Demo) -> list[tuple[str, str]]:
    press = f".venv/bin/prahari-agent press --home {demo.agent_home('pune-ecb-01')}"
    return [
        ("1. Watch the camera", demo.watches),
        (
            "2. Ask for footage",
            "Incidents, one of the camera's: Ask for its footage. The admin approves it under Footage",
        ),
        ("3. Press the call box", f"{press}\nthen acknowledge it under Incidents: the lamp turns steady"),
        ("4. Change the sign", "Displays, pune-vms-01: write a message, look at the preview, confirm"),
    ]
