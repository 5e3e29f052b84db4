"""How people are told: a signed webhook and mail. Each sends one message or raises NotTold."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from prahari_hub.errors import SetupError
from prahari_hub.incidents.queries import Incident
from prahari_hub.settings import Settings

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
WEBHOOK_TIMEOUT_S, MAIL_TIMEOUT_S = 10.0, 20.0
MIN_SECRET = 16


class NotTold(Exception):
    """The message did not reach the other side; the sentence carries no secret."""


@dataclass(frozen=True)
class Call:
    """What is told: ``delivery`` stays the same when it is sent again, so that a receiver can drop the double."""

    delivery: int
    step: int
    incident: Incident
    at: datetime


class Channel(Protocol):
    """``targets`` of a step (1 is the first); none where nobody is named."""

    def target(self, step: int) -> str | None: ...

    async def send(self, call: Call, target: str) -> None: ...


@dataclass(frozen=True)
class Webhook:
    """POST of JSON with ``Prahari-Signature: t=<Unix time>,v1=<HMAC-SHA256 over "t.body", hex>``; redirects are not followed."""

    url: str
    secret: bytes

    def target(self, step: int) -> str | None:
        """Scheme and host alone: the path may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}"

    async def send(self, call: Call, target: str) -> None:
        body = json.dumps(document(call), separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "prahari-hub",
            "Prahari-Delivery": str(call.delivery),
            "Prahari-Signature": sign(self.secret, body, int(call.at.timestamp())),
        }
        import httpx  # a tenth of a second of every start, for what many a hub never sends

        try:
            async with (
                asyncio.timeout(WEBHOOK_TIMEOUT_S),
                httpx.AsyncClient(
                    timeout=WEBHOOK_TIMEOUT_S, follow_redirects=False, verify=_trusted()
                ) as client,
            ):
                answer = await client.post(self.url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise NotTold(f"{target} does not answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise NotTold(f"{target} answered {answer.status_code}")


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates a receiver may have, as they were at the first message since the start: httpx would read them all for each,
    50 ms in which nothing else runs."""
    import httpx

    return httpx.create_ssl_context()


def sign(secret: bytes, body: bytes, at: int) -> str:
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def document(call: Call) -> dict[str, Any]:
    """The webhook's body."""
    incident = call.incident
    return {
        "type": "incident.unacknowledged",
        "delivery": call.delivery,
        "step": call.step,
        "at": call.at.isoformat(),
        "incident": {
            "id": incident.id,
            "kind": incident.kind,
            "severity": str(incident.severity),
            "title": incident.title,
            "device": incident.device,
            "peripheral": incident.peripheral,
            "site": incident.site,
            "scope_type": incident.scope_type,
            "scope": incident.scope,
            "children": incident.children,
            "opened_at": incident.opened_at.isoformat(),
            "count": incident.count,
            "active": incident.active,
        },
    }


@dataclass(frozen=True)
class Mail:
    """SMTP with STARTTLS where the server offers it, or TLS from the start with smtps://."""

    url: str
    sender: str
    recipients: tuple[tuple[str, ...], ...]

    def target(self, step: int) -> str | None:
        """The recipients of a step; a step beyond the table tells the last ones again."""
        if not self.recipients:
            return None
        return ", ".join(self.recipients[min(step, len(self.recipients)) - 1]) or None

    async def send(self, call: Call, target: str) -> None:
        try:
            await asyncio.to_thread(self._send, letter(call, self.sender, target))
        except (OSError, smtplib.SMTPException) as error:
            raise NotTold(f"the mail server {urlsplit(self.url).hostname} failed: {_reason(error)}") from None

    def _send(self, message: EmailMessage) -> None:
        parts = urlsplit(self.url)
        host = parts.hostname or "localhost"
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=MAIL_TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, parts.port or 25, timeout=MAIL_TIMEOUT_S)
        with server:
            server.ehlo()
            if parts.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            elif parts.username and parts.scheme == "smtp" and host not in LOCAL:
                raise NotTold(
                    f"the mail server {host} offers no TLS, so the password stays here: use smtps:// or another server"
                )
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)


def _reason(error: Exception) -> str:
    """What the server or the system said, without what we sent."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "every recipient was refused"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"code {error.smtp_code}"
    return getattr(error, "strerror", None) or type(error).__name__


def letter(call: Call, sender: str, recipients: str) -> EmailMessage:
    incident = call.incident
    place = f"{incident.scope_type} {incident.scope or ''}".strip() if incident.device is None else None
    where = " / ".join(part for part in (place, incident.site, incident.device, incident.peripheral) if part)
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipients
    message["Subject"] = one_line(f"[{incident.severity}] {incident.title}: {incident.device or place}")
    message["Date"] = format_datetime(call.at)
    message["Message-ID"] = make_msgid(str(call.delivery), "prahari.invalid")
    message.set_content(
        f"{incident.title}\n\n"
        f"Where: {where}\n"
        f"Since: {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC, {incident.count} times\n"
        f"Nobody has acknowledged it (step {call.step}).\n"
        f"Incident {incident.id}\n"
    )
    return message


def one_line(text: str) -> str:
    return " ".join(text.split())


def channels(settings: Settings) -> Mapping[str, Channel]:
    """The channels that the settings name; SetupError says what is missing."""
    found: dict[str, Channel] = {}
    if settings.webhook_url:
        if urlsplit(settings.webhook_url).scheme not in ("http", "https"):
            raise SetupError("setting webhook_url: it must begin with https:// or http://")
        found["webhook"] = Webhook(settings.webhook_url, _secret(settings.webhook_secret_file))
    if settings.smtp_url:
        if urlsplit(settings.smtp_url).scheme not in ("smtp", "smtps"):
            raise SetupError("setting smtp_url: it must begin with smtp:// or smtps://")
        found["mail"] = Mail(
            settings.smtp_url, settings.mail_from, tuple(tuple(people) for people in settings.mail_to)
        )
    return found


def _secret(file: Path | None) -> bytes:
    if file is None:
        raise SetupError("setting webhook_secret_file: name a file with the secret that signs webhooks")
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise SetupError(f"the webhook's secret {file} cannot be read: {error.strerror}") from error
    if len(secret) < MIN_SECRET:
        raise SetupError(
            f"the webhook's secret {file} is shorter than {MIN_SECRET} characters; make a longer one"
        )
    return secret
