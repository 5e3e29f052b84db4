"""Certificates, and what answers on the ports: the broker, the listener of the devices, the hub itself."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from prahari_hub.broker.role import hub_bus
from prahari_hub.errors import SetupError
from prahari_hub.identity import certificates as issued
from prahari_hub.operations.doctor.findings import Finding, Look, fail, ok, warn
from prahari_hub.texts import N_

SOON, VERY_SOON = timedelta(days=90), timedelta(days=14)
DEVICES_SOON = timedelta(days=14)
"""Devices renew at a third of their certificate's life before its end, a month: who has less has failed at it."""
ANSWER_S = 2.0
OLDEST_BROKER = (2, 11)


def authority(look: Look) -> list[Finding]:
    """The end of the hub's own certificates."""
    found: list[Finding] = []
    told = ends(look.settings.home)
    if told["root"] is None or told["issuing"] is None:
        return fail(
            "authority",
            N_("The hub's certificate authority cannot be read."),
            N_("Restore pki/ from a backup: without it every device must enrol again."),
        )
    for name, end in told.items():
        if end is None:
            continue  # the first start makes the server's
        days = f"{(end - look.now).days}"
        if end - look.now < VERY_SOON:
            found += fail(
                "authority",
                N_("The hub's {name} certificate ends in {days} days."),
                N_(
                    "Restart the hub, which renews it; the issuing one needs pki/root.key in its place for that."
                ),
                name=name,
                days=days,
            )
        elif end - look.now < SOON and name != "server":
            found += warn(
                "authority",
                N_("The hub's {name} certificate ends in {days} days."),
                N_("Restart the hub with pki/root.key in its place."),
                name=name,
                days=days,
            )
    first = min(end for end in told.values() if end is not None)
    return found or ok("authority", N_("The hub's certificates hold until {end}."), end=f"{first:%Y-%m-%d}")


def devices(look: Look) -> list[Finding]:
    if look.store is None:
        return []
    counts = look.store.read_sync(lambda conn: issued.horizon(conn, look.now, DEVICES_SOON))
    values = {"expired": counts.expired, "soon": counts.soon, "devices": counts.devices}
    if counts.expired or counts.soon:
        return warn(
            "certificates",
            N_(
                "Of {devices} devices, {expired} have an expired certificate and {soon} one that ends within 14 days."
            ),
            N_(
                "They renew by themselves when they are on and reach port 8443; after 90 days they need a new claim."
            ),
            **values,
        )
    return ok("certificates", N_("No certificate of the {devices} devices ends within 14 days."), **values)


def ends(home: Path) -> dict[str, datetime | None]:
    """When the hub's certificates end; None for one that is not there or not readable."""
    return {name: _end(home / "pki" / f"{name}.pem") for name in ("root", "issuing", "server")}


def _end(file: Path) -> datetime | None:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def hub(look: Look) -> list[Finding]:
    """Whether a hub serves here, and is ready."""
    address = f"http://127.0.0.1:{look.settings.console_port}/readyz"
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_S):
            return ok("hub", N_("The hub runs and is ready."))
    except urllib.error.HTTPError as error:
        return fail(
            "hub",
            N_("The hub runs and is not ready: {missing}."),
            N_("Its log says more; readiness is told at /readyz."),
            missing="; ".join(_missing(error)) or error.code,
        )
    except (OSError, ValueError):
        return ok("hub", N_("No hub runs here now (port {port})."), port=look.settings.console_port)


def _missing(error: urllib.error.HTTPError) -> list[str]:
    try:
        return [str(reason) for reason in json.loads(error.read())["missing"].values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def broker(look: Look) -> list[Finding]:
    """The broker's port for the hub, its version, and the devices' port, which must show a certificate that they trust."""
    if look.settings.nats_url is None and not _listens(look.settings.nats_port):
        return ok("broker", N_("No broker runs here now: it starts and ends with the hub."))
    try:
        version = asyncio.run(_version(look))
    except SetupError:
        return fail(
            "broker",
            N_("The broker does not let the hub in."),
            N_(
                "See that it runs with the configuration that prahari-hub init --broker-config wrote, and with the same keys."
            ),
        )
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_BROKER:
        return warn(
            "broker",
            N_("The broker is nats-server {version}."),
            N_("Upgrade it to 2.11 or newer."),
            version=version,
        )
    if look.settings.nats_url is None and (wrong := _tls(look)) is not None:
        return fail(
            "broker",
            N_("Devices cannot trust the broker on port {port}: {reason}."),
            N_(
                "Restart the hub, which renews the server's certificate; see that hosts names the hub as devices call it."
            ),
            port=look.settings.mqtt_port,
            reason=wrong,
        )
    return ok("broker", N_("The broker answers (nats-server {version})."), version=version)


async def _version(look: Look) -> str:
    bus = await hub_bus(look.settings, within_s=ANSWER_S)
    try:
        found = bus.client.connected_server_version
        return f"{found.major}.{found.minor}.{found.patch}"
    finally:
        await bus.close()


def _tls(look: Look) -> str | None:
    """Why the devices' port does not show a certificate for the hub's first name; None if it does."""
    context = ssl.create_default_context(cafile=str(look.settings.home / "pki" / "ca.pem"))
    host = look.settings.hosts[0]
    try:
        with (
            socket.create_connection(("127.0.0.1", look.settings.mqtt_port), timeout=ANSWER_S) as raw,
            context.wrap_socket(raw, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:
        return str(error.strerror or error)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S):
            return True
    except OSError:
        return False
