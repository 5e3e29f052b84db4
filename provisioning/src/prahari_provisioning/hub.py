"""The hub's API, as far as a technician needs it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from prahari_wire.base import DeviceId
from pydantic import BaseModel, ValidationError

from prahari_provisioning.errors import HubRefused, HubUnreachable, ProvisioningError

TIMEOUT_S = 15.0


class Claim(BaseModel):
    """The one-time right of a device to enrol; ``token`` is told once."""

    id: str
    token: str
    device: DeviceId
    expires_at: datetime


class Enrolment(BaseModel):
    """Where a device finds its hub, and the hash of the key that proves it."""

    hub: str
    mqtt: str
    city: str
    ca_spki_sha256: str


A = TypeVar("A", bound=BaseModel)


def read_token(path: Path) -> str:
    """The API token in ``path``; one sentence when it cannot be read."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ProvisioningError(
            f"The token file {path} cannot be read ({why}): name the file with your API token by --token-file or PRAHARI_TOKEN."
        ) from None
    if not token or any(character.isspace() for character in token):
        raise ProvisioningError(f"The token file {path} must hold one API token and nothing else.")
    return token


class Hub:
    """A session with the hub. Each method raises HubUnreachable or HubRefused with one sentence for the technician."""

    def __init__(self, address: str, token: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ProvisioningError(
                f"{address!r} is not the address of a hub: write it as https://hub.example or http://127.0.0.1:8080."
            )
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._http = httpx.Client(
            base_url=f"{self.address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def enrolment(self) -> Enrolment:
        return self._parsed(Enrolment, self._ask("GET", "/enrolment"))

    def claim(self, device: str, *, site: str | None = None, ttl_s: int | None = None) -> Claim:
        wanted = {"device": device, "site": site, "ttl_s": ttl_s}
        body = {name: value for name, value in wanted.items() if value is not None}
        return self._parsed(Claim, self._ask("POST", "/claims", body, device=device))

    def revoke(self, device: str, *, reason: str) -> None:
        self._ask("POST", f"/devices/{device}/revoke", {"reason": reason}, device=device)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, device: str | None = None
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise HubUnreachable(
                f"The hub at {self.address} does not answer ({why}): check the address, the network, and that the hub runs."
            ) from None
        if not answer.is_success:
            raise HubRefused(_refusal(answer, self.address, device))
        return answer

    def _parsed(self, model: type[A], answer: httpx.Response) -> A:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError:
            raise HubRefused(
                f"{self.address} answers, but not as a Prahari hub of this version: check the address, then the versions."
            ) from None


def _refusal(answer: httpx.Response, address: str, device: str | None) -> str:
    detail = _detail(answer)
    match answer.status_code:
        case 401:
            return (
                "The hub does not accept your token: it is wrong, expired or revoked. Ask an administrator for a new one"
                " (prahari-hub token create)."
            )
        case 403:
            return f"Your token may not do this{detail or ': it needs the role technician or admin'}."
        case 404 if device is not None and detail:
            return f"The hub says{detail}."
        case 404 if device is not None:
            return f"The hub does not know the device {device}: an administrator adds it (prahari-hub device add)."
        case 404:
            return f"{address} has no such page: it is not a Prahari hub, or one of another version."
        case 409 | 422 | 400:
            return f"The hub refuses this{detail or ' and does not say why'}."
        case 429:
            return "The hub asks for patience: too many requests. Wait a minute, then try again."
    return f"The hub failed ({answer.status_code}{detail}): try again, then look into its log."


def _detail(answer: httpx.Response) -> str:
    """``: `` and the detail of the problem document (RFC 9457), or nothing."""
    try:
        problem = answer.json()
    except ValueError:
        return ""
    if not isinstance(problem, dict):
        return ""
    said = problem.get("detail") or ""
    return f": {str(said).strip().rstrip('.')}" if said else ""
