"""Which addresses a camera's source may have: an address is data from elsewhere, and must not open what the site does not allow.

A name is resolved once for each opening, and what was checked is what is opened: a name that means another machine a moment later
leads nowhere.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit, urlunsplit

from prahari_agent.errors import SourceError

STREAMS = ("rtsp", "rtsps", "http", "https")
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
HTTP_FORMS = "mpjpeg,mjpeg,mov,mp4,matroska,webm,mpegts,flv,h264,hevc,m4v,avi,asf,mpeg"
"""Of what comes over HTTP: playlists, which name further addresses, are none of them."""
Ip = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Reach:
    """``networks``: those that cameras may be in. ``private``: an owner's camera, which is never on the box itself."""

    networks: Sequence[str]
    private: bool = False

    def problem(self, source: str) -> str | None:
        """Why an address that is written as numbers may not be used; None for a name, which is looked at when it is opened."""
        parts = urlsplit(source)
        if parts.scheme not in STREAMS:
            return None
        try:
            return self._problem(ip_address(parts.hostname or ""))
        except ValueError:
            return None if parts.hostname else "the address names no host"

    def pin(self, address: str) -> tuple[str, dict[str, str]]:
        """(the address with the one number that its host has now, options of the opening); SourceError says what is not allowed."""
        parts = urlsplit(address)
        if parts.scheme not in STREAMS:
            return address, {}
        host = parts.hostname or ""
        found = self._resolved(host, parts.port or PORTS[parts.scheme])
        number = f"[{found}]" if found.version == 6 else str(found)
        user, at, _ = parts.netloc.rpartition("@")
        netloc = f"{user}{at}{number}" + (f":{parts.port}" if parts.port else "")
        return urlunsplit(parts._replace(netloc=netloc)), self._options(parts.scheme, host, parts.port)

    def _resolved(self, host: str, port: int) -> Ip:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise SourceError(
                f"the name {host} is not known: correct the camera's address, or the box's name server."
            ) from None
        number = ip_address(str(found[0][4][0]).partition("%")[0])
        if (problem := self._problem(number)) is not None:
            raise SourceError(f"{host}: {problem}.")
        return number

    def _problem(self, number: Ip) -> str | None:
        plain = number.ipv4_mapped if isinstance(number, IPv6Address) and number.ipv4_mapped else number
        if self.private and (plain.is_loopback or plain.is_unspecified):
            return f"{plain} is the box itself, where no owner's camera is: correct the camera's address"
        if not any(plain in ip_network(network, strict=False) for network in self.networks):
            return (
                f"{plain} lies in none of the networks that cameras of this box may be in: "
                "correct the address, or add its network to camera_networks in the box's agent.toml"
            )
        return None

    @staticmethod
    def _options(scheme: str, host: str, port: int | None) -> dict[str, str]:
        if scheme in ("rtsp", "rtsps"):
            return {"protocol_whitelist": "rtsp,rtsps,tcp,tls,udp,rtp"}
        named = host if port is None else f"{host}:{port}"
        return {
            "protocol_whitelist": "http,https,tcp,tls,httpproxy",
            "format_whitelist": HTTP_FORMS,
            "max_redirects": "0",
            "headers": f"Host: {named}\r\n",
        }
