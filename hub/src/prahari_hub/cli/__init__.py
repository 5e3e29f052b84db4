"""prahari-hub: set up and run the hub, and do from a shell what the console does. Safe beside a running hub.

A file a subject. Every command imports what it needs when it runs: most of the hub is not needed to add an account, and a Pi takes
seconds to import it.
"""

from __future__ import annotations

import gc

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

# looking for cycles, of which imports make none, took a tenth of a start
gc.set_threshold(50_000, 20, 100)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=CONTEXT, help=HELP)
run.add_to(app)
keeping.add_to(app)
health.add_to(app)
app.add_typer(people.user_app, name="user")
app.add_typer(people.token_app, name="token")
app.add_typer(audit.app, name="audit")
app.add_typer(places.zone_app, name="zone")
app.add_typer(places.site_app, name="site")
app.add_typer(devices.app, name="device")
app.add_typer(history.app, name="history")
app.add_typer(evidence.app, name="evidence")
app.add_typer(keys.app, name="key")
app.add_typer(broker.app, name="broker")
