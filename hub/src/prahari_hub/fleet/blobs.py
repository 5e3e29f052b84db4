"""Files by their SHA-256 in an object store: a folder by default, S3-compatible at scale."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url
from prahari_wire.ids import ulid

from prahari_hub.errors import Invalid, NotFound, SetupError, Unavailable
from prahari_hub.fleet.uploads import is_sha256
from prahari_hub.settings import Settings

MOST_BYTES = 16 * 1024 * 1024
AT_ONCE = 8
"""Uploads that are held in memory; the next one waits."""
UPLOAD_S = 300.0
FOOTAGE = "footage"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)


class Blobs:
    """``put`` keeps nothing whose hash is not its name, and returns once the bytes are on disk."""

    def __init__(self, store: obstore.store.ObjectStore) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def put(self, sha256: str, chunks: AsyncIterator[bytes], *, size: int | None = None) -> int:
        """Store a file and return its size; Invalid if it is not what its name, or ``size``, says."""
        try:
            async with self._turns, asyncio.timeout(UPLOAD_S):
                content = await self._received(sha256, chunks, size)
                await self._write(_path(sha256), content)
        except TimeoutError:
            raise Unavailable(f"the file did not arrive within {UPLOAD_S:.0f} s; send it again") from None
        return len(content)

    async def _received(self, sha256: str, chunks: AsyncIterator[bytes], size: int | None) -> bytes:
        limit = MOST_BYTES if size is None else min(size, MOST_BYTES)
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > limit:
                raise Invalid(
                    f"the file has more than the {limit} bytes that were announced", ("body", "size")
                )
        if size is not None and len(content) != size:
            raise Invalid(f"the file has {len(content)} bytes, {size} were announced", ("body", "size"))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Invalid("the content does not match its SHA-256; send it again", ("body", "sha256"))
        return bytes(content)

    async def _write(self, path: str, content: bytes) -> None:
        """obstore's own writing to a folder does not wait for the disk."""
        try:
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                await asyncio.to_thread(write_durably, Path(self._store.prefix) / path, content)
            else:
                await obstore.put_async(self._store, path, content)
        except (OSError, BaseError) as error:
            raise Unavailable(f"the file could not be stored: {error}") from error

    async def take(self, sha256: str, file: Path) -> None:
        """Store a file of any size whose hash was checked, and remove it where it lay. Unavailable: it still lies there."""
        try:
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                await asyncio.to_thread(move_durably, file, Path(self._store.prefix) / _path(sha256))
            else:
                await obstore.put_async(self._store, _path(sha256), file)
                await asyncio.to_thread(file.unlink)
        except (OSError, BaseError) as error:
            raise Unavailable(f"the file could not be stored: {error}") from error

    async def get(self, sha256: str) -> bytes:
        """The whole file; NotFound if there is none."""
        try:
            found = await obstore.get_async(self._store, _path(sha256))
            return bytes(await found.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"there is no file {sha256}") from error

    def delete(self, names: Sequence[str]) -> None:
        """Blocks: for the writer's thread. One that is not there is no error."""
        for sha256 in names:
            try:
                obstore.delete(self._store, _path(sha256))
            except (NotFoundError, FileNotFoundError):
                continue
            except (OSError, BaseError) as error:
                raise Unavailable(f"the file {sha256} could not be deleted: {error}") from error

    def hand_over(self, sha256: str, other: Blobs) -> None:
        """Move a file to another store; one that is there already is no error. Blocks: for the writer's thread."""
        path = _path(sha256)
        try:
            content = bytes(obstore.get(self._store, path).bytes())
        except (NotFoundError, FileNotFoundError):
            obstore.head(other._store, path)
            return
        if isinstance(other._store, LocalStore) and other._store.prefix is not None:
            write_durably(Path(other._store.prefix) / path, content)
        else:
            obstore.put(other._store, path, content)
        obstore.delete(self._store, path)

    async def size(self, sha256: str) -> int | None:
        """Of the stored file; None if there is none."""
        try:
            return (await obstore.head_async(self._store, _path(sha256)))["size"]
        except (NotFoundError, FileNotFoundError):
            return None


def open_blobs(settings: Settings) -> Blobs:
    """The store of the settings; SetupError if its URL is not one."""
    return _open(settings, "blobs", settings.blobs_url)


def open_footage(settings: Settings) -> Blobs:
    """Beside it, what boxes sent for footage requests: who may see a picture by its hash sees none of that."""
    return _open(settings, FOOTAGE, settings.blobs_url and f"{settings.blobs_url.rstrip('/')}/{FOOTAGE}")


def _open(settings: Settings, folder: str, url: str | None) -> Blobs:
    if url is None:
        return Blobs(local(settings.home / folder))
    try:
        return Blobs(from_url(url))
    except (BaseError, ValueError) as error:
        raise SetupError(f"the setting blobs_url is not usable: {error}") from error


def local(folder: Path) -> LocalStore:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(prefix=folder)


def write_durably(target: Path, content: bytes) -> None:
    """Under its name there is the whole file or none, also after a power cut."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = target.with_name(f"{ulid()}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    for folder in (target.parent, target.parent.parent):
        sync_folder(folder)


def move_durably(source: Path, target: Path) -> None:
    """``source`` is on disk already; afterwards it stands whole under its new name, also after a power cut."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        write_durably(target, source.read_bytes())
        source.unlink(missing_ok=True)
    for folder in (target.parent, target.parent.parent):
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def media_type(content: bytes) -> str:
    """By its first bytes, and only what a browser may show."""
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "application/octet-stream")


def _path(sha256: str) -> str:
    if not is_sha256(sha256):
        raise NotFound("a file is named by its SHA-256: 64 of 0-9 and a-f")
    return f"{sha256[:2]}/{sha256}"
