"""Identity: what a device asks over HTTPS and what a person decides, each one transaction, then memory and live connections.

Whatever is refused is refused with a Denied after its transaction was committed, so that failures count.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.broker.callout import Peer
from prahari_hub.errors import NotFound, SetupError, Unavailable
from prahari_hub.http.actor import Actor, system
from prahari_hub.identity import adoption, certificates, claims
from prahari_hub.identity.admission import AdmissionTable, Serials, Standing
from prahari_hub.identity.ca import Authority, open_authority, serial_text, spki_sha256
from prahari_hub.identity.requests import BadRequest, public_key_of
from prahari_hub.identity.signer import Signer, open_signer
from prahari_hub.identity.tables import nonces
from prahari_hub.identity.tokens import open_pepper
from prahari_hub.log import about
from prahari_hub.store import Change, Store, Unit
from prahari_hub.texts import N_

NONCE_LIFE = timedelta(minutes=5)
RECOVERY = timedelta(days=90)
"""So long after its certificate's end a device recovers by itself."""
STRANGER_EVERY = timedelta(hours=1)
MAX_STRANGERS = 1000
CLAIM_REFUSED = "the claim is not valid for this device: check the device id and the token, or ask the command centre for a new claim"
log = logging.getLogger(__name__)

Kick = Callable[[str], Awaitable[int]]


class Denied(Exception):
    """Refused: ``status`` as HTTP counts, ``detail`` one sentence for a person on a ladder."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Recovery:
    """What an expired device sends: the old key's signature over the nonce's bytes and the request in DER."""

    nonce: str
    device: str
    csr: bytes
    certificate: bytes
    signature: bytes


class Identity:
    """Ties authority, claims, certificates and the admission table together. ``kick`` cuts a device's live connections.

    ``retired`` is the fleet's word on who is out of service, given by the composition root.
    """

    def __init__(self, store: Store, authority: Authority, signer: Signer, pepper: bytes) -> None:
        self.store = store
        self.authority = authority
        self.signer = signer
        self.admission = AdmissionTable()
        self.kick: Kick | None = None
        self.notify: Callable[[str], Awaitable[None]] | None = None
        self.retired: Callable[[Connection], set[str]] = lambda conn: set()
        self.alarm: claims.Alarm = claims.no_alarm
        self._pepper = pepper
        self._tasks: set[asyncio.Task[None]] = set()
        self._strangers: dict[str, datetime] = {}
        self.admission.on_first = self._on_first
        self.admission.on_stranger = self._on_stranger

    async def load(self) -> None:
        """Fill the admission table; call it before the broker's callout begins to answer."""
        await self._read_all()

    async def catch_up(self) -> None:
        """Changes of other processes may have been missed: read everything again and cut whoever lost a certificate meanwhile."""
        lost, back = await self._read_all()
        moved = {device: "retired" for device in lost if self.admission.is_retired(device)}
        moved |= dict.fromkeys(back, "active")
        if moved:
            self.store.on_changes(
                [Change("devices", {"id": device, "service": service}) for device, service in moved.items()]
            )
        for device in lost if self.kick else ():
            assert self.kick
            await self.kick(device)

    async def _read_all(self) -> tuple[set[str], set[str]]:
        self.admission.begin()
        serials = await self.store.read(certificates.allowed_of_all)
        return self.admission.replace_all(serials, set(await self.store.read(self.retired)))

    async def reload(self, device: str) -> None:
        """Another process changed this device: take its serials anew and cut it if it lost one."""
        before, serials = await self._read_one(device)
        self.admission.put(device, serials)
        retired = device in await self.store.read(self.retired)
        moved = self.admission.set_retired(device, retired)
        if self.kick and ((moved and retired) or not before.keys() <= serials.keys()):
            await self.kick(device)
        if moved:
            self.store.on_changes(
                [Change("devices", {"id": device, "service": "retired" if retired else "active"})]
            )

    async def _read_one(self, device: str) -> tuple[Serials, Serials]:
        """(the table's serials, the store's), of one moment: what this process changed while it read is not taken back."""
        while True:
            before = self.admission.serials(device)
            serials = await self.store.read(lambda conn: certificates.allowed(conn, device))
            if self.admission.serials(device) == before:
                return before, serials

    def on_changes(self, changes: Iterable[Change]) -> None:
        """A device was retired or taken back: it is cut, or let in again; other processes are told."""
        for change in changes:
            if change.topic == "devices" and "service" in change.data:
                device, retired = str(change.data["id"]), change.data["service"] == "retired"
                if self.admission.set_retired(device, retired):
                    self._soon(self._spread(device, cut=retired))

    # What a person decides

    def issue_claim(
        self, unit: Unit, actor: Actor, device: str, *, purpose: claims.Purpose, ttl: timedelta | None
    ) -> tuple[claims.Claim, str]:
        """A claim and its token's text."""
        claim, token = claims.issue(unit, actor, device, pepper=self._pepper, purpose=purpose, ttl=ttl)
        return claim, token.text

    def revoke(self, unit: Unit, actor: Actor, device: str, reason: str) -> int:
        """Revoke a device's certificates and open claims; its connections are cut after the commit. NotFound if it has none."""
        if not certificates.history(unit.conn, device):
            raise NotFound(
                N_("The device {device} has no certificate that could be revoked."), device=device[:40]
            )
        found = certificates.revoke_all(unit, device, reason)
        claims.revoke_open(unit, device)
        record(
            unit, actor, "device.revoke", f"device:{device}", reason=reason, detail={"certificates": found}
        )
        self._changed(unit, device, cut=True)
        return found

    # What a device asks

    async def enrol(self, device: str, token: str, body: bytes) -> x509.Certificate:
        """A certificate against a claim."""
        return await self._write(lambda unit: self._enrol(unit, device, token, body))

    async def renew(self, peer: Peer, body: bytes) -> x509.Certificate:
        """A new certificate for a device that showed a good one; it keeps the old one until the new one has connected."""
        return await self._write(lambda unit: self._renew(unit, peer, body))

    async def nonce(self) -> str:
        def make(unit: Unit) -> str:
            sweep_nonces(unit)
            text = secrets.token_urlsafe(24)
            unit.conn.execute(nonces.insert().values(nonce=text, expires_at=unit.now + NONCE_LIFE))
            return text

        return await self.store.write(make)

    async def recover(self, asked: Recovery) -> x509.Certificate:
        """A new certificate for a device whose own has expired, proved by the old key."""
        return await self._write(lambda unit: self._recover(unit, asked))

    async def _write(self, work: Callable[[Unit], x509.Certificate | Denied]) -> x509.Certificate:
        answer = await self.store.write(work)
        if isinstance(answer, Denied):
            raise answer
        return answer

    def _enrol(self, unit: Unit, device: str, token: str, body: bytes) -> x509.Certificate | Denied:
        try:
            key, _ = public_key_of(body)
            pubkey = spki_sha256(key)
            certificates.check_key(unit.conn, device, pubkey)
        except BadRequest as error:
            return Denied(400, str(error))
        if denied := self._out_of_service(unit, device):
            return denied
        bound = claims.take(unit, device, token, pubkey, pepper=self._pepper, alarm=self.alarm)
        if bound is None:
            return Denied(401, CLAIM_REFUSED)
        if bound.serial is not None:
            row = certificates.by_serial(unit.conn, bound.serial)
            return x509.load_pem_x509_certificate(row.pem.encode())
        if bound.purpose is claims.Purpose.REPLACE:
            certificates.revoke_all(unit, device, "replaced by another box")
        made = self._issue(unit, device, key, cut=bound.purpose is claims.Purpose.REPLACE)
        claims.bound_to(unit, bound.claim, serial_text(made))
        self._note(unit, "device.enrol", device, made, claim=bound.claim)
        return made

    def _renew(self, unit: Unit, peer: Peer, body: bytes) -> x509.Certificate | Denied:
        row = certificates.by_serial(unit.conn, peer.serial)
        if row is None or row.device_id != peer.device or row.state not in (Standing.NEXT, Standing.CURRENT):
            return Denied(
                403, "the certificate is revoked or has been replaced; ask the command centre for a new claim"
            )
        made = self._next(unit, peer.device, body, old=row)
        if isinstance(made, x509.Certificate):
            self._note(unit, "device.renew", peer.device, made)
        return made

    def _recover(self, unit: Unit, asked: Recovery) -> x509.Certificate | Denied:
        spent = unit.conn.execute(
            nonces.delete().where(nonces.c.nonce == asked.nonce, nonces.c.expires_at > unit.now)
        )
        if spent.rowcount != 1:
            return Denied(403, "the nonce is unknown, spent or too old; fetch a new one and try again")
        if denied := self._out_of_service(unit, asked.device):
            return denied
        try:
            old = x509.load_pem_x509_certificate(asked.certificate)
            _, der = public_key_of(asked.csr)
            row = self._recoverable(unit, asked, old)
            old_key = old.public_key()
            assert isinstance(old_key, ec.EllipticCurvePublicKey)
            old_key.verify(asked.signature, asked.nonce.encode() + der, ec.ECDSA(hashes.SHA256()))
        except BadRequest as error:
            return Denied(400, str(error))
        except ValueError:
            return Denied(400, "the old certificate cannot be read; send it as PEM")
        except InvalidSignature:
            return Denied(403, "the signature is not the old key's over the nonce and the request")
        except Denied as denied:
            return denied
        made = self._next(unit, asked.device, asked.csr, old=row)
        if isinstance(made, x509.Certificate):
            self._note(unit, "device.recover", asked.device, made)
        return made

    def _out_of_service(self, unit: Unit, device: str) -> Denied | None:
        if device not in self.retired(unit.conn):
            return None
        return Denied(403, "the device is retired; ask the command centre to take it back into service")

    def _recoverable(self, unit: Unit, asked: Recovery, old: x509.Certificate) -> Any:
        """The row of a certificate that we issued to this device, that was not taken from it and has not ended too long ago."""
        row = certificates.by_serial(unit.conn, serial_text(old))
        if (
            row is None
            or x509.load_pem_x509_certificate(row.pem.encode()) != old
            or row.device_id != asked.device
        ):
            raise Denied(403, "the old certificate is not one that this hub issued to this device")
        if row.state not in (Standing.NEXT, Standing.CURRENT):
            raise Denied(
                403,
                "the old certificate is revoked or has been replaced; ask the command centre for a new claim",
            )
        if unit.now - row.not_after > RECOVERY:
            raise Denied(
                403,
                f"the certificate ended more than {RECOVERY.days} days ago; ask the command centre for a new claim",
            )
        return row

    def _next(self, unit: Unit, device: str, body: bytes, *, old: Any) -> x509.Certificate | Denied:
        """The next certificate of a device that proved itself with an old one; the same key again is allowed (RFC 7030)."""
        try:
            key, _ = public_key_of(body)
            pubkey = spki_sha256(key)
            again = certificates.reissued(unit.conn, device, pubkey, unit.now, other_than=old.serial)
            return again or self._issue(unit, device, key, keep=old.serial)
        except BadRequest as error:
            return Denied(400, str(error))

    def _issue(
        self,
        unit: Unit,
        device: str,
        key: ec.EllipticCurvePublicKey,
        *,
        cut: bool = False,
        keep: str | None = None,
    ) -> x509.Certificate:
        made = certificates.issue(unit, self.authority, device, key, keep=keep)
        self._changed(unit, device, cut=cut)
        return made

    def _note(self, unit: Unit, action: str, device: str, made: x509.Certificate, **detail: str) -> None:
        until = made.not_valid_after_utc.isoformat()
        record(
            unit,
            Actor(f"device:{device}", system("identity").role, "device"),
            action,
            f"device:{device}",
            detail={"serial": serial_text(made), "until": until, **detail},
        )

    # After the commit: memory, other processes, live connections

    def _changed(self, unit: Unit, device: str, *, cut: bool = False) -> None:
        serials = certificates.allowed(unit.conn, device)
        unit.tell("identity", device=device)

        def after() -> None:
            self.admission.put(device, serials)
            self._soon(self._spread(device, cut=cut))

        unit.after(after)

    async def _spread(self, device: str, *, cut: bool) -> None:
        for act in ((self.kick,) if cut else ()) + (self.notify,):
            if act is None:
                continue
            try:
                await act(device)
            except Unavailable as error:
                log.warning("the change of %s was not spread: %s", device, error, extra=about(device=device))

    def _on_first(self, peer: Peer) -> None:
        self._later(asyncio.get_running_loop(), self._promote(peer))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work.close()  # a command line: its caller announces the change to the running hub
            return
        self._later(loop, work)

    def _later(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_stranger(self, peer: Peer) -> None:
        """A certificate that was taken out of service speaks: written down once in STRANGER_EVERY, however often it tries."""
        now = self.store.clock()
        if now - self._strangers.get(peer.serial, now - STRANGER_EVERY) < STRANGER_EVERY:
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.clear()
        self._strangers[peer.serial] = now
        self._later(asyncio.get_running_loop(), self._write_stranger(peer))

    async def _write_stranger(self, peer: Peer) -> None:
        def work(unit: Unit) -> None:
            row = certificates.by_serial(unit.conn, peer.serial)
            if row is None:
                gap = adoption.missed(unit.conn)
                if gap is not None and adoption.adopt(unit, peer, gap):
                    self._changed(unit, peer.device)
                return
            if row.state in (Standing.SUPERSEDED, Standing.REVOKED):
                detail = {"serial": peer.serial, "state": row.state}
                subject = f"device:{peer.device}"
                record(unit, system("identity"), "device.stranger", subject, reason=row.reason, detail=detail)
                self.alarm(unit, "device.stranger", peer.device, f"certificate {peer.serial}, {row.state}")

        try:
            await self.store.write(work)
        except Unavailable as error:
            log.warning(
                "that %s spoke with an old certificate was not noted: %s",
                peer.device,
                error,
                extra=about(device=peer.device),
            )

    async def _promote(self, peer: Peer) -> None:
        def work(unit: Unit) -> None:
            if certificates.connected(unit, peer.device, peer.serial):
                claims.used(unit, peer.serial)
                self._changed(unit, peer.device)

        try:
            await self.store.write(work)
        except Unavailable as error:
            log.warning(
                "that %s connected with its new certificate was not noted: %s",
                peer.device,
                error,
                extra=about(device=peer.device),
            )

    async def close(self) -> None:
        """Wait for what still runs after commits."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def sweep_nonces(unit: Unit) -> None:
    unit.conn.execute(nonces.delete().where(nonces.c.expires_at <= unit.now))


def open_identity(home: Path, store: Store, *, city: str) -> Identity:
    """Keys and certificates in the hub's home, made on first use; SetupError if they cannot be read."""
    try:
        authority = open_authority(home, city=city, now=store.clock())
        return Identity(store, authority, open_signer(home), open_pepper(home))
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the keys in {home} cannot be read ({error}); restore the folders pki and signing"
        ) from error
