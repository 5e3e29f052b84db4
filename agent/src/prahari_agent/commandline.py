"""The commands of ``prahari-agent`` that a person types."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer

from prahari_agent import control
from prahari_agent.errors import AgentError

typer_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The agent of a Prahari roadside box."
)

model_app = typer.Typer(no_args_is_help=True, help="Models of cameras.")
typer_app.add_typer(model_app, name="model")

Home = Annotated[Path, typer.Option("--home", help="The agent's home folder.", envvar="PRAHARI_AGENT_HOME")]
DEFAULT_HOME = Path("/var/lib/prahari")


@typer_app.command()
def run(home: Home = DEFAULT_HOME) -> None:
    """Serve the box's peripherals until stopped."""
    from prahari_agent.cli import run_agent

    raise typer.Exit(run_agent(home))


@typer_app.command()
def check(home: Home = DEFAULT_HOME) -> None:
    """Say in plain words what works on this box and what does not; exits with 1 if something fails."""
    from prahari_agent.diagnose import examine

    findings = examine(home)
    for finding in findings:
        typer.echo(finding.line())
    bad = sum(not finding.good for finding in findings)
    typer.echo(f"\n{bad} of {len(findings)} need attention." if bad else "\nEverything works.")
    raise typer.Exit(1 if any(finding.failed for finding in findings) else 0)


@typer_app.command()
def press(
    home: Home = DEFAULT_HOME,
    hold: Annotated[float, typer.Option(help="Seconds to hold the button down.")] = 0.2,
    pin: Annotated[
        int | None, typer.Option(help="Pin of the button, where there are several call boxes.")
    ] = None,
) -> None:
    """Press the button of a simulated call box."""
    _tell(lambda: control.press(home, hold_s=hold, pin=pin))


@typer_app.command()
def lamp(home: Home = DEFAULT_HOME) -> None:
    """Say what the lamp of a simulated call box shows: off, blinking or steady."""
    _tell(lambda: control.lamps(home))


def _tell(said: Callable[[], str]) -> None:
    try:
        typer.echo(said())
    except AgentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@typer_app.command()
def clip(
    file: Annotated[Path, typer.Argument(help="Where the clip is written, e.g. street.mp4.")],
    seed: Annotated[int, typer.Option(help="The same seed draws the same clip.")] = 1,
    scene: Annotated[
        str, typer.Option(help="passages, incidents, day, night, rain, evening or failing.")
    ] = "passages",
) -> None:
    """Draw a street scene as a video file, its truth beside it: for a camera that has no source."""
    from prahari_agent.street.clip import ensure_clip
    from prahari_agent.street.scenes import SCENES

    if scene not in SCENES:
        typer.echo(f"there is no scene {scene!r}: give one of {', '.join(SCENES)}", err=True)
        raise typer.Exit(2)
    try:
        ensure_clip(file, seed, scene)
    except AgentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@model_app.command("check")
def model_check(
    manifest: Annotated[Path, typer.Argument(help="The model's manifest, e.g. street.toml.")],
    frames: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures with truth.jsonl; drawn streets are looked at if left out."),
    ] = None,
) -> None:
    """Run pictures whose objects are known through a model: refuses wrong labels, box orders and pixel ranges by name."""
    from prahari_agent import golden

    try:
        report = golden.check(manifest, golden.from_folder(frames) if frames else golden.drawn())
    except AgentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo("\n".join(report.lines()))


@typer_app.command()
def enrol(home: Home = DEFAULT_HOME) -> None:
    """Get this box's certificate with the seed in its home, then stop; running does the same by itself."""
    from prahari_agent.clock import Clock, saved_floor
    from prahari_agent.enrolment import prepare
    from prahari_agent.identity import Identity
    from prahari_agent.settings import load, open_home
    from prahari_agent.state import State

    try:
        settings = load(open_home(home))
        record = prepare(home, Identity(home), settings, Clock(saved_floor(State(home))))
    except AgentError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(f"This box is {record.device} of {record.hub}.")


@typer_app.command()
def version() -> None:
    """The installed version."""
    typer.echo(installed("prahari-agent"))
