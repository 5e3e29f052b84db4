"""The keys of a home as one file: a tar, sealed with a passphrase if there is one (scrypt, AES-256-GCM)."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from prahari_hub.errors import SetupError

MAGIC = b"prahari-keys 1\n"
SALT, NONCE = 16, 12
WORK = 2**15
"""32 MiB and some 0.1 s for each guess (RFC 7914: n 32768, r 8, p 1); a Pi must be able to open it too."""
SHORTEST = 12


def pack(home: Path, files: Iterable[Path]) -> bytes:
    """A tar of regular files below ``home``, by their path in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            content = file.read_bytes()
            entry = tarfile.TarInfo(file.relative_to(home).as_posix())
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def unpack(packed: bytes) -> dict[PurePosixPath, bytes]:
    """Path → content; SetupError for anything but regular files at paths that stay below the home."""
    found: dict[PurePosixPath, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
        for entry in tar:
            path = PurePosixPath(entry.name)
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is None or path.is_absolute() or ".." in path.parts:
                raise SetupError(
                    f"the keys in the backup hold {entry.name!r}, which no hub wrote: take another backup"
                )
            found[path] = stream.read()
    return found


def seal(packed: bytes, passphrase: str) -> bytes:
    """Readable only with the passphrase; SetupError for one that is too short to protect anything."""
    if len(passphrase) < SHORTEST:
        raise SetupError(f"the passphrase has fewer than {SHORTEST} characters: take a longer one")
    salt, nonce = os.urandom(SALT), os.urandom(NONCE)
    return MAGIC + salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, packed, MAGIC)


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """What ``seal`` was given; SetupError if it is another passphrase or the file was changed."""
    start = len(MAGIC)
    salt, nonce = sealed[start : start + SALT], sealed[start + SALT : start + SALT + NONCE]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed[start + SALT + NONCE :], MAGIC)
    except (InvalidTag, ValueError):
        raise SetupError(
            "the keys in the backup do not open with this passphrase: give the one with which it was made"
        ) from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=WORK, r=8, p=1).derive(passphrase.encode())
