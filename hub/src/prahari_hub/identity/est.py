"""Enrolment over Secure Transport (RFC 7030): cacerts, simpleenroll, simplereenroll; and recovery of an expired certificate.

Usable with curl and openssl alone. RFC 7030 has no answer for an expired certificate, which dies in the TLS handshake: there
the old key signs a nonce instead.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Awaitable
from typing import Annotated

from cryptography import x509
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from prahari_hub.broker.callout import Peer
from prahari_hub.http.limits import RateLimit
from prahari_hub.identity.peer import current_peer
from prahari_hub.identity.requests import MAX_REQUEST, certs_only
from prahari_hub.identity.service import NONCE_LIFE, Denied, Identity, Recovery

router = APIRouter(tags=["enrolment"])
AskingPeer = Annotated[Peer, Depends(current_peer)]
MAX_RECOVERY = 3 * MAX_REQUEST
_BASIC = {"WWW-Authenticate": 'Basic realm="prahari enrolment"'}


class Nonce(BaseModel):
    nonce: str
    expires_in_s: int


class RecoverIn(BaseModel):
    """``csr`` and ``certificate`` (the old one) as PEM, ``signature`` in base64: ECDSA-SHA256 over the nonce and the CSR's DER."""

    model_config = ConfigDict(extra="forbid")

    nonce: str = Field(max_length=100)
    device: str = Field(max_length=64)
    csr: str = Field(max_length=MAX_REQUEST)
    certificate: str = Field(max_length=MAX_REQUEST)
    signature: str = Field(max_length=400)


async def limited(request: Request) -> None:
    """429 for an address that tries too often."""
    limit: RateLimit = request.app.state.enrolment_limit
    wait_s = limit.take(request.client.host if request.client else "")
    if wait_s:
        after = str(math.ceil(wait_s))
        raise HTTPException(
            429, f"too many tries from this address; wait {after} s", headers={"Retry-After": after}
        )


@router.get("/.well-known/est/cacerts")
async def cacerts(request: Request) -> Response:
    return _answer(_identity(request).authority.chain)


@router.post("/.well-known/est/simpleenroll", dependencies=[Depends(limited)])
async def simpleenroll(request: Request) -> Response:
    device, token = _basic(request)
    body = await _body(request)
    return _answer([await _granted(_identity(request).enrol(device, token, body))])


@router.post("/.well-known/est/simplereenroll")
async def simplereenroll(request: Request, peer: AskingPeer) -> Response:
    body = await _body(request)
    return _answer([await _granted(_identity(request).renew(peer, body))])


@router.get("/device/v1/enrol/nonce", dependencies=[Depends(limited)])
async def nonce(request: Request) -> Nonce:
    return Nonce(nonce=await _identity(request).nonce(), expires_in_s=int(NONCE_LIFE.total_seconds()))


@router.post("/device/v1/enrol/recover", dependencies=[Depends(limited)])
async def recover(request: Request) -> Response:
    body = await _body(request, limit=MAX_RECOVERY)  # read by hand: nobody has proved anything yet
    try:
        asked = RecoverIn.model_validate_json(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the body"
        raise HTTPException(422, f"{where}: {error.errors()[0]['msg']}") from error
    try:
        signature = base64.b64decode(asked.signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, "the signature is not base64") from error
    csr, certificate = asked.csr.encode(), asked.certificate.encode()
    given = Recovery(asked.nonce, asked.device, csr, certificate, signature)
    return _answer([await _granted(_identity(request).recover(given))])


@router.get("/device/v1/keys")
async def keys(request: Request, peer: AskingPeer) -> dict[str, object]:
    """The hub's signing keys."""
    return _identity(request).signer.published()


def _identity(request: Request) -> Identity:
    found: Identity = request.app.state.identity
    return found


async def _granted(answer: Awaitable[x509.Certificate]) -> x509.Certificate:
    try:
        return await answer
    except Denied as denied:
        raise HTTPException(
            denied.status, denied.detail, headers=_BASIC if denied.status == 401 else None
        ) from denied


def _answer(certificates: list[x509.Certificate]) -> Response:
    kind = "application/pkcs7-mime; smime-type=certs-only"
    return Response(
        certs_only(certificates), media_type=kind, headers={"Content-Transfer-Encoding": "base64"}
    )


def _basic(request: Request) -> tuple[str, str]:
    """(device id, token) from HTTP Basic."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        user = colon = password = ""
    if scheme.lower() != "basic" or not colon:
        raise HTTPException(401, "send the device id and the claim's token as HTTP Basic", headers=_BASIC)
    return user, password


async def _body(request: Request, *, limit: int = MAX_REQUEST) -> bytes:
    """At most ``limit`` bytes, whatever the sender announces."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(
                413, f"the request is larger than {limit} bytes; send a plain PKCS#10 request"
            )
    return bytes(body)
