"""History: export to Parquet, and figures made anew."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from prahari_hub.cli.shell import Home, load, opened
from prahari_hub.errors import Invalid

DAY_FORMAT = "a day as 2026-03-01"
First = Annotated[str, typer.Option("--from", metavar="DAY", help="The first day, as 2026-03-01.")]
Last = Annotated[str, typer.Option("--to", metavar="DAY", help="The last day.")]

app = typer.Typer(no_args_is_help=True, help="What was measured and counted: export, and figures made anew.")


@app.command("export")
def export_history(
    first: First,
    last: Last,
    out: Annotated[Path, typer.Option(help="The folder of the file; it is made if it is not there.")],
    what: Annotated[
        Literal["health", "transitions", "events", "availability"], typer.Option(help="What to write.")
    ] = "health",
    step: Annotated[
        Literal["300", "3600", "86400"],
        typer.Option(help="Seconds of a step of health; 300 is kept for days only."),
    ] = "3600",
    home: Home = None,
) -> None:
    """Write days of history as one Parquet file, also beside a running hub. Needs pip install 'prahari-hub[export]'."""
    from zoneinfo import ZoneInfo

    from prahari_hub.fleet.export import export

    with opened(home) as store:
        zone = ZoneInfo(load(home).timezone)
        written = export(store, what, day(first), day(last), out=out, zone=zone, step_s=int(step))
    print(f"{written.rows} rows are in {written.path}.")


@app.command("recompute")
def recompute_figures(first: First, last: Last, home: Home = None) -> None:
    """Count the availability of closed days anew from the log of transitions, also beside a running hub."""
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    from prahari_hub.fleet.availability.closing import recompute
    from prahari_hub.fleet.availability.days import days

    with opened(home) as store:
        settings = load(home)
        wanted = days(day(first), day(last) + timedelta(days=1))
        recompute(store, wanted, ZoneInfo(settings.timezone), keep_days=settings.keep_events_days)
    print(f"{len(wanted)} days are counted anew.")


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text[:40]!r} is no day", ("from, to", DAY_FORMAT)) from None
