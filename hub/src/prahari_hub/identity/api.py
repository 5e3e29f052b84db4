"""Claims and revocation for people and programs: below /api/v1."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from prahari_wire.base import DeviceId
from prahari_wire.topics import DEVICE_ID
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import require
from prahari_hub.http.paging import Page, checked_text, decode, encode
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.identity import certificates, claims
from prahari_hub.identity.ca import pem
from prahari_hub.identity.claims import Claim, ClaimState, Purpose
from prahari_hub.identity.service import Identity
from prahari_hub.settings import Settings
from prahari_hub.store import Unit

router = APIRouter(tags=["identity"])
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Reader = Annotated[Actor, Depends(require(Role.TECHNICIAN, Role.OPERATOR, Role.AUDITOR))]
DevicePath = Annotated[str, Path(pattern=DEVICE_ID)]
ClaimPath = Annotated[str, Path(pattern=r"^[0-9A-HJKMNP-TV-Z]{8}$")]
Words = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(checked_text)]

RegisterDevice = Callable[[Unit, Actor, str, str | None], None]
"""(unit, actor, device, site): what the fleet does when a claim names a device that it may not know yet."""


class ClaimOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    device: str
    state: ClaimState
    purpose: Purpose
    failures: int
    serial: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime


class ClaimMade(ClaimOut):
    """``token`` is shown this once."""

    token: str


class EnrolmentOut(BaseModel):
    """What every seed of this hub says: its device HTTPS, its broker, its city, and the hash that pins its root key."""

    hub: str
    mqtt: str
    city: str
    ca_spki_sha256: str


class AuthorityOut(BaseModel):
    """``spki_sha256`` is the root key's hash, as seeds pin it."""

    pem: str
    spki_sha256: str


class NewClaim(BaseModel):
    """``site``: where the device will stand, if the hub does not know yet. ``ttl_s``: by purpose if left out."""

    model_config = ConfigDict(extra="forbid")

    device: DeviceId
    site: Words | None = None
    purpose: Purpose = Purpose.BENCH
    ttl_s: int | None = Field(None, ge=60, le=30 * 86400)


class Revocation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Words


class Revoked(BaseModel):
    """``certificates``: how many could still have been used."""

    device: str
    certificates: int


class CertificateOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    serial: str
    state: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    revoked_at: datetime | None
    reason: str | None


class CertificateList(BaseModel):
    items: list[CertificateOut]
    next: None = None


@router.post("/claims", status_code=201)
async def create_claim(request: Request, new: NewClaim, actor: Technician) -> ClaimMade:
    """A one-time right to an identity."""
    identity = _identity(request)
    register: RegisterDevice | None = getattr(request.app.state, "register_device", None)

    def work(unit: Unit) -> tuple[Claim, str]:
        if register:
            register(unit, actor, new.device, new.site)
        ttl = None if new.ttl_s is None else timedelta(seconds=new.ttl_s)
        return identity.issue_claim(unit, actor, new.device, purpose=new.purpose, ttl=ttl)

    claim, token = await store_of(request).write(work)
    return ClaimMade(**ClaimOut.model_validate(claim).model_dump(), token=token)


@router.get("/claims")
async def list_claims(
    request: Request,
    actor: Reader,
    device: Annotated[str | None, Query(pattern=DEVICE_ID)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ClaimOut]:
    """The newest first; never the token."""
    before = None
    if cursor is not None:
        at, claim = decode(cursor, datetime, str)
        before = (at, claim)
    store = store_of(request)
    now = store.clock()
    found = await store.read(
        lambda conn: claims.listed(conn, now, device=device, before=before, limit=limit + 1)
    )
    more = found[limit - 1] if len(found) > limit else None
    return Page[ClaimOut](
        items=[ClaimOut.model_validate(claim) for claim in found[:limit]],
        next=encode(more.created_at, more.id) if more else None,
    )


@router.delete("/claims/{claim_id}")
async def revoke_claim(request: Request, claim_id: ClaimPath, actor: Technician) -> ClaimOut:
    """Void a claim that nobody has used yet."""
    claim = await store_of(request).write(lambda unit: claims.revoke(unit, actor, claim_id))
    return ClaimOut.model_validate(claim)


@router.post("/devices/{device_id}/revoke")
async def revoke_device(
    request: Request, device_id: DevicePath, why: Revocation, actor: Technician
) -> Revoked:
    """Take a device's identity away: its connection is cut at once and the next one refused."""
    identity = _identity(request)
    found = await store_of(request).write(lambda unit: identity.revoke(unit, actor, device_id, why.reason))
    return Revoked(device=device_id, certificates=found)


@router.get("/devices/{device_id}/certificates")
async def list_certificates(request: Request, device_id: DevicePath, actor: Reader) -> CertificateList:
    rows = await store_of(request).read(lambda conn: certificates.history(conn, device_id))
    return CertificateList(items=[CertificateOut.model_validate(row) for row in rows])


@router.get("/ca")
async def authority(request: Request, actor: Reader) -> AuthorityOut:
    """The certificates that devices trust: every issuing authority and the root."""
    found = _identity(request).authority
    return AuthorityOut(pem=pem(found.chain).decode(), spki_sha256=found.root_spki_sha256)


@router.get("/enrolment")
async def enrolment(request: Request, actor: Reader) -> EnrolmentOut:
    """Where devices find this hub and how they know it at first contact."""
    settings: Settings = request.app.state.settings
    host = settings.hosts[0]
    host = f"[{host}]" if ":" in host else host
    return EnrolmentOut(
        hub=f"https://{host}:{settings.device_port}",
        mqtt=f"{host}:{settings.mqtt_port}",
        city=settings.city,
        ca_spki_sha256=_identity(request).authority.root_spki_sha256,
    )


def _identity(request: Request) -> Identity:
    found: Identity = request.app.state.identity
    return found
