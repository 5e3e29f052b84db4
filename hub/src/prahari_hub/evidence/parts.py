"""Segments on their way in: files that grow by what arrives, in the hub's home, so that a cut-off upload goes on where it was."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import ClientDisconnect

from prahari_hub.errors import Invalid, Unavailable

TRANSFERS = "transfers"
"""Their folder in the home."""
OLD_S = 14 * 86400.0
"""What nobody went on with for so long was called off: a transfer that is still wanted begins anew."""
AT_ONCE = 32
"""Uploads that are written at the same time; the next one is told to come again."""


class Parts:
    """One file a transfer and segment. Two uploads of the same one take turns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._busy: set[str] = set()

    def offset(self, transfer: str, sha256: str) -> int:
        """How many bytes are here."""
        try:
            return self._path(transfer, sha256).stat().st_size
        except FileNotFoundError:
            return 0

    @asynccontextmanager
    async def taken(self, transfer: str, sha256: str) -> AsyncIterator[Path]:
        """The file, for one upload alone; Unavailable while another one has it, or too many are under way."""
        name = f"{transfer}-{sha256}"
        if name in self._busy:
            raise Unavailable(
                "another upload of this segment is under way; ask for its offset and go on then"
            )
        if len(self._busy) >= AT_ONCE:
            raise Unavailable("the hub takes as many uploads as it can; try again in a moment")
        self._busy.add(name)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield self._path(transfer, sha256)
        finally:
            self._busy.discard(name)

    def _path(self, transfer: str, sha256: str) -> Path:
        return self._folder / f"{transfer}-{sha256}.part"

    def sweep(self) -> int:
        """Delete what was abandoned; how many."""
        before_s, count = time.time() - OLD_S, 0
        for file in self._folder.glob("*.part"):
            if file.stat().st_mtime < before_s:
                file.unlink(missing_ok=True)
                count += 1
        return count


async def append(path: Path, chunks: AsyncIterator[bytes], *, size: int) -> int:
    """Add what arrives, also where the sender breaks off; the bytes that are there now. Invalid, and nothing kept, beyond ``size``."""
    with path.open("ab") as file:
        try:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
                if file.tell() > size:
                    await asyncio.to_thread(path.unlink)
                    raise Invalid(
                        f"more than the {size} bytes arrived that the manifest names; begin the segment anew",
                        ("body", f"{size} bytes"),
                    )
        except ClientDisconnect:
            pass
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
        return file.tell()


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
