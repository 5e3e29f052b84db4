"""The hub's settings: environment variables PRAHARI_* over HOME/hub.toml over these defaults."""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prahari_wire.base import Severity
from prahari_wire.topics import PARTITIONS
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from prahari_hub.errors import SetupError

Role = Literal["broker", "web", "ingest", "scheduler"]
ROLES: tuple[Role, ...] = get_args(Role)
ADMISSIONS_A_CORE_S = 150.0
"""A connection costs broker and hub a few milliseconds together: TLS handshake, callout, birth and its commit."""
MQTT_PORT, NATS_PORT, CONSOLE_PORT, DEVICE_PORT = 8883, 4222, 8080, 8443
ESCALATION: dict[Severity, list[float]] = {
    Severity.CRITICAL: [60, 300, 900],
    Severity.MAJOR: [300, 900],
    Severity.MINOR: [1800],
    Severity.WARNING: [],
}


class Settings(BaseSettings):
    """``home`` holds keys, database and blobs. Every port is shifted by ``port_offset``."""

    model_config = SettingsConfigDict(env_prefix="PRAHARI_", extra="forbid", frozen=True)

    home: Path = Field(Path(".prahari/hub"), description="folder of keys, database and blobs")
    city: str = Field("city", max_length=60, description="the O of every certificate")
    port_offset: int = Field(0, ge=0, le=50000, description="added to every port")
    listen: str = Field(
        "127.0.0.1", description="address of console, device HTTPS and MQTT; 0.0.0.0 or :: for all"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="of the log on standard error; auto is text on a terminal and JSON elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="where a process without the role web serves its health and metrics; nowhere if left out",
    )
    hosts: list[str] = Field(
        ["localhost", "127.0.0.1"],
        description="names of the hub in its certificate; the first one goes into seeds",
    )
    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        ROLES, description="what this process does: broker, web, ingest, scheduler; all if left out"
    )
    partitions: str | None = Field(
        None,
        pattern=r"^\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*$",
        description="the only partitions (0 to 15) that this ingest worker takes, for instance 0-7; a fair share if left out",
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite in the home if left out")
    database_readers: int = Field(
        4,
        ge=1,
        le=64,
        description="queries that one process asks at once; on PostgreSQL it opens two connections more",
    )
    database_timeout_s: float = Field(
        60, ge=1, description="PostgreSQL ends a statement, or a wait for a lock, that takes longer"
    )
    blobs_url: str | None = Field(None, description="obstore URL; a folder in the home if left out")
    nats_url: str | None = Field(
        None, description="an external NATS instead of the embedded server; several nodes with commas between"
    )
    nats_seed_file: Path | None = Field(None, description="nkey seed of the hub's user at an external NATS")
    heartbeat_s: int = Field(30, ge=1, description="how often devices report, as presence counts it")
    suspect_after_s: float | None = Field(
        None, description="silence until SUSPECT; 1.5 heartbeats if left out"
    )
    offline_after_s: float | None = Field(None, description="silence until OFFLINE; 3 heartbeats if left out")
    outage_window_s: float = Field(
        90, ge=1, description="devices last heard within so many seconds of each other fell silent together"
    )
    outage_share: float = Field(
        0.6,
        gt=0,
        le=1,
        description="share of a place's devices that must be silent together to be one outage",
    )
    outage_devices: int = Field(3, ge=2, description="devices that must be silent together to be one outage")
    outage_fleet_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="share of the whole fleet from which its silence is the hub's or its uplink's",
    )
    flapping_per_hour: int = Field(
        5, ge=1, description="a device that goes offline more often in an hour is flapping: one incident"
    )
    flapping_quiet_s: float = Field(
        3600, ge=1, description="it flaps no more when it has not gone offline for so long"
    )
    admission_per_s: float | None = Field(
        None,
        gt=0,
        description="devices that may connect in a second, for each process that answers; 150 a core if left out",
    )
    bench: bool = Field(
        False,
        description="let load generators speak for every device; refused unless broker and hub are on this machine alone",
    )
    flush_s: float = Field(
        5,
        gt=0,
        description="how often changes that heartbeats bring are written; beyond 5,000 devices the newest values follow within 30 s",
    )
    keep_events_days: int | None = Field(
        None, ge=7, description="events and transitions are deleted when so old; never if left out"
    )
    keep_health_minutes_days: int = Field(
        7, ge=2, description="health in steps of five minutes is deleted when so old"
    )
    keep_health_hours_days: int = Field(
        730, ge=7, description="health in steps of hours and days is deleted when so old"
    )
    timezone: str = Field(
        "Asia/Kolkata", description="time zone of the city, whose days the figures of availability count"
    )
    keep_commands_days: int = Field(90, ge=1, description="commands that have ended are deleted when so old")
    keep_files_days: int = Field(
        90,
        ge=1,
        description="pictures that devices sent are deleted when so old; not those that an open incident, a display or a twin names",
    )
    keep_sealed_days: int | None = Field(
        None,
        ge=30,
        description="footage of a request is deleted so long after it was sealed, unless a person named a date; never if left out",
    )
    keep_copies_days: int = Field(
        90, ge=1, description="films in which persons are hidden are deleted when so old"
    )
    keep_links_days: int = Field(
        90, ge=1, description="links to sealed footage are forgotten so long after they ended"
    )
    keep_announced_days: int = Field(
        30, ge=1, description="so long the hub waits for a file that a device announced"
    )
    upload_mib_a_day: int = Field(200, ge=1, description="MiB that one device may upload in a day")
    evidence_kbit_s: int = Field(
        2000, ge=16, description="how fast one site may send footage that was asked for, in kbit/s"
    )
    accept_clock: bool = Field(
        False,
        description="for one start after the hub's clock was far off, or the hub was off for more than a day: the time is right now",
    )
    cookie_secure: bool = Field(False, description="set it when a TLS proxy stands before the console")
    webhook_url: str | None = Field(None, description="where incidents that wait too long are posted")
    webhook_secret_file: Path | None = Field(None, description="holds the key that signs a webhook")
    smtp_url: str | None = Field(None, description="smtp://[user:password@]host:port or smtps://")
    mail_from: str = Field("prahari@localhost", description="sender of mails")
    escalation: dict[Severity, list[float]] = Field(
        ESCALATION,
        description="seconds without acknowledgement until each step tells people; a severity left out keeps its default",
    )
    mail_to: list[list[str]] = Field([], description="recipients of each escalation step")

    @field_validator("escalation")
    @classmethod
    def _keep_defaults(cls, given: dict[Severity, list[float]]) -> dict[Severity, list[float]]:
        return {**ESCALATION, **given}

    @field_validator("roles", mode="before")
    @classmethod
    def _roles(cls, given: object) -> object:
        """``ingest,web`` as the environment and the command line spell it; a list in hub.toml."""
        return tuple(part.strip() for part in given.split(",")) if isinstance(given, str) else given

    @field_validator("roles")
    @classmethod
    def _some_role(cls, given: tuple[Role, ...]) -> tuple[Role, ...]:
        if not given:
            raise ValueError("name at least one role")
        return tuple(role for role in ROLES if role in given)

    @field_validator("partitions")
    @classmethod
    def _within(cls, given: str | None) -> str | None:
        if given is not None and not partitions_in(given) <= set(range(PARTITIONS)):
            raise ValueError(f"partitions are 0 to {PARTITIONS - 1}")
        return given

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("a time zone is written as Asia/Kolkata") from None
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
        home = init_settings.init_kwargs.get("home") or os.environ.get("PRAHARI_HOME") or ".prahari/hub"  # type: ignore[attr-defined]
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(home) / "hub.toml")

    @property
    def mqtt_port(self) -> int:
        return MQTT_PORT + self.port_offset

    @property
    def nats_port(self) -> int:
        return NATS_PORT + self.port_offset

    @property
    def console_port(self) -> int:
        return CONSOLE_PORT + self.port_offset

    @property
    def device_port(self) -> int:
        return DEVICE_PORT + self.port_offset

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'hub.db'}"

    @property
    def nats_urls(self) -> list[str]:
        """Each node of an external NATS; none if the server is embedded."""
        return [url.strip() for url in (self.nats_url or "").split(",") if url.strip()]

    @property
    def own_partitions(self) -> frozenset[int] | None:
        """The only ones that this worker takes; None for a fair share of all."""
        return None if self.partitions is None else partitions_in(self.partitions)

    @property
    def admission_rate(self) -> float:
        return self.admission_per_s or ADMISSIONS_A_CORE_S * (os.cpu_count() or 1)

    @property
    def suspect_s(self) -> float:
        return self.suspect_after_s if self.suspect_after_s is not None else 1.5 * self.heartbeat_s

    @property
    def offline_s(self) -> float:
        return self.offline_after_s if self.offline_after_s is not None else 3.0 * self.heartbeat_s


def partitions_in(text: str) -> frozenset[int]:
    """``0-3,9`` as a set."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def load(**values: Any) -> Settings:
    """Settings with a home that exists and can be written; SetupError says which field is wrong or what to do."""
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SetupError(_wrong(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"hub.toml in the hub's home is not TOML in UTF-8: {error}") from None
    except SettingsError as error:
        raise SetupError(f'{error}: write lists and tables as JSON, for instance ["hub.example"]') from None
    except OSError as error:
        raise SetupError(f"hub.toml in the hub's home cannot be read: {error.strerror}") from None
    if settings.smtp_url and not settings.mail_to:
        raise SetupError(
            'smtp_url is set and mail_to is not: name who is told, for instance mail_to = [["shift@city"]]'
        )
    _check_home(settings.home)
    return settings


def _wrong(error: ValidationError) -> str:
    """One sentence on the first wrong field: its path, what was expected, where to correct it."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        near = get_close_matches(path, Settings.model_fields, n=1)
        return f"there is no setting {path}" + (
            f"; did you mean {near[0]}?" if near else ", see docs/settings.md"
        )
    variable = f"PRAHARI_{str(first['loc'][0]).upper()}"
    return f"setting {path}: {first['msg']}; correct it in hub.toml or {variable}"


def _check_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"the hub's home {home} cannot be written ({error.strerror}); "
            "choose another with PRAHARI_HOME or change its owner"
        ) from error
