"""prahari-hub: set up and run the hub, and do from a shell what the console does. Safe beside a running hub."""

from __future__ import annotations

import gc
import sys

# looking for cycles, of which imports make none, took a tenth of a start
gc.set_threshold(50_000, 20, 100)


def app() -> None:
    """The program. A plain ``serve`` does without the command-line library, whose loading takes a tenth of its start."""
    if sys.argv[1:] == ["serve"]:
        sys.exit(serve())
    from prahari_hub.cli.commands import typer_app

    typer_app()


def serve() -> int:
    """Run the hub as its environment and hub.toml say; an error of its own is one sentence and status 1."""
    from prahari_hub.errors import HubError

    try:
        from prahari_hub import settings

        given = settings.load()
        # seconds on a small machine, which whoever mistyped a setting need not wait
        from prahari_hub import main

        main.serve(given)
    except HubError as error:
        print(f"prahari-hub: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while it still loads; afterwards Ctrl-C is asked for in main
        return 1
    return 0
