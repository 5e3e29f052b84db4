"""The stand-alone verifier: ``prahari-evidence FILE`` proves a sealed package or a copy of one, or names what does not hold.

It needs no hub and no network: this package, and the program ``openssl`` (3 or newer) for signatures. What it trusts is said by
``--trust``, a file that the city publishes (``prahari-hub evidence trust``); without, it says which keys to compare by hand.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prahari_wire import copies
from prahari_wire.base import parse
from prahari_wire.copies import CopyStatement, is_copy, read_statement
from prahari_wire.evidence import ChainHead, Pin
from prahari_wire.sealed import (
    CA,
    MANIFEST,
    SEAL,
    Flaw,
    Judge,
    Read,
    Seal,
    SealManifest,
    damages,
    flaws,
    read_manifest,
)

ED25519 = bytes.fromhex("302a300506032b6570032100")
"""DER of a SubjectPublicKeyInfo up to the 32 bytes of an Ed25519 key (RFC 8410)."""
NOT_WHOLE, NO_FILE, INCOMPLETE = 1, 2, 3


class Trust:
    """The city's root certificate (PEM) and the hub's keys by id (raw); nothing where the file is not given."""

    def __init__(self, root: bytes | None, keys: dict[str, bytes] | None) -> None:
        self.root, self.keys = root, keys

    @classmethod
    def of(cls, file: Path | None) -> Trust:
        """ValueError for a file that is not what ``prahari-hub evidence trust`` writes."""
        if file is None:
            return cls(None, None)
        found = json.loads(file.read_text())
        try:
            return cls(found["root"].encode(), {name: raw_of(text) for name, text in found["keys"].items()})
        except (KeyError, AttributeError, TypeError, binascii.Error):
            raise ValueError("it is not a file that prahari-hub evidence trust has written") from None


class Openssl:
    """Judges signatures with the program ``openssl``."""

    def __init__(self, trust: Trust, folder: Path) -> None:
        self._trust, self._folder = trust, folder

    def hub(self, key: str, public: str, data: bytes, sig: str) -> str | None:
        try:
            raw, signature = raw_of(public), raw_of(sig)
        except (binascii.Error, ValueError):
            return "the seal is not written as a seal is"
        if hashlib.sha256(raw).hexdigest()[:16] != key:
            return "the seal names another key than it carries"
        if self._trust.keys is not None and self._trust.keys.get(key) != raw:
            return f"the key {key} that sealed it is none of the city's"
        public_file = self._put("hub.der", ED25519 + raw)
        checks = ["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", str(public_file)]
        checks += ["-in", str(self._put("data", data)), "-sigfile", str(self._put("sig", signature))]
        return (
            None if self._run(*checks) else "the seal is not the hub's: what it seals was changed afterwards"
        )

    def device(self, certificate: bytes, data: bytes, sig: str) -> bool:
        try:
            signature = raw_of(sig)
        except (binascii.Error, ValueError):
            return False
        named = self._put("device.pem", certificate)
        public = subprocess.run(
            ["openssl", "x509", "-in", str(named), "-noout", "-pubkey"], capture_output=True, check=False
        )
        checks = ["dgst", "-sha256", "-verify", str(self._put("device.pub", public.stdout))]
        return self._run(
            *checks, "-signature", str(self._put("sig", signature)), str(self._put("data", data))
        )

    def certificate(self, certificate: bytes, authorities: bytes, head: ChainHead) -> str | None:
        named = self._put("device.pem", certificate)
        said = subprocess.run(
            ["openssl", "x509", "-in", str(named), "-noout", "-subject", "-nameopt", "multiline"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        names = [line.partition("=")[2].strip() for line in said.splitlines() if "commonName" in line]
        if names != [head.device]:
            return f"the certificate is not that of {head.device}"
        trusted = self._put("root.pem", self._trust.root or authorities)
        at = str(int(head.signed_at.timestamp()))
        checks = [
            "verify",
            "-attime",
            at,
            "-CAfile",
            str(trusted),
            "-untrusted",
            str(self._put("ca.pem", authorities)),
        ]
        if not self._run(*checks, str(named)):
            return (
                "the certificate does not lead to the city's root, or was not valid when the chain was signed"
            )
        return None

    def _put(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path

    @staticmethod
    def _run(*arguments: str) -> bool:
        return subprocess.run(["openssl", *arguments], capture_output=True, check=False).returncode == 0


def raw_of(text: str) -> bytes:
    """base64, or base64url without its padding."""
    return base64.urlsafe_b64decode(
        text.replace("+", "-").replace("/", "_").rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    )


def reader(package: zipfile.ZipFile) -> Callable[[str], bytes | None]:
    """Reads files of a ZIP by name; one whose own checksum is wrong is read as empty, so that its hash does not hold."""

    def read(name: str) -> bytes | None:
        try:
            return package.read(name)
        except KeyError:
            return None
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError):
            return b""

    return read


def names_of(package: zipfile.ZipFile) -> set[str]:
    return set(package.namelist())


def told(manifest: SealManifest) -> list[str]:
    """What the package says of itself, for people."""
    request = manifest.request
    lines = [
        f"Case {request.case_number} of {request.authority}: {request.purpose}",
        f"Sealed at {manifest.sealed_at:%Y-%m-%d %H:%M:%S} UTC by the hub of {manifest.city}; submitted by {request.submitted_by}, "
        f"approved by {request.approved_by}",
    ]
    for camera in manifest.cameras:
        pieces = ", ".join(f"{moment(start)} to {moment(end)}" for start, end in camera.spans) or "nothing"
        lines.append(
            f"  {camera.device}, {camera.camera}: {pieces}" + (f" ({camera.reason})" if camera.reason else "")
        )
    return lines


def pinned(read: Read, manifest: SealManifest) -> list[str]:
    """Since when each stretch of footage cannot have been made up: the first head at the hub that covers its last segment."""
    segments: dict[tuple[str, ...], list[int]] = {}
    for file in manifest.files:
        match file.path.split("/"):
            case ["segments", device, camera, day, name]:
                segments.setdefault((device, camera, day), []).append(int(name.partition(".")[0]))
    ends: dict[tuple[str, ...], set[int]] = {}
    for one in damages(read, manifest):
        ends.setdefault(one[:3], set()).add(one.position)
    lines = []
    for key, positions in sorted(segments.items()):
        begin = 0
        for end in [*sorted(ends.get(key, ())), sys.maxsize]:
            here = [position for position in positions if begin < position <= end]
            if here:
                which = f", up to segment {max(here)}" if end != sys.maxsize else ""
                since = _since(_first_pin(manifest, key, max(here), end), max(here))
                lines.append(f"  {', '.join(key)}{which}: {since}")
            begin = end
    return lines


def _first_pin(manifest: SealManifest, key: tuple[str, ...], position: int, end: int) -> Pin | None:
    """The first that covers ``position``; of what lies before damage only those up to its ``end`` do."""
    device, camera, day = key
    of_camera = (one for one in manifest.transfers if (one.device, one.camera) == (device, camera))
    covering = (
        pin for one in of_camera for pin in one.pins if pin.day == day and position <= pin.position <= end
    )
    return min(covering, key=lambda pin: pin.told_at, default=None)


def _since(pin: Pin | None, position: int) -> str:
    if pin is None:
        return f"no head that covers segment {position} was at the hub before the footage came"
    return f"unchanged since {pin.told_at:%Y-%m-%d %H:%M:%S} UTC: the hub had the head {pin.hash} of segment {pin.position} by then"


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def copy_told(statement: CopyStatement) -> list[str]:
    """What a copy says of itself, for people."""
    drawn, of = statement.drawn, statement.of
    model = f"by what the model {drawn.model} saw" if drawn.model else "without a model"
    return [
        f"Copy {statement.copy_id} with persons hidden: {statement.device}, {statement.camera}, "
        f"{moment(statement.start_ms)} to {moment(statement.end_ms)} UTC",
        f"Of {len(of.segments)} segments of the sealed package {of.item}, whose manifest has the SHA-256 {of.manifest_sha256}",
        f"Asked for by {statement.asked_by} at {moment(statement.asked_at_ms)} UTC: {statement.reason}",
        f"Drawn by the box {model}: {drawn.frames} frames, {drawn.hidden} boxes hidden, {drawn.whole} frames hidden as a whole",
    ]


def judged(package: zipfile.ZipFile, judge: Judge) -> tuple[list[Flaw], list[str]]:
    """(what does not hold, what it says of itself) of a sealed package, or of a copy with persons hidden."""
    read, names = reader(package), names_of(package)
    found = list(_twice(package))
    if is_copy(names):
        statement = read_statement(read)
        found += copies.flaws(read, names, judge)
        return found, copy_told(statement) if isinstance(statement, CopyStatement) else []
    manifest = read_manifest(read)
    found += flaws(read, names, judge)
    if found or not isinstance(manifest, SealManifest):
        return found, []
    return found, [*told(manifest), *pinned(read, manifest)]


def _twice(package: zipfile.ZipFile) -> Iterator[Flaw]:
    """Of two files of one name programs show the one or the other."""
    names = package.namelist()
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Flaw(name, "two files of this name are in the ZIP file")


def verify(file: Path, trust: Path | None = None, of: Path | None = None) -> tuple[int, list[str]]:
    """(exit code, lines): 0 for a whole package or copy, 1 with the first flaw named, 2 where there is nothing to verify, 3 where all
    that is here holds and the box's own record was damaged.

    ``of``: the sealed package that the copy ``file`` has to be of; it has to be whole as well.
    """
    try:
        believed = Trust.of(trust)
    except (OSError, ValueError) as error:
        return NO_FILE, [f"The file of trusted keys cannot be used: {error}."]
    code, lines = _verified(file, believed)
    if code or of is None:
        return code, lines
    of_code, others = _verified(of, believed)
    if of_code not in (0, INCOMPLETE):
        return of_code, [f"Of {of.name}:", *others]
    code, lines = _related(file, of, lines)
    return (code, lines) if code or not of_code else (of_code, [*lines[:-1], f"Of {of.name}:", *others])


def _verified(file: Path, believed: Trust) -> tuple[int, list[str]]:
    try:
        with zipfile.ZipFile(file) as package, tempfile.TemporaryDirectory() as folder:
            found, said = judged(package, Openssl(believed, Path(folder)))
            if not found:
                code, last = verdict(package)
                return code, [*said, *_compare(believed, package), last]
    except zipfile.BadZipFile:
        return NOT_WHOLE, [f"BROKEN: {file.name} is not a ZIP file, or its end was cut off."]
    except FileNotFoundError as error:
        return NO_FILE, [f"{error.filename} is not there: name a sealed package, and install openssl."]
    lines = [f"BROKEN: {found[0].where}: {found[0].sentence}."]
    lines += [f"  also {flaw.where}: {flaw.sentence}" for flaw in found[1:6]]
    return NOT_WHOLE, [*lines, *([f"  and {len(found) - 6} more"] if len(found) > 6 else [])]


def _related(file: Path, of: Path, lines: list[str]) -> tuple[int, list[str]]:
    """Of two that are whole by themselves."""
    with zipfile.ZipFile(file) as first, zipfile.ZipFile(of) as second:
        statement, manifest = read_statement(reader(first)), read_manifest(reader(second))
        if not isinstance(statement, CopyStatement) or not isinstance(manifest, SealManifest):
            return NO_FILE, [
                "--of is for a copy with persons hidden: name the copy first, then its sealed package."
            ]
        flaw = copies.beside(statement, second.read(MANIFEST), manifest)
    if flaw is not None:
        return NOT_WHOLE, [f"BROKEN: {flaw.where}: {flaw.sentence}."]
    return 0, [*lines, f"{of.name} is whole, and the originals of this copy are in it."]


def verdict(package: zipfile.ZipFile) -> tuple[int, str]:
    """(exit code, the last line) for one in which everything holds."""
    if is_copy(names_of(package)):
        return 0, (
            "WHOLE: the film and what is said of it are as the hub signed them. What the originals show is proved by their own "
            "sealed package."
        )
    read = reader(package)
    manifest = read_manifest(read)
    damaged = list(damages(read, manifest)) if isinstance(manifest, SealManifest) else []
    if damaged:
        others = len({one[:4] for one in damaged}) - 1
        more = f" (and {others} more such damage)" if others else ""
        where, said = ", ".join(damaged[0][:3]), damaged[0].sentence
        return (
            INCOMPLETE,
            f"INCOMPLETE: {where}: {said}{more}. Everything else is as it was recorded and sealed.",
        )
    return 0, "WHOLE: every byte is as it was recorded and sealed."


def _compare(trust: Trust, package: zipfile.ZipFile) -> list[str]:
    """What a person compares by hand where no keys were given."""
    if trust.root is not None:
        return ["The keys that it was judged by are those of the file that was given."]
    if is_copy(names_of(package)):
        what, key = "copy", f"the hub's key {_print_of(raw_of(parse(Seal, package.read(SEAL)).public))}"
    else:
        what, key = "package", f"authorities {_print_of(reader(package)(CA) or b'')}"
    return [
        f"No trusted keys were given (--trust): whoever made the whole {what} could have made its keys as well.",
        f"Compare with the city: {key}",
    ]


def _print_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prahari-evidence", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="a sealed package, or a copy with persons hidden (.zip)")
    parser.add_argument(
        "--trust", type=Path, help="the city's root and keys: what prahari-hub evidence trust writes"
    )
    parser.add_argument("--of", type=Path, help="the sealed package that the copy has to be of")
    given = parser.parse_args(arguments)
    code, lines = verify(given.file, given.trust, given.of)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
