"""``prahari-agent``: run, check, press, lamp, clip, enrol, version."""

from __future__ import annotations

import sys
from pathlib import Path


def app() -> None:
    """The program. ``run --home DIR`` starts without the command-line library: that memory would stay for months."""
    match sys.argv[1:]:
        case ["run", "--home", home] if not home.startswith("-"):
            sys.exit(run_agent(Path(home)))
        case _:
            from prahari_agent.commandline import typer_app

            typer_app()


def run_agent(home: Path) -> int:
    """Run the agent; a box that is not set up gives one sentence and status 2."""
    from prahari_agent.errors import SetupError
    from prahari_agent.main import run

    try:
        return run(home)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    app()
