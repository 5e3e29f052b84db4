"""``prahari-agent check``: what works on this box and what does not, for a person on a ladder."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prahari_agent.clock import Clock, saved_floor
from prahari_agent.control import ask
from prahari_agent.enrolment import find_seed
from prahari_agent.errors import AgentError, SetupError
from prahari_agent.identity import Hub as HubRecord
from prahari_agent.identity import Identity, expired
from prahari_agent.settings import SECRETS_FILE, Settings, load, open_home, secret
from prahari_agent.state import State

BROKER_TIMEOUT_S = 10.0


class Finding(NamedTuple):
    """``text`` says what was found and, where it is not good, what to do. ``warning``: not good, yet the box works."""

    what: str
    good: bool
    text: str
    warning: bool = False

    @property
    def failed(self) -> bool:
        return not self.good and not self.warning

    def line(self) -> str:
        word = "ok  " if self.good else "FAIL" if self.failed else "WARN"
        return f"{word}  {self.what:<12} {self.text}"


class Case(NamedTuple):
    """What the checks look at."""

    home: Path
    settings: Settings
    identity: Identity
    clock: Clock
    record: HubRecord | None


def examine(home: Path) -> list[Finding]:
    """Every check of the table, in the order in which a person would look; the first two must hold for the rest."""
    try:
        if not home.is_dir():
            raise SetupError(f"There is no home folder {home}: check --home, or start the agent once.")
        settings = load(open_home(home))
    except SetupError as error:
        return [Finding("home", False, str(error))]
    findings = [Finding("home", True, f"{home} is there, writable, and its settings are valid")]
    try:
        identity = Identity(home)
        record = identity.hub()
    except SetupError as error:
        return [*findings, Finding("identity", False, str(error))]
    case = Case(home, settings, identity, Clock(saved_floor(State(home))), record)
    for what, check in CHECKS:
        try:
            findings += check(case)
        except AgentError as error:
            findings.append(Finding(what, False, str(error)))
    return findings


def _identity(case: Case) -> Iterator[Finding]:
    pair = case.identity.current() or case.identity.trial()
    if case.record is None or pair is None:
        seed = find_seed(case.home)
        if seed is None:
            text = (
                f"no identity and no seed: write one with prahari-provision seed and put it into {case.home}"
            )
        else:
            text = f"a seed for {seed[2].device} waits: start the agent to use it"
        yield Finding("identity", False, text)
        return
    days = (pair.not_after - case.clock.now()).days
    if expired(pair, case.clock.now()):
        yield Finding(
            "identity",
            False,
            f"{pair.device}: the certificate ended {pair.not_after:%d %B %Y}; a running agent recovers it by itself",
        )
    else:
        yield Finding(
            "identity", True, f"{pair.device} of {case.record.city}, certificate good for {days} days"
        )


def _clock(case: Case) -> Iterator[Finding]:
    if not case.clock.plausible():
        yield Finding("clock", False, "the clock is in the past: check that this box reaches a time server")
    else:
        yield Finding("clock", True, f"{case.clock.now():%d %B %Y %H:%M:%S} UTC ({case.clock.quality()})")


def _secrets(case: Case) -> Iterator[Finding]:
    path = case.home / SECRETS_FILE
    if not path.exists():
        return
    secret(case.home, "")
    if path.stat().st_mode & 0o077:
        yield Finding("secrets", False, f"{path} can be read by others: run chmod 600 {path}")
    else:
        yield Finding("secrets", True, "readable by the agent alone")


def _device_https(case: Case) -> Iterator[Finding]:
    if case.record is None:
        return
    from prahari_agent.transfer import Hub, problem

    started_s = time.monotonic()
    address = case.settings.hub or case.record.hub
    answer = Hub(address, case.identity, check_time=case.clock.plausible).request("GET", "/device/v1/keys")
    if answer.status == 200:
        yield Finding(
            "hub", True, f"{address} answers this box in {(time.monotonic() - started_s) * 1000:.0f} ms"
        )
    else:
        yield Finding(
            "hub",
            False,
            f"{address} refuses this box ({problem(answer)}): ask the hub's operator whether it is in service",
        )


def _broker(case: Case) -> Iterator[Finding]:
    pair = case.identity.current() or case.identity.trial()
    if case.record is None or pair is None:
        return
    host, port = case.record.model_copy(update={"mqtt": case.settings.mqtt or case.record.mqtt}).broker
    where = f"{host}:{port}"
    try:
        context = case.identity.tls(pair, check_time=case.clock.plausible())
        with (
            socket.create_connection((host, port), timeout=BROKER_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            yield Finding("broker", True, f"{where} is there and is the hub's")
    except ssl.SSLError as error:
        yield Finding(
            "broker",
            False,
            f"{where} and this box do not trust each other ({error.reason}): check the address and the clock",
        )
    except OSError as error:
        yield Finding(
            "broker",
            False,
            f"{where} cannot be reached ({error.strerror or error}): check the network and the firewall",
        )


def _agent(case: Case) -> Iterator[Finding]:
    """What the running agent itself says, peripherals included."""
    said = ask(case.home, "status")
    connected = bool(said["connected"])
    yield Finding(
        "agent", True, f"running, configuration {said['twin_version']}, {said['outbox']} events wait"
    )
    yield Finding(
        "link",
        connected,
        "connected to the hub" if connected else str(said["trouble"] or "the hub has not answered yet"),
    )
    for check in said["health"]["checks"]:
        if check["name"] != "link":
            yield _from_health(check)
    if not said["health"]["peripherals"]:
        yield Finding("peripherals", False, "none is configured: give this device a configuration on the hub")


def _from_health(check: dict[str, Any]) -> Finding:
    value = "" if check["value"] is None else f"{check['value']:g} "
    state = check["state"]
    text = f"{value}{check['text'] or ''}".strip() or state
    if value and check["name"].startswith("peripheral:"):
        text = f"{check['text'] or state}; by night its picture is {value}of 255 bright"
    return Finding(check["name"], state == "ok", text, warning=state != "fail")


CHECKS: tuple[tuple[str, Callable[[Case], Iterator[Finding]]], ...] = (
    ("identity", _identity),
    ("clock", _clock),
    ("secrets", _secrets),
    ("hub", _device_https),
    ("broker", _broker),
    ("agent", _agent),
)
