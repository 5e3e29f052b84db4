"""``prahari-agent``: run, check, press, lamp, clip, model, enrol, version."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path


def app() -> None:
    """The program. Its plainest calls do without the command-line library: its memory would stay with ``run`` for months,
    its loading is most of the time of a ``press``.
    """
    match sys.argv[1:]:
        case ["run", "--home", home] if not home.startswith("-"):
            sys.exit(run_agent(Path(home)))
        case [("press" | "lamp") as asked, "--home", home] if not home.startswith("-"):
            from prahari_agent import control

            sys.exit(_tell(lambda: (control.press if asked == "press" else control.lamps)(Path(home))))
        case _:
            from prahari_agent.commandline import typer_app

            typer_app()


def run_agent(home: Path) -> int:
    """Run the agent; a box that is not set up gives one sentence and status 2."""
    gc.disable()  # looking for cycles, of which imports make none, took a tenth of a start
    from prahari_agent.errors import SetupError
    from prahari_agent.main import run

    gc.enable()
    try:
        return run(home)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2


def _tell(said: Callable[[], str]) -> int:
    from prahari_agent.errors import AgentError

    try:
        print(said())
    except AgentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    app()
