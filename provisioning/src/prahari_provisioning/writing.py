"""Files on cards and in folders: written whole or not at all, then read back and compared."""

from __future__ import annotations

import os
from pathlib import Path

from prahari_provisioning.errors import CannotWrite


def check_writable(folder: Path) -> None:
    """CannotWrite unless a file can be made in ``folder``; leaves nothing behind."""
    probe = folder / ".prahari-probe"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CannotWrite(
            f"{folder} cannot be written ({error.strerror}): check that it exists, is mounted, and is not write-protected."
        ) from None


def write_verified(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` in one step, flush it to the card, read it back. A FAT partition keeps no modes; that is no error."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode)
        beside.replace(path)
        found = path.read_bytes()
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CannotWrite(
            f"{path} could not be written ({error.strerror}): is the card full or write-protected?"
        ) from None
    if found != content:
        raise CannotWrite(
            f"{path} reads back other than it was written: the card is broken, take another one."
        )
