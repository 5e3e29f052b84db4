"""What people and devices reach of a hub over HTTP: the console with its API, and device HTTPS."""

from __future__ import annotations

import socket
from typing import Any

from uvicorn import Config

from prahari_hub.evidence import device_api as evidence_device_api
from prahari_hub.evidence.parts import TRANSFERS
from prahari_hub.evidence.parts import Parts as TransferParts
from prahari_hub.fleet import api_live, blobs, device_api, registry
from prahari_hub.fleet.quota import Quota
from prahari_hub.http.health import Probe, Sampler
from prahari_hub.identity.device_http import device_app
from prahari_hub.identity.peer import device_listener
from prahari_hub.identity.service import Identity
from prahari_hub.operations import gauges
from prahari_hub.settings import Settings
from prahari_hub.store import Store
from prahari_hub.web.app import Parts, console_app
from prahari_hub.web.listen import Listener


def open_doors(
    settings: Settings,
    store: Store,
    identity: Identity,
    *,
    state: dict[str, Any],
    probes: dict[str, Probe],
    notices: dict[str, Probe],
    samplers: list[Sampler],
    sockets: tuple[socket.socket, socket.socket],
) -> tuple[Listener, Listener]:
    """Listeners for devices and for people, neither started yet; ``sockets`` are those of the console and of device HTTPS."""
    console_socket, device_socket = sockets
    blob_store, footage = blobs.open_blobs(settings), blobs.open_footage(settings)
    files = {"blobs": blob_store, "footage": footage}
    console = console_app(
        Parts(
            settings,
            store,
            state={"identity": identity, "register_device": registry.ensure_device, **files, **state},
            probes=probes,
            notices=notices,
            gauges=gauges.of(settings, store.clock),
            samplers=samplers,
        )
    )
    devices = device_app(
        identity,
        device_api.router,
        evidence_device_api.router,
        api_live.device_router,
        footage=footage,
        parts=TransferParts(settings.home / TRANSFERS),
        blobs=blob_store,
        settings=settings,
        quota=Quota(settings.upload_mib_a_day * 1024 * 1024),
    )
    listener = device_listener(devices, identity.authority, host=settings.listen, port=settings.device_port)
    people = Config(console, log_config=None, access_log=False, server_header=False, ws="none")
    return Listener(listener, device_socket, "device HTTPS"), Listener(people, console_socket, "console")
