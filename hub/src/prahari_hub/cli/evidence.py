"""Sealed footage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prahari_hub.cli.shell import Home, load, told

if TYPE_CHECKING:
    from cryptography import x509

app = typer.Typer(no_args_is_help=True, help="Sealed footage.")


@app.command("verify")
def verify_package(
    file: Annotated[Path, typer.Argument(help="A sealed package, or a copy with persons hidden (.zip).")],
    home: Home = None,
) -> None:
    """Prove a sealed package or a copy of one, or name the first thing that does not hold; exit code 1 then, 3 for a damaged record."""
    import zipfile

    from prahari_wire.verifier import judged, verdict

    from prahari_hub.errors import NotFound
    from prahari_hub.evidence.judge import Keys

    with told():
        keys = Keys(*_believed(home))
        try:
            with zipfile.ZipFile(file) as package:
                flaws, said = judged(package, keys)
                code, last = (0, "") if flaws else verdict(package)
        except FileNotFoundError:
            raise NotFound(f"there is no file {file}") from None
        except zipfile.BadZipFile:
            print(f"BROKEN: {file.name} is not a ZIP file, or its end was cut off.")
            raise typer.Exit(1) from None
    if flaws:
        print(f"BROKEN: {flaws[0].where}: {flaws[0].sentence}.")
        raise typer.Exit(1)
    print("\n".join(said))
    print(last)
    raise typer.Exit(code)


@app.command("trust")
def print_trust(home: Home = None) -> None:
    """Print what others verify this city's packages with (prahari-evidence --trust); nothing in it is secret."""
    import base64

    from cryptography.hazmat.primitives.serialization import Encoding

    with told():
        keys, root = _believed(home)
        city = load(home).city
    names = {name: base64.urlsafe_b64encode(raw).decode() for name, raw in keys.items()}
    print(
        json.dumps({"city": city, "root": root.public_bytes(Encoding.PEM).decode(), "keys": names}, indent=1)
    )


def _believed(home: Path | None) -> tuple[dict[str, bytes], x509.Certificate]:
    """(the hub's public keys, the city's root certificate); SetupError where no hub was made."""
    from cryptography import x509

    from prahari_hub.errors import SetupError
    from prahari_hub.identity.signer import open_signer

    folder = load(home).home
    root = folder / "pki" / "root.pem"
    if not root.exists():
        raise SetupError(
            f"there is no hub in {folder}; elsewhere verify with prahari-evidence and the city's file of keys"
        )
    return open_signer(folder).public_keys, x509.load_pem_x509_certificate(root.read_bytes())
