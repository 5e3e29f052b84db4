"""The hub's own certificate authority: a root, an issuing CA, the server's certificate and the devices'.

Everything is P-256. Files in ``pki/`` of the hub's home, 0600: ``root.key`` (may be taken off the machine, it is needed only to
renew the issuing CA), ``root.pem``, ``issuing.key``, ``issuing.pem`` (the current one first), ``server.key``, ``server.pem``
(with its chain), ``ca.pem`` (what both sides trust).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prahari_wire.topics import is_device_id

from prahari_hub.broker.files import locked, private_folder, write_private

ROOT_LIFE = timedelta(days=3652)
ISSUING_LIFE = timedelta(days=1096)
SERVER_LIFE = timedelta(days=365)
DEVICE_LIFE = timedelta(days=90)
BACKDATED = timedelta(hours=24)
"""A device whose clock is a day behind still finds its new certificate valid."""

Key = ec.EllipticCurvePrivateKey


class Authority:
    """Issues certificates. Build it with ``open_authority``."""

    def __init__(
        self, folder: Path, city: str, root: x509.Certificate, issuing: list[x509.Certificate], key: Key
    ) -> None:
        self.folder = folder
        self.city = city
        self.root = root
        self.issuing = issuing
        self._key = key

    @property
    def root_spki_sha256(self) -> str:
        """What a seed file pins."""
        return spki_sha256(self.root.public_key())

    @property
    def chain(self) -> list[x509.Certificate]:
        """What a device trusts: every issuing CA, the current one first, and the root."""
        return [*self.issuing, self.root]

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server_files(self) -> tuple[Path, Path]:
        """(certificate with its chain, key) of the broker's and the device HTTPS listener."""
        return self.folder / "server.pem", self.folder / "server.key"

    def device_certificate(
        self, device: str, key: ec.EllipticCurvePublicKey, *, now: datetime, life: timedelta = DEVICE_LIFE
    ) -> x509.Certificate:
        """A certificate for a device's public key; the hub alone decides the name."""
        if not is_device_id(device):
            raise ValueError(f"{device[:40]!r} is not a device id")
        urn = x509.UniformResourceIdentifier(f"urn:prahari:{_urn_part(self.city)}:{device}")
        builder = _builder(
            _name(device, self.city), key, self.issuing[0].subject, now - BACKDATED, now + life
        )
        builder = _leaf(builder, [ExtendedKeyUsageOID.CLIENT_AUTH], [urn])
        return _sign(builder, self._key, self.issuing[0])

    def server_certificate(self, names: Sequence[str], *, now: datetime) -> None:
        """Make the server's certificate for these host names and addresses unless a good one stands there."""
        with locked(self.folder):  # processes may share the home
            self._server_certificate(names, now)

    def _server_certificate(self, names: Sequence[str], now: datetime) -> None:
        certificate_file, key_file = self.server_files
        if certificate_file.exists() and key_file.exists() and self._still_good(certificate_file, names, now):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        sans = [_general_name(name) for name in dict.fromkeys(names)]
        builder = _builder(
            _name(names[0], self.city), key.public_key(), self.issuing[0].subject, *self._server_life(now)
        )
        certificate = _sign(
            _leaf(builder, [ExtendedKeyUsageOID.SERVER_AUTH], sans), self._key, self.issuing[0]
        )
        write_private(key_file, _key_pem(key))
        write_private(certificate_file, pem([certificate, self.issuing[0], self.root]))

    def _server_life(self, now: datetime) -> tuple[datetime, datetime]:
        """Begin and end that hold when ``now`` is wrong as well: from the issuing CA's begin, and no shorter than what it replaces.

        A hub that was started with its clock ahead would else show what every device refuses once the clock is right.
        """
        issuing = self.issuing[0]
        ends = [
            now + SERVER_LIFE,
            *(found.not_valid_after_utc for found in _load_all(self.server_files[0])[:1]),
        ]
        return issuing.not_valid_before_utc, min(max(ends), issuing.not_valid_after_utc)

    def node_certificate(self, folder: Path, names: Sequence[str], *, now: datetime) -> None:
        """A new certificate for a broker's node elsewhere, with its key and what it trusts: node.pem, node.key and ca.pem.

        Nodes show it to devices and hubs, and to one another, where it counts as a client's as well.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        end = min(now + SERVER_LIFE, self.issuing[0].not_valid_after_utc)
        sans = [_general_name(name) for name in dict.fromkeys(names)]
        subject = _name(f"node {names[0]}", self.city)
        builder = _builder(subject, key.public_key(), self.issuing[0].subject, now - BACKDATED, end)
        usages = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = _sign(_leaf(builder, usages, sans), self._key, self.issuing[0])
        write_private(folder / "node.key", _key_pem(key))
        write_private(folder / "node.pem", pem([certificate, self.issuing[0], self.root]))
        write_private(folder / "ca.pem", pem(self.chain))

    def _still_good(self, file: Path, names: Sequence[str], now: datetime) -> bool:
        found = _load_all(file)[0]
        wanted = {_general_name(name) for name in names}
        stands = set(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        return (
            wanted == stands
            and found.public_key() == _load_key(self.server_files[1]).public_key()
            and found.issuer == self.issuing[0].subject
            and found.not_valid_after_utc - now > SERVER_LIFE / 6
            and not found.not_valid_before_utc > now >= self.issuing[0].not_valid_before_utc
        )


def open_authority(home: Path, *, city: str, now: datetime) -> Authority:
    """The authority in ``home/pki``, made on first use; its issuing CA is renewed half a year before its end."""
    folder = private_folder(home / "pki")
    if not (folder / "root.pem").exists():
        _make_root(folder, city, now)
    root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    issuing = _load_all(folder / "issuing.pem")
    if not _issuing_stands(folder, issuing, now):
        issuing = _make_issuing(folder, city, root, issuing, now) or issuing
    issuing_key = _load_key(folder / "issuing.key")
    authority = Authority(folder, city, root, issuing, issuing_key)
    bundle = pem(authority.chain)
    if not authority.ca_file.exists() or authority.ca_file.read_bytes() != bundle:
        write_private(authority.ca_file, bundle)
    return authority


def _issuing_stands(folder: Path, issuing: list[x509.Certificate], now: datetime) -> bool:
    """Whether the current issuing CA has long to live and its key is the one beside it (a crash may part the two)."""
    if not issuing or issuing[0].not_valid_after_utc - now < ISSUING_LIFE / 6:
        return False
    return issuing[0].public_key() == _load_key(folder / "issuing.key").public_key()


def spki_sha256(key: object) -> str:
    """SHA-256 in hex over the DER of a public key's SubjectPublicKeyInfo."""
    assert isinstance(key, ec.EllipticCurvePublicKey)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def serial_text(certificate: x509.Certificate) -> str:
    """The serial as the store and the callout compare it: lower-case hex."""
    return f"{certificate.serial_number:x}"


def pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _make_root(folder: Path, city: str, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Prahari root", city)
    builder = _builder(subject, key.public_key(), subject, now - BACKDATED, now + ROOT_LIFE)
    builder = _authority_extensions(builder, key.public_key(), path_length=1)
    write_private(folder / "root.key", _key_pem(key))
    write_private(folder / "root.pem", pem([builder.sign(key, hashes.SHA256())]))


def _make_issuing(
    folder: Path, city: str, root: x509.Certificate, before: list[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """A fresh issuing CA in front of the others; nothing if the root's key was taken away.

    ``now`` may be wrong: it begins with its root, and an ended one stays, which no handshake takes if it has truly ended.
    """
    if not (folder / "root.key").exists():
        return []
    root_key = _load_key(folder / "root.key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"Prahari issuing {now:%Y-%m-%d}", city)
    end = min(now + ISSUING_LIFE, root.not_valid_after_utc)
    builder = _builder(subject, key.public_key(), root.subject, root.not_valid_before_utc, end)
    builder = _authority_extensions(builder, key.public_key(), path_length=0)
    certificate = _sign(builder, root_key, root)
    found = [certificate, *before]
    write_private(folder / "issuing.key", _key_pem(key))
    write_private(folder / "issuing.pem", pem(found))
    return found


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _sign(builder: x509.CertificateBuilder, key: Key, issuer: x509.Certificate) -> x509.Certificate:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return builder.add_extension(authority, critical=False).sign(key, hashes.SHA256())


def _leaf(
    builder: x509.CertificateBuilder,
    usages: Sequence[x509.ObjectIdentifier],
    names: Sequence[x509.GeneralName],
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signature=True, authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _authority_extensions(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_key_usage(signature=False, authority=True), critical=True)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, signature: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, city: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, city[:64] or "city"),
        ]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _urn_part(city: str) -> str:
    """A city's name as a URN carries it: what is not a letter, digit or hyphen becomes a hyphen."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in city.lower()) or "city"


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(file: Path) -> Key:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _load_all(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes()) if file.exists() else []
