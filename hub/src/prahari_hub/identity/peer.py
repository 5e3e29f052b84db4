"""The client certificate of a TLS connection, from the socket into the request: never from a header."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from cryptography import x509
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from prahari_hub.broker.callout import Peer
from prahari_hub.identity.ca import Authority
from prahari_hub.identity.service import Identity

IDLE_S = 30


class PeerProtocol(H11Protocol):
    """Puts the verified client certificate (DER, or None) into ``request.state.peer_certificate``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state = {**self.app_state, "peer_certificate": certificate}


def device_listener(app: FastAPI, authority: Authority, *, host: str, port: int, **options: Any) -> Config:
    """The uvicorn configuration of device HTTPS: a client certificate is verified if one is shown, and not insisted on."""
    certificate, key = authority.server_files
    return Config(
        app,
        host=host,
        port=port,
        http=PeerProtocol,
        ws="none",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=authority.ca_file,
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
        timeout_keep_alive=IDLE_S,
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        **options,
    )


async def current_peer(request: Request) -> Peer:
    """Who asks, checked as the broker's callout does; 401 without a certificate, 403 with one that is not good any more."""
    raw: bytes | None = getattr(request.state, "peer_certificate", None)
    if raw is None:
        raise HTTPException(401, "this address needs the device's certificate; enrol the device first")
    identity: Identity = request.app.state.identity
    try:
        peer = Peer.of(x509.load_der_x509_certificate(raw))
    except ValueError as error:
        raise HTTPException(403, str(error)) from error
    if reason := identity.admission.refusal(peer):
        raise HTTPException(
            403, f"{reason}; ask the command centre for a new claim or to take it back into service"
        )
    if peer.not_after <= identity.store.clock():
        raise HTTPException(403, "the certificate has expired; recover it")
    return peer


async def client_device(request: Request) -> str:
    """A dependency: the id of the device that asks."""
    return (await current_peer(request)).device
