"""Put simulated devices into service: register, claim, enrol by EST. Keys and certificates are kept in the swarm's home."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

SITES_ACROSS = 6
SOUTH, WEST, STEP = 18.47, 73.80, 0.018
"""A grid of sites over the demo's city."""


@dataclass(frozen=True)
class Registry:
    """The hub's API as the swarm sees it."""

    api: httpx.Client
    enrolment: dict[str, str]

    @classmethod
    def connect(cls, hub: str, token: str) -> Registry:
        api = httpx.Client(base_url=f"{hub}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30)
        return cls(api, api.get("/enrolment").raise_for_status().json())

    def ensure_sites(self) -> list[str]:
        ids = []
        for row in range(SITES_ACROSS):
            for column in range(SITES_ACROSS):
                site = f"swarm-site-{row}{column}"
                body = {
                    "id": site,
                    "name": f"Junction {row + 1}/{column + 1}",
                    "lat": SOUTH + row * STEP,
                    "lon": WEST + column * STEP,
                }
                self._post("/sites", body)
                ids.append(site)
        return ids

    def ensure_device(self, device: str, site: str) -> None:
        self._post("/devices", {"id": device, "name": f"Simulated {device}", "site": site})

    def claim(self, device: str) -> str:
        answer = self.api.post("/claims", json={"device": device}).raise_for_status().json()
        return str(answer["token"])

    def _post(self, path: str, body: dict[str, object]) -> None:
        answer = self.api.post(path, json=body)
        if answer.status_code != 409:  # 409: an earlier run made it
            answer.raise_for_status()


def root_of(registry: Registry) -> str:
    return str(registry.api.get("/ca").raise_for_status().json()["pem"])


def enrol(registry: Registry, device: str, home: Path, est: httpx.Client) -> None:
    """Make ``home``/device.pem, which holds key, certificate and chain, and device.key with the key alone, unless they are there."""
    pem_file = home / f"{device}.pem"
    if pem_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    answer = est.post(
        "/.well-known/est/simpleenroll",
        content=base64.b64encode(csr.public_bytes(serialization.Encoding.DER)),
        headers={"Content-Type": "application/pkcs10"},
        auth=(device, registry.claim(device)),
    ).raise_for_status()
    chain = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificates = [c.public_bytes(serialization.Encoding.PEM) for c in leaf_first(chain, device)]
    for file, parts in ((home / f"{device}.key", [key_pem]), (pem_file, [key_pem, *certificates])):
        file.touch(mode=0o600)
        file.write_bytes(b"".join(parts))


def leaf_first(chain: list[x509.Certificate], device: str) -> list[x509.Certificate]:
    def is_leaf(certificate: x509.Certificate) -> bool:
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return bool(names) and names[0].value == device

    return sorted(chain, key=lambda certificate: not is_leaf(certificate))


def est_client(registry: Registry, root_pem: str) -> httpx.Client:
    context = ssl.create_default_context(cadata=root_pem)
    return httpx.Client(base_url=registry.enrolment["hub"], verify=context, timeout=30)
