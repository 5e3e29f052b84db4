"""Certificate requests (PKCS#10) as devices send them: what is refused, and why. A request's wishes for a name count for nothing."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

MAX_REQUEST = 8 * 1024
_ARMOUR = re.compile(r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----(.*?)-----END", re.DOTALL)


class BadRequest(Exception):
    """The request cannot be answered with a certificate; the text says what to send instead."""


def public_key_of(body: bytes) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """(the public key, the request in DER) from base64 of DER or from PEM; BadRequest otherwise."""
    if len(body) > MAX_REQUEST:
        raise BadRequest(f"the request is larger than {MAX_REQUEST} bytes; send a plain PKCS#10 request")
    der = _der(body)
    try:
        request = x509.load_der_x509_csr(der)
        key, signed = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadRequest(
            "the body is no PKCS#10 certificate request; make one with openssl req -new"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("the key is not an elliptic-curve key on P-256 (prime256v1); make a new key")
    if not signed:
        raise BadRequest("the request is not signed by its own key; make it again")
    return key, der


def certs_only(certificates: list[x509.Certificate]) -> bytes:
    """PKCS#7 certs-only in base64 with line breaks, as EST answers."""
    return base64.encodebytes(serialize_certificates(certificates, Encoding.DER))


def _der(body: bytes) -> bytes:
    text = body.decode("ascii", errors="replace")
    armoured = _ARMOUR.search(text)
    try:
        return base64.b64decode("".join((armoured[1] if armoured else text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("the body is neither base64 nor PEM; send a PKCS#10 request in base64") from error
