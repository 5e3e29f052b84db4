"""The command line.

A file a subject. Every command imports what it needs when it runs: most of the hub is not needed to add an account, and a Pi takes
seconds to import it.
"""

from __future__ import annotations

import typer

from prahari_hub.cli import (
    audit,
    broker,
    devices,
    evidence,
    health,
    history,
    keeping,
    keys,
    people,
    places,
    run,
)

CONTEXT = {"help_option_names": ["-h", "--help"]}
HELP = "prahari-hub: set up and run the hub, and do from a shell what the console does. Safe beside a running hub."

typer_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings=CONTEXT, help=HELP
)
run.add_to(typer_app)
keeping.add_to(typer_app)
health.add_to(typer_app)
typer_app.add_typer(people.user_app, name="user")
typer_app.add_typer(people.token_app, name="token")
typer_app.add_typer(audit.app, name="audit")
typer_app.add_typer(places.zone_app, name="zone")
typer_app.add_typer(places.site_app, name="site")
typer_app.add_typer(devices.app, name="device")
typer_app.add_typer(history.app, name="history")
typer_app.add_typer(evidence.app, name="evidence")
typer_app.add_typer(keys.app, name="key")
typer_app.add_typer(broker.app, name="broker")
