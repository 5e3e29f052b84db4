"""prahari-provision: the technician's command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from prahari_wire.seed import SEED_FILE, Seed
from prahari_wire.topics import is_device_id

from prahari_provisioning import boot as boots
from prahari_provisioning.errors import ProvisioningError
from prahari_provisioning.hub import Claim, Hub, read_token
from prahari_provisioning.seeds import make_seed, seed_bytes, seed_path, sha256
from prahari_provisioning.writing import check_writable, write_verified

app = typer.Typer(
    name="prahari-provision",
    help="Put boxes into service: claim, seed, revoke.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOCAL = {"127.0.0.1", "::1", "localhost"}

DeviceArgument = Annotated[
    str, typer.Argument(metavar="DEVICE", help="The device id, for instance pune-cam-01.")
]
HubOption = Annotated[str, typer.Option("--hub", envvar="PRAHARI_HUB", help="Address of the hub.")]
TokenOption = Annotated[
    Path, typer.Option("--token-file", envvar="PRAHARI_TOKEN", help="File that holds your API token.")
]
SiteOption = Annotated[str | None, typer.Option(help="The site where the box will stand.")]
TtlOption = Annotated[str | None, typer.Option(help="How long the claim holds: 15m, 24h, 7d.")]


@app.command()
def claim(
    device: DeviceArgument,
    hub: HubOption,
    token_file: TokenOption,
    site: SiteOption = None,
    ttl: TtlOption = None,
) -> None:
    """Make the one-time right of a device to enrol, and print its token once."""
    with _plain_failures(), _session(device, hub, token_file) as session:
        made = session.claim(device, site=site, ttl_s=_seconds(ttl))
        print(f"Token of {made.device}, good for one enrolment until {_when(made)}:", file=sys.stderr)
        print(made.token)


@app.command()
def seed(
    device: DeviceArgument,
    hub: HubOption,
    token_file: TokenOption,
    out: Annotated[Path | None, typer.Option(help="Write the seed file alone: a file or a folder.")] = None,
    boot: Annotated[
        Path | None, typer.Option(help="Write a whole card: where its boot partition is mounted.")
    ] = None,
    board: Annotated[
        str, typer.Option(help="The board: pi4, pi5, jetson-orin; anything with --out.")
    ] = "auto",
    site: SiteOption = None,
    ttl: TtlOption = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the box.")] = "Asia/Kolkata",
    address: Annotated[
        str | None, typer.Option(help="Fixed address with prefix length, for instance 10.4.0.7/24.")
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Gateway of a fixed address.")] = None,
    nameserver: Annotated[
        list[str] | None, typer.Option(help="Name server of a fixed address; repeatable.")
    ] = None,
    management_net: Annotated[
        str | None, typer.Option(help="Network that may use SSH, for instance 10.9.0.0/24.")
    ] = None,
    ssh_key: Annotated[Path | None, typer.Option(help="File of public keys of the user technician.")] = None,
    ntp: Annotated[list[str] | None, typer.Option(help="Time server; repeatable.")] = None,
    package_servers: Annotated[bool, typer.Option(help="Let the box reach package servers.")] = True,
    wheels: Annotated[
        Path | None, typer.Option(help="Folder with the agent's wheels and agent.txt for the card.")
    ] = None,
) -> None:
    """Make a claim and write the seed of a device: to a file, or with everything else onto a card."""
    with _plain_failures(), _session(device, hub, token_file) as session:
        _check_zone(timezone)
        goal = _goal(out, boot, board)
        box = boots.Box(
            address=address,
            gateway=gateway,
            nameservers=tuple(nameserver or ()),
            management_net=management_net,
            ssh_keys=_ssh_keys(ssh_key),
            ntp=tuple(ntp or boots.DEFAULT_NTP),
            package_servers=package_servers,
        )
        card = _wheels(wheels)
        enrolment = session.enrolment()
        made = session.claim(device, site=site, ttl_s=_seconds(ttl))
        content = make_seed(made, enrolment, board=board, timezone=timezone)
        for path in goal.write(content, box, card):
            print(f"written and read back: {path}", file=sys.stderr)
        print(f"The claim holds until {_when(made)}. SHA-256 of {SEED_FILE}:", file=sys.stderr)
        print(sha256(seed_bytes(content)))


@app.command()
def revoke(
    device: DeviceArgument,
    hub: HubOption,
    token_file: TokenOption,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")] = "revoked by a technician",
) -> None:
    """Take a device's identity away: its connection is cut and no new one is accepted."""
    with _plain_failures(), _session(device, hub, token_file) as session:
        session.revoke(device, reason=reason)
        print(f"{device} is revoked: the hub has cut it off and accepts it no more.")


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo keeps everything.")] = Path(".prahari/demo"),
    clip: Annotated[Path | None, typer.Option(help="A video that the camera plays.")] = None,
    model: Annotated[Path | None, typer.Option(help="The manifest of a TFLite model for it.")] = None,
    swarm: Annotated[int, typer.Option(min=0, help="So many light simulated devices beside.")] = 0,
) -> None:
    """Start a hub and three devices on this machine and keep them running until Ctrl-C."""
    from prahari_provisioning.demo.run import Demo

    with _plain_failures():
        Demo(home, clip=clip, model=model, swarm=swarm).run()


@contextmanager
def _plain_failures() -> Iterator[None]:
    """One sentence and exit status 1 instead of a trace."""
    try:
        yield
    except ProvisioningError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


@contextmanager
def _session(device: str, hub: str, token_file: Path) -> Iterator[Hub]:
    if not is_device_id(device):
        raise ProvisioningError(
            f"{device!r} is not a device id: 3 to 32 of a-z, 0-9 and '-', not starting with '-'."
        )
    token = read_token(token_file)
    if token_file.stat().st_mode & 0o077:
        print(f"Others can read {token_file}: run chmod 600 on it.", file=sys.stderr)
    parts = urlsplit(hub)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        print(
            f"{hub} is not encrypted: your token travels in the open. Use https:// outside of a test.",
            file=sys.stderr,
        )
    with Hub(hub, token) as session:
        yield session


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ProvisioningError(f"--ttl {text} is not understood: write for instance 15m, 24h or 7d.")
    return int(found[1]) * _UNITS[found[2]]


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ProvisioningError(f"There is no time zone {name!r}: write for instance Asia/Kolkata.") from None


@dataclass(frozen=True)
class _SeedFile:
    """The seed alone."""

    path: Path

    def write(self, seed: Seed, _box: boots.Box, _wheels: dict[str, bytes]) -> list[Path]:
        write_verified(self.path, seed_bytes(seed), mode=0o600)
        return [self.path]


@dataclass(frozen=True)
class _Card:
    """Everything that a card holds."""

    folder: Path
    board: boots.Board

    def write(self, seed: Seed, box: boots.Box, wheels: dict[str, bytes]) -> list[Path]:
        return _write_card(self.folder, self.board, boots.fill(seed, self.board, box), wheels)


def _goal(out: Path | None, boot: Path | None, board: str) -> _SeedFile | _Card:
    """Where the seed goes, once that is known to be writable and, for a card, the right place; before any claim is made."""
    if out and not boot:
        check_writable(seed_path(out).parent)
        return _SeedFile(seed_path(out))
    if boot and not out:
        profile = boots.board_named(board)
        boots.check_target(boot, profile)
        check_writable(boot)
        return _Card(boot, profile)
    raise ProvisioningError(
        "Say where the seed goes: --out FILE for the seed alone, or --boot DIR for a card."
    )


def _when(claim: Claim) -> str:
    return f"{claim.expires_at:%Y-%m-%d %H:%M %Z}"


def _ssh_keys(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        raise ProvisioningError(f"The file of SSH keys {path} cannot be read.") from None
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _wheels(folder: Path | None) -> dict[str, bytes]:
    """Name → content of what the first boot installs the agent from."""
    if folder is None:
        return {}
    names = sorted([*folder.glob("*.whl"), *folder.glob("agent.txt")])
    if not any(path.name == "agent.txt" for path in names) or not any(
        path.suffix == ".whl" for path in names
    ):
        raise ProvisioningError(
            f"{folder} must hold agent.txt and the wheels of prahari-agent and prahari-wire."
        )
    return {path.name: path.read_bytes() for path in names}


def _write_card(
    folder: Path, board: boots.Board, filled: boots.Filled, wheels: dict[str, bytes]
) -> list[Path]:
    """Write everything, the seed last, so that a card with a claim is a whole card."""
    written = []
    carried = folder if board.seed == "cloud-init" else folder / board.boot_folder.lstrip("/")
    for name, content in wheels.items():
        write_verified(carried / "prahari" / name, content)
        written.append(carried / "prahari" / name)
    if board.config_txt:
        config = folder / "config.txt"
        write_verified(config, boots.with_include(config.read_text(encoding="utf-8")).encode())
    for path, content in sorted(filled.files.items(), key=lambda item: item[0] in filled.private):
        mode = 0o600 if path in filled.private else 0o755 if path in filled.executable else 0o644
        write_verified(folder / path, content, mode=mode)
        written.append(folder / path)
    for path, goal in filled.links.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).unlink(missing_ok=True)
        (folder / path).symlink_to(goal)
    return written


if __name__ == "__main__":
    app()
