"""Who this box is: its key, its certificate, the hub that it trusts, and the hub's signing keys.

Key store: two slots (``identity/a``, ``identity/b``), each a key made here and the certificate for it. The file ``current`` names
the slot that has connected, ``trial`` a newer one until it has connected too, so a power cut or a bad certificate never
leaves the box without a pair that works.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import pkcs7
from prahari_wire.base import Message
from prahari_wire.signing import SignedMessage, signing_bytes

from prahari_agent.errors import Rejected, SetupError
from prahari_agent.files import sync_folder, write_atomic
from prahari_agent.log import get_logger

log = get_logger("identity")

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: a box that woke in 1970 cannot judge dates, only the chain to the pinned root."""
JITTER = 5 / 90
"""Renewal is spread by ± this share of the certificate's life: five days of ninety."""


class Hub(Message):
    """Which hub this box belongs to: what remains of the seed once its token is spent."""

    device: str
    hub: str
    mqtt: str
    ca_spki_sha256: str
    city: str
    board: str
    timezone: str
    seed_sha256: str

    @property
    def broker(self) -> tuple[str, int]:
        host, _, port = self.mqtt.rpartition(":")
        return host.strip("[]"), int(port)


class Pair(NamedTuple):
    """A slot that holds a key and its certificate."""

    slot: str
    key: Path
    certificate: Path
    serial: str
    device: str
    not_before: datetime
    not_after: datetime

    def renew_at(self) -> datetime:
        """Two thirds of the life, spread by the serial so that boxes enrolled together do not renew together."""
        life = self.not_after - self.not_before
        share = int(hashlib.sha256(self.serial.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
        return self.not_before + life * (2 / 3 + JITTER * (2 * share - 1))


class Identity:
    """The folder ``identity`` of a home. Thread-safe; holds no connection."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "identity"
        self._lock = Lock()
        self._unwritten_keys: dict[str, Any] | None = None
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    # The hub that this box belongs to

    def hub(self) -> Hub | None:
        try:
            return Hub.model_validate_json((self._folder / "hub.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SetupError(
                f"{self._folder / 'hub.json'} cannot be read ({error}): put a fresh seed into the home."
            ) from None

    def save_hub(self, hub: Hub) -> None:
        write_atomic(self._folder / "hub.json", hub.model_dump_json(indent=1).encode())

    @property
    def roots(self) -> Path:
        """PEM file of the pinned root and of the hub's other CA certificates below it."""
        return self._folder / "ca.pem"

    def save_roots(self, certificates: list[x509.Certificate]) -> None:
        write_atomic(self.roots, b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))

    # The two slots

    def pair(self, slot: str) -> Pair | None:
        folder = self._folder / slot
        key, certificate = folder / "key.pem", folder / "cert.pem"
        try:
            found = x509.load_pem_x509_certificate(certificate.read_bytes())
            mine = _public(_load_key(key).public_key())
        except (OSError, ValueError):
            return None
        if _public(found.public_key()) != mine:
            return None
        name = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return Pair(
            slot, key, certificate, f"{found.serial_number:x}", str(name[0].value) if name else "",
            found.not_valid_before_utc, found.not_valid_after_utc,
        )  # fmt: skip

    def current(self) -> Pair | None:
        """The pair that has connected before, or the only one there is."""
        slot = self._slot("current")
        return self.pair(slot) if slot else None

    def trial(self) -> Pair | None:
        """A newer pair that has not connected yet."""
        slot = self._slot("trial")
        return self.pair(slot) if slot and slot != self._slot("current") else None

    def proven_or_newer(self, now: datetime) -> Pair | None:
        """The current pair while it is good, else the one on trial."""
        current, trial = self.current(), self.trial()
        return trial if trial and (current is None or expired(current, now)) else current

    def choose(self, attempt: int) -> Pair | None:
        """The pair for the ``attempt``-th try since the last connection (from 0): the trial and the old one take turns."""
        trial, current = self.trial(), self.current()
        return trial if trial and (current is None or attempt % 2 == 0) else current

    def connected(self, pair: Pair) -> None:
        """``pair`` has been accepted by the hub: from now on it is the current one."""
        with self._lock:
            if self._slot("current") != pair.slot:
                write_atomic(self._folder / "current", pair.slot.encode())
                self._empty(self._folder / self._free_slot())
                log.info("the new certificate has connected and is the current one", serial=pair.serial)

    def _slot(self, name: str) -> str | None:
        try:
            slot = (self._folder / name).read_text().strip()
        except OSError:
            return None
        return slot if slot in {"a", "b"} else None

    # Making a request and taking its answer

    def new_request(self, device: str, city: str) -> bytes:
        """A PKCS#10 request (DER) for the free slot; the key is on disk before anyone sees its public half.

        A request that was never answered is made again with the same key: the hub then gives the same certificate.
        """
        with self._lock:
            folder = self._folder / self._free_slot()
            folder.mkdir(exist_ok=True, mode=0o700)
            path = folder / "key.pem"
            if not path.exists() or self._slot("trial") == folder.name:
                self._empty(folder)
                write_atomic(path, _key_pem(ec.generate_private_key(ec.SECP256R1())))
            return _request(_load_key(path), device, city)

    def take(self, certificates: list[x509.Certificate], device: str) -> Pair:
        """Put the certificate that answers ``new_request`` into the free slot; Rejected if it does not fit."""
        with self._lock:
            slot = self._free_slot()
            folder = self._folder / slot
            mine = _public(_load_key(folder / "key.pem").public_key())
            leaf = next((c for c in certificates if _public(c.public_key()) == mine), None)
            if leaf is None:
                raise Rejected(
                    "the hub answered with a certificate for another key: try again, then ask for a new claim"
                )
            chain = [leaf, *(c for c in certificates + self._issuers() if c.subject == leaf.issuer)][:2]
            pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)
            write_atomic(folder / "cert.pem", pem)
            write_atomic(self._folder / "trial", slot.encode())
        pair = self.pair(slot)
        if pair is None or pair.device != device:
            (folder / "cert.pem").unlink(missing_ok=True)
            raise Rejected(
                f"the hub answered with a certificate for another device than {device}: ask for a new claim"
            )
        return pair

    def sign(self, pair: Pair, data: bytes) -> bytes:
        """ECDSA over SHA-256 by the pair's key, DER."""
        return _load_key(pair.key).sign(data, ec.ECDSA(hashes.SHA256()))

    def _empty(self, folder: Path) -> None:
        """Clear a slot that is of no use any more: its next key is a fresh one."""
        (self._folder / "trial").unlink(missing_ok=True)
        if folder.exists():
            for name in ("cert.pem", "key.pem"):
                (folder / name).unlink(missing_ok=True)
                sync_folder(folder)

    def _free_slot(self) -> str:
        return "b" if self._slot("current") == "a" else "a"

    def _issuers(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self.roots.read_bytes())
        except (OSError, ValueError):
            return []

    # Trust in the other direction: TLS and signatures of the hub

    def tls(self, pair: Pair | None, *, check_time: bool = True) -> ssl.SSLContext:
        """A client context that trusts the pinned root alone; ``check_time`` False while the clock is below its floor."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(self.roots)
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(
                f"{self._folder} holds a damaged key or certificate ({error}): put a fresh seed into the home."
            ) from None
        if not check_time:
            context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
        return context

    def signing_keys(self) -> dict[str, str]:
        """The hub's Ed25519 keys by key id, base64."""
        try:
            found = (self._unwritten_keys or json.loads((self._folder / "keys.json").read_bytes()))["keys"]
        except (OSError, ValueError, KeyError):
            return {}
        return {str(kid): str(key) for kid, key in found.items()}

    def save_signing_keys(self, document: dict[str, Any]) -> None:
        """Keep the hub's keys; OSError where the disk takes nothing: they hold in memory then."""
        self._unwritten_keys = document
        write_atomic(self._folder / "keys.json", json.dumps(document, indent=1).encode())
        self._unwritten_keys = None

    def verify(self, device: str, message: SignedMessage) -> None:
        """Rejected unless the hub signed ``message`` for this device; UnknownKey if its key is not known here yet."""
        encoded = self.signing_keys().get(message.key)
        if encoded is None:
            raise UnknownKey(f"the signature's key {message.key!r} is not one of the hub's known keys")
        try:
            key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded))
            padded = message.sig + "=" * (-len(message.sig) % 4)
            key.verify(base64.urlsafe_b64decode(padded), signing_bytes(device, message))
        except (InvalidSignature, ValueError):
            raise Rejected("the hub's signature does not fit this message for this device") from None


class UnknownKey(Rejected):
    """The hub's keys must be fetched again before this signature can be judged."""


def spki_sha256(certificate: x509.Certificate) -> str:
    return hashlib.sha256(_public(certificate.public_key())).hexdigest()


def pinned(bundle: bytes, pin: str) -> list[x509.Certificate]:
    """The hub's CA certificates out of a PKCS#7 bundle (DER): the root whose SPKI hash is ``pin`` first, then those it has signed.

    Rejected if the pinned root is not among them: that is not our hub.
    """
    try:
        certificates = pkcs7.load_der_pkcs7_certificates(bundle)
    except ValueError:
        raise Rejected(
            "the hub's CA certificates cannot be read: is this the address of a Prahari hub?"
        ) from None
    root = next((c for c in certificates if spki_sha256(c) == pin and _signed_by(c, c)), None)
    if root is None:
        raise Rejected(
            "the hub's root key is not the one in the seed: this is another hub, or somebody stands in between. Nothing was sent."
        )
    return [root, *(c for c in certificates if c != root and _signed_by(c, root))]


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _request(key: ec.EllipticCurvePrivateKey, device: str, city: str) -> bytes:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, device),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, city),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SetupError(f"{path} is not a P-256 key: put a fresh seed into the home.")
    return key


def expired(pair: Pair, now: datetime, *, margin: timedelta = timedelta(0)) -> bool:
    return now + margin >= pair.not_after


def discard(path: Path) -> bool:
    """Overwrite and remove a file that holds a secret; False where the folder is read-only."""
    try:
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
