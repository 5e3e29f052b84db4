"""Settings of the box itself: few, all optional. What the hub decides stands in the twin, never here."""

from __future__ import annotations

import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from prahari_wire.base import field_errors
from prahari_wire.seed import SEED_FILE
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from prahari_agent.errors import SetupError

SETTINGS_FILE = "agent.toml"
SECRETS_FILE = "secrets.toml"
BOOT_FOLDERS = (Path("/boot/firmware"), Path("/boot"))


PRIVATE_NETWORKS = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128",
)  # fmt: skip


class Settings(BaseSettings):
    """``hub`` and ``mqtt`` replace the seed's addresses, e.g. after a move of the hub. ``outbox_*`` cap the outbox, ``spool_max_mb``
    what waits for upload, ``cache_max_mb`` what was fetched. Environment: PRAHARI_AGENT_<NAME>.
    """

    model_config = SettingsConfigDict(extra="forbid", env_prefix="PRAHARI_AGENT_", frozen=True)

    board: Literal["auto", "pi", "jetson", "simulated"] = Field(
        "auto", description="pi, jetson or simulated; found out if left out"
    )
    hub: Annotated[str, Field(pattern=r"^https://[^/\s@]+$")] | None = Field(
        None, description="device HTTPS of the hub, instead of the seed's"
    )
    mqtt: Annotated[str, Field(pattern=r"^[^/\s@]+:\d{1,5}$")] | None = Field(
        None, description="host:port of the broker, instead of the seed's"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["json", "plain"] = Field("json", description="json for journald, plain for a person")
    outbox_max_mb: float = Field(
        128, gt=0, le=100_000, description="size of the outbox; beyond it low classes are shed"
    )
    outbox_max_events: int = Field(200_000, ge=100, le=10_000_000, description="most events in the outbox")
    spool_max_mb: float = Field(256, gt=0, le=100_000, description="most that waits for upload")
    cache_max_mb: float = Field(512, gt=0, le=100_000, description="most that is kept of what was fetched")
    camera_networks: list[str] = Field(
        list(PRIVATE_NETWORKS),
        description="networks that the addresses of cameras may lie in; private ones if left out",
    )
    display_vo: Annotated[str, Field(pattern=r"^[a-z0-9_,-]+$")] | None = Field(
        None, description="mpv's video output for displays, e.g. drm or x11; its own choice if left out"
    )

    @field_validator("camera_networks")
    @classmethod
    def _are_networks(cls, given: list[str]) -> list[str]:
        for network in given:
            ip_network(network, strict=False)
        return given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(home: Path) -> Settings:
    """Settings of ``home``; SetupError names the file, the field and what was expected."""
    path = home / SETTINGS_FILE

    class Here(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return Here()
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is not TOML ({error}): correct that line or remove the file.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{field}: {message}" for field, message in field_errors(error))
        raise SetupError(
            f"{path} or the environment holds a setting that is not accepted ({wrong}): correct it."
        ) from None


def open_home(home: Path) -> Path:
    """The agent's home as an existing, writable, private folder, or SetupError."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"The home folder {home} cannot be written ({error.strerror}): give its owner to the agent's user or choose another --home."
        ) from None
    return home


def secret(home: Path, peripheral: str) -> tuple[str, str] | None:
    """User and password of a peripheral's source, from the table of that name in secrets.toml, or None."""
    path = home / SECRETS_FILE
    try:
        table = tomllib.loads(path.read_text()).get(peripheral)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise SetupError(
            f"{path} cannot be read as TOML: write one table a peripheral, with user and password."
        ) from None
    match table:
        case None:
            return None
        case {"user": str(user), "password": str(password)}:
            return user, password
    raise SetupError(f"{path}: [{peripheral}] needs user and password, both as text.")


def seed_paths(home: Path) -> list[Path]:
    """Where a seed may lie: the home first, then the boot partition."""
    return [folder / SEED_FILE for folder in (home, *BOOT_FOLDERS)]
