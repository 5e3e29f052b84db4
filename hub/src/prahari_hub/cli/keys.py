"""The keys that sign what devices obey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prahari_hub.cli.shell import SHELL, Home, load, show, told, write

if TYPE_CHECKING:
    from prahari_hub.store import Unit

app = typer.Typer(
    no_args_is_help=True, help="The hub's signing keys: devices obey what one of them has signed."
)


@app.command("list")
def list_keys(home: Home = None) -> None:
    """The keys that devices believe; the first one signs."""
    from prahari_hub.identity.signer import open_signer

    with told():
        signer = open_signer(load(home).home)
    others = sorted(set(signer.public_keys) - {signer.current})
    show(
        "Signing keys", ("key", "use"), [(signer.current, "signs"), *((name, "believed") for name in others)]
    )


@app.command("roll-over")
def roll_over(home: Home = None) -> None:
    """Sign with a new key from the hub's next start on; devices learn it when they next connect and believe the old one too."""
    from prahari_hub.access.audit import record
    from prahari_hub.identity import signer

    def work(unit: Unit) -> str:
        name = signer.roll_over(load(home).home)
        record(unit, SHELL, "key.roll-over", f"key:{name}")
        return name

    name = write(home, work)
    print(
        f"The key {name} signs once the hub is started again. Forget the old one when every device has connected after that."
    )


@app.command("forget")
def forget(key: Annotated[str, typer.Argument(help="Id of an old key.")], home: Home = None) -> None:
    """Let devices believe an old key no longer; only after all of them have learned the present one."""
    from prahari_hub.access.audit import record
    from prahari_hub.errors import Conflict, NotFound
    from prahari_hub.identity import signer

    def work(unit: Unit) -> None:
        try:
            signer.forget(load(home).home, key)
        except KeyError:
            raise NotFound(f"there is no key {key}; prahari-hub key list names them") from None
        except ValueError as error:
            raise Conflict(str(error)) from None
        record(unit, SHELL, "key.forget", f"key:{key}")

    write(home, work)
    print(f"The key {key} is forgotten; start the hub again, and devices drop it when they next connect.")
