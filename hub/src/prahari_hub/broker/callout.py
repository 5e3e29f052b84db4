"""The auth callout: at each CONNECT the broker asks, and the hub answers from memory who may come in and with what rights."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID
from nats.aio.msg import Msg
from prahari_wire.topics import device_permissions, is_device_id

from prahari_hub.broker.config import MAX_PAYLOAD
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import Keys, Signer, claims_of

SUBJECT = "$SYS.REQ.USER.AUTH"
AUDIENCE = "nats-authorization-request"
MAX_SUBSCRIPTIONS = 8
"""A device needs one filter, which is two subscriptions at the broker."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Peer:
    """Who a verified client certificate says it is; ``serial`` in lower-case hex."""

    device: str
    serial: str
    not_after: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Peer:
        """ValueError if the certificate does not name exactly one device."""
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1 or not is_device_id(str(names[0].value)):
            raise ValueError("the certificate names no device")
        return cls(str(names[0].value), f"{certificate.serial_number:x}", certificate.not_valid_after_utc)


class Admission(Protocol):
    """Which certificates are good now; answers from memory, at once."""

    def refusal(self, peer: Peer) -> str | None:
        """Why this device does not come in (one short sentence), or None."""

    def connected(self, peer: Peer) -> None:
        """The broker has been told to let this device in with this certificate."""


@dataclass(frozen=True)
class Connection:
    """A connection at the broker: server id and the client number there."""

    server: str
    client: int


class Refuse(Exception):
    pass


class Callout:
    """Answers the broker. ``connections`` remembers the last one granted to each device, ``refusals`` counts by reason."""

    def __init__(self, keys: Keys, admission: Admission) -> None:
        self.connections: dict[str, Connection] = {}
        self.refusals: Counter[str] = Counter()
        self._signer = Signer(keys.issuer)
        self._admission = admission

    async def serve(self, bus: Bus) -> None:
        """Begin to answer; a queue group lets several hubs share the work."""
        await bus.client.subscribe(SUBJECT, queue="callout", cb=self._on_request)
        await bus.client.flush()

    async def _on_request(self, message: Msg) -> None:
        try:
            claims = claims_of(message.data.decode())
            if claims.get("aud") != AUDIENCE:
                raise ValueError("not an authorization request")
            await message.respond(self.answer(claims["nats"], at=int(time.time())).encode())
        except Exception:
            log.exception("an authorization request could not be answered; the device is not let in")

    def answer(self, request: dict[str, Any], *, at: int) -> str:
        """The response JWT to one request, granting or refusing."""
        user, server = request["user_nkey"], request["server_id"]["id"]
        try:
            peer = self._check(request)
        except Refuse as refused:
            reason = str(refused)
            self.refusals[reason] += 1
            log.info("refused %s: %s", request["client_info"].get("mqtt_id", "a client")[:40], reason)
            return self._signer.sign(
                "authorization_response", subject=user, audience=server, at=at, nats={"error": reason}
            )
        grant = self._grant(peer, user, at)
        self.connections[peer.device] = Connection(server, int(request["client_info"]["id"]))
        self._admission.connected(peer)
        return self._signer.sign(
            "authorization_response", subject=user, audience=server, at=at, nats={"jwt": grant}
        )

    def _check(self, request: dict[str, Any]) -> Peer:
        client = request["client_info"]
        if client.get("type") != "mqtt":
            raise Refuse("only devices come in this way")
        chains = (request.get("client_tls") or {}).get("verified_chains") or []
        if not chains or not chains[0]:
            raise Refuse("no verified certificate")
        try:
            peer = Peer.of(x509.load_pem_x509_certificate(chains[0][0].encode()))
        except ValueError as error:
            raise Refuse(str(error)) from error
        if client.get("mqtt_id") != peer.device:
            raise Refuse("the client id is not the certificate's name")
        if reason := self._admission.refusal(peer):
            raise Refuse(reason)
        return peer

    def _grant(self, peer: Peer, user: str, at: int) -> str:
        """A user JWT with this device's own subjects alone; the broker drops the device when its certificate ends."""
        publish, subscribe = device_permissions(peer.device)
        rights = {
            "pub": {"allow": publish},
            "sub": {"allow": subscribe},
            "subs": MAX_SUBSCRIPTIONS,
            "data": -1,
            "payload": MAX_PAYLOAD,
            "allowed_connection_types": ["MQTT"],
        }
        until = int(peer.not_after.timestamp())
        return self._signer.sign(
            "user", subject=user, audience="DEVICES", at=at, nats=rights, exp=until, name=peer.device
        )
