"""What the demo tells a person once it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from prahari_provisioning.demo.run import Demo


def ready(demo: Demo, login: str, *, seconds: float) -> None:
    """Address, one-time log-in, token file and three things to try; plain lines, so that a terminal's width cuts no link."""
    table = Table(
        title=f"Prahari is ready ({seconds:.0f} s). Ctrl-C stops everything.", show_header=False, expand=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Console", demo.console)
    table.add_row("Log in (works once)", login)
    table.add_row("API token", str(demo.token_file))
    table.add_section()
    press = f".venv/bin/prahari-agent press --home {demo.agent_home('pune-ecb-01')}"
    table.add_row(
        "1. Press the call box", f"{press}\nthen acknowledge it under Incidents: the lamp turns steady"
    )
    table.add_row("2. Watch the camera", "Incidents fill as something moves on the road of pune-cam-01")
    table.add_row(
        "3. Change the sign", "Displays, pune-vms-01: write a message, look at the preview, confirm"
    )
    # as wide as its longest line: a link that a terminal wraps can still be clicked and copied, one cut by a table cannot
    console = Console(width=500)
    console.width = console.measure(table).maximum
    console.print(table)
