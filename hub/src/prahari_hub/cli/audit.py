"""The audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from prahari_hub.cli.shell import Home, opened

app = typer.Typer(no_args_is_help=True, help="The audit log.")


@app.command("verify")
def verify_audit(
    head: Annotated[str | None, typer.Option(help="A hash noted earlier that must still be there.")] = None,
    home: Home = None,
) -> None:
    """Check the audit log's hash chain; exit code 1 names the first row that is not as it was."""
    from prahari_hub.access import chain

    with opened(home) as store:
        found = store.read_sync(lambda conn: chain.verify(conn, head))
    if found.broken is not None:
        print(
            f"BROKEN at row {found.broken}: {found.reason}. {found.sealed} rows before it are as they were."
        )
        raise typer.Exit(1)
    print(f"{found.sealed} rows are as they were sealed. Note this hash elsewhere: {found.head or '-'}")
    if found.unsealed:
        print(f"{found.unsealed} newer rows are not sealed yet; a running hub seals them within 2 seconds.")
