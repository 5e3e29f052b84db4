"""Judges the signatures of a sealed package with the cryptography library: for the hub's own command and pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID
from prahari_wire.evidence import ChainHead

from prahari_hub.evidence.receiving import signed


class Keys:
    """``keys``: the hub's keys by id, raw; ``root``: the city's root certificate."""

    def __init__(self, keys: Mapping[str, bytes], root: x509.Certificate) -> None:
        self._keys, self._root = keys, root

    def hub(self, key: str, public: str, data: bytes, sig: str) -> str | None:
        try:
            raw, signature = _raw(public), _raw(sig)
            if self._keys.get(key) != raw or hashlib.sha256(raw).hexdigest()[:16] != key:
                return f"the key {key} that sealed it is none of this hub's"
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
        except (InvalidSignature, binascii.Error, ValueError):
            return "the seal is not the hub's: what it seals was changed afterwards"
        return None

    def device(self, certificate: bytes, data: bytes, sig: str) -> bool:
        return signed({"": certificate}, data, "", sig)

    def certificate(self, certificate: bytes, authorities: bytes, head: ChainHead) -> str | None:
        try:
            found = x509.load_pem_x509_certificate(certificate)
            chain = [*x509.load_pem_x509_certificates(authorities), self._root]
        except ValueError:
            return "the certificate, or what it leads to, is not one"
        names = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [head.device]:
            return f"the certificate is not that of {head.device}"
        if not found.not_valid_before_utc <= head.signed_at <= found.not_valid_after_utc:
            return "the certificate was not valid when the chain was signed"
        if not self._leads_up(found, chain):
            return "the certificate does not lead to the city's root"
        return None

    def _leads_up(self, found: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
        """Each issued by the next, up to the root that is known here."""
        for _ in range(4):
            if found == self._root:
                return True
            above = next((each for each in chain if each != found and _issued(found, each)), None)
            if above is None:
                return False
            found = above
        return False


def _issued(below: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        constraints = above.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert isinstance(above.public_key(), ec.EllipticCurvePublicKey)
        below.verify_directly_issued_by(above)
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return constraints.ca


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
