"""What a box's operating system gets: the templates of firmware-config/, filled in for one device and board."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from prahari_wire.seed import SEED_FILE, Seed
from pydantic import BaseModel, ConfigDict

from prahari_provisioning.errors import CannotWrite, ProvisioningError
from prahari_provisioning.seeds import seed_bytes, sha256

DEFAULT_NTP = ("time.nplindia.org", "samay1.nic.in", "samay2.nic.in")
INCLUDE = "include prahari.txt"


class Board(BaseModel):
    """A profile of firmware-config/boards. ``boot_folder`` is where the running box sees what was seeded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: Literal["cloud-init", "rootfs"]
    boot_folder: str
    watchdog_s: int
    config_txt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Box:
    """What a technician may say about one box. ``address`` with its prefix length; without it the network gives one."""

    address: str | None = None
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()
    management_net: str | None = None
    ssh_keys: tuple[str, ...] = ()
    ntp: tuple[str, ...] = DEFAULT_NTP
    package_servers: bool = True

    def __post_init__(self) -> None:
        _checked("--address", self.address, ipaddress.ip_interface)
        _checked("--gateway", self.gateway, ipaddress.ip_address)
        _checked("--management-net", self.management_net, ipaddress.ip_network)
        for server in self.nameservers:
            _checked("--nameserver", server, ipaddress.ip_address)
        if self.address and not (self.gateway and self.nameservers):
            raise ProvisioningError("A fixed --address also needs --gateway and at least one --nameserver.")
        for key in self.ssh_keys:
            if not key.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in key:
                raise ProvisioningError("The SSH key file must hold public keys, one a line (ssh-ed25519 …).")


def _checked(option: str, value: str | None, parse: Callable[[str], object]) -> None:
    if value is None:
        return
    try:
        parse(value)
    except ValueError as error:
        raise ProvisioningError(f"{option} {value} is not understood: {error}.") from None


@dataclass(frozen=True)
class BoxFile:
    """One file of the running box."""

    path: str
    text: str
    mode: str = "0644"


@dataclass(frozen=True)
class Filled:
    """What is written below the folder that the technician names: path → content, and which of them are private."""

    files: dict[PurePosixPath, bytes] = field(default_factory=dict)
    private: frozenset[PurePosixPath] = frozenset()
    executable: frozenset[PurePosixPath] = frozenset()
    links: dict[PurePosixPath, str] = field(default_factory=dict)


def firmware_folder() -> Path:
    """firmware-config, as the wheel carries it, or the repository's when installed from a checkout."""
    packed = Path(str(resources.files("prahari_provisioning"))) / "firmware"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[3] / "firmware-config"


def boards() -> dict[str, Board]:
    folder = firmware_folder() / "boards"
    return {
        path.stem: Board.model_validate(tomllib.loads(path.read_text()))
        for path in sorted(folder.glob("*.toml"))
    }


def board_named(name: str) -> Board:
    known = boards()
    if name not in known:
        raise ProvisioningError(f"There is no profile of a board {name!r}: choose one of {', '.join(known)}.")
    return known[name]


def fill(seed: Seed, board: Board, box: Box) -> Filled:
    """Everything that is written for ``seed``'s device. No file but the seed itself holds the claim."""
    files = box_files(seed, board, box)
    claim = {PurePosixPath(SEED_FILE): seed_bytes(seed)}
    if board.seed == "rootfs":
        return _as_rootfs(files, board, claim)
    values = {
        "device": seed.device,
        "timezone": seed.timezone,
        "instance_id": f"prahari-{seed.device}-{sha256(seed_bytes(seed))[:12]}",
        "files": files,
        "seed_file": SEED_FILE,
        "ssh_keys": box.ssh_keys,
        "address": box.address,
        "gateway": box.gateway,
        "nameservers": box.nameservers,
    }
    written = {
        PurePosixPath(name): render(f"raspberrypi/{name}.j2", **values).encode()
        for name in ("user-data", "network-config", "meta-data")
    }
    if board.config_txt:
        settings = firmware_folder() / "raspberrypi" / "config.txt.d" / board.config_txt
        written[PurePosixPath("prahari.txt")] = settings.read_bytes()
    return Filled(written | claim, private=frozenset(claim))


def box_files(seed: Seed, board: Board, box: Box) -> list[BoxFile]:
    """The files of the running box that are the same on every board but for the profile's values."""
    common = {"board": board, "seed_file": SEED_FILE}
    ports = sorted({int(seed.mqtt.rpartition(":")[2]), urlsplit(seed.hub).port or 443})
    return [
        BoxFile("/etc/systemd/system/prahari-agent.service", render("common/systemd/prahari-agent.service")),
        BoxFile(
            "/etc/systemd/system.conf.d/10-watchdog.conf",
            render("common/systemd/system.conf.d/10-watchdog.conf.j2", **common),
        ),
        BoxFile(
            "/etc/systemd/journald.conf.d/10-prahari.conf", render("common/journald.conf.d/10-prahari.conf")
        ),
        BoxFile("/etc/chrony/chrony.conf", render("common/chrony/prahari.conf.j2", ntp=box.ntp)),
        BoxFile(
            "/etc/nftables.conf",
            render(
                "common/nftables/prahari.nft.j2",
                management_net=box.management_net,
                ports=ports,
                package_servers=box.package_servers,
            ),
        ),
        BoxFile("/usr/local/sbin/prahari-first-boot", render("common/first-boot.sh.j2", **common), "0755"),
    ]


def render(template: str, **values: object) -> str:
    """One file of firmware-config; a value that a template asks for and nobody gives is an error."""
    # an eighth of every command's start, for what fills a card alone
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701  # configuration files, not HTML
        loader=FileSystemLoader(firmware_folder()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


def _as_rootfs(files: list[BoxFile], board: Board, claim: dict[PurePosixPath, bytes]) -> Filled:
    written = {PurePosixPath(file.path.lstrip("/")): file.text.encode() for file in files}
    seeded = PurePosixPath(board.boot_folder.lstrip("/"))
    private = {seeded / path: content for path, content in claim.items()}
    unit = "prahari-first-boot.service"
    written[PurePosixPath("etc/systemd/system") / unit] = render(f"jetson/{unit}").encode()
    return Filled(
        written | private,
        private=frozenset(private),
        executable=frozenset(PurePosixPath(file.path.lstrip("/")) for file in files if file.mode == "0755"),
        links={PurePosixPath("etc/systemd/system/multi-user.target.wants") / unit: f"../{unit}"},
    )


def check_target(folder: Path, board: Board) -> None:
    """CannotWrite unless ``folder`` looks like what ``board`` is seeded through."""
    proof, what = ("config.txt", "the boot partition of Raspberry Pi OS") if board.seed == "cloud-init" else (
        "etc",
        "the rootfs folder of Linux_for_Tegra",
    )  # fmt: skip
    if not (folder / proof).exists():
        raise CannotWrite(
            f"{folder} does not look like {what} (there is no {proof} in it): check where the card is mounted."
        )


def with_include(config_txt: str) -> str:
    """config.txt that includes prahari.txt, once."""
    if INCLUDE in config_txt.splitlines():
        return config_txt
    return f"{config_txt.rstrip()}\n\n[all]\n{INCLUDE}\n".lstrip()
