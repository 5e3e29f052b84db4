"""The twin on the device: take the desired document, apply it whole or keep the last good one, and say which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

from prahari_wire.base import Refused, canonical, field_errors, parse, scan
from prahari_wire.events import TWIN_REPORT
from prahari_wire.twin import (
    DOCUMENT_LIMIT,
    Desired,
    FieldError,
    PeripheralConfig,
    TwinDown,
    TwinOutcome,
    TwinReport,
    document_bytes,
)
from pydantic import ValidationError

from prahari_agent.errors import HubUnreachable, Rejected
from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Emit

log = get_logger("twin")

Apply = Callable[[dict[str, PeripheralConfig]], list[FieldError]]


class Twin:
    """``apply`` is all or nothing, ``resume`` does what it can. ``verify`` raises Rejected for a message that the hub did not sign,
    ``fetch(version)`` gives a large document's bytes.
    """

    def __init__(
        self,
        home: Path,
        *,
        apply: Apply,
        resume: Apply,
        emit: Emit,
        verify: Callable[[TwinDown], None],
        fetch: Callable[[int], bytes],
        on_change: Callable[[Desired], None] = lambda _desired: None,
    ) -> None:
        self._path = home / "twin" / "last-good.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._apply, self._resume, self._emit, self._on_change = apply, resume, emit, on_change
        self._verify, self._fetch = verify, fetch
        self._lock = RLock()
        self._rejected: tuple[TwinDown, list[FieldError]] | None = None
        self._kept_version = 0
        self._hashes: set[str] = set()
        self.version: int | None = None
        self.desired = Desired()

    def resume(self) -> None:
        """Apply the last good document of before, without the hub. Where a part fails, the hub is told that none is in force."""
        try:
            kept = json.loads(self._path.read_bytes())
            version, desired = int(kept["version"]), Desired.model_validate_json(json.dumps(kept["document"]))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error(
                "the kept configuration cannot be read, the hub's next one is awaited", error=str(error)[:300]
            )
            return
        errors = self._resume(desired.peripherals)
        for wrong in errors:
            log.error("the kept configuration does not apply", path=wrong.path, error=wrong.message)
        with self._lock:
            self.desired, self._kept_version = desired, version
            self._hashes = {hashlib.sha256(document_bytes(desired)).hexdigest(), str(kept.get("sha256", ""))}
            self.version = None if errors else version
        self._on_change(desired)

    def receive(self, payload: bytes) -> None:
        """Handle one down/twin message; every outcome is told by a twin.report."""
        with self._lock:
            try:
                header, document = _split(payload)
            except Refused as error:
                log.warning("a configuration from the hub is not readable", error=error.detail)
                return
            if self._in_force(header):
                self._report(self.version or 0, [])
                return
            if header.version < self._kept_version:
                log.warning("an older configuration than the kept one is not taken", version=header.version)
                return
            if self._rejected and (self._rejected[0].version, self._rejected[0].sha256) == (
                header.version,
                header.sha256,
            ):
                self._report(header.version, self._rejected[1])
                return
            self._take(header, document)

    def _in_force(self, header: TwinDown) -> bool:
        """Nothing newer is offered: an older version, or this one. A hub that was restored from a backup may give the same
        version to another document, which is taken.
        """
        if self.version is None or header.version > self.version:
            return False
        return header.version < self.version or header.sha256 in self._hashes

    def _take(self, header: TwinDown, document: Any) -> None:
        try:
            self._verify(header)
            raw = canonical(document) if document is not None else self._fetched(header)
            desired = _desired(raw)
            if header.sha256 not in (
                hashlib.sha256(raw).hexdigest(),
                hashlib.sha256(document_bytes(desired)).hexdigest(),
            ):
                raise Rejected("the document does not have the hash that the hub signed")
        except HubUnreachable as error:
            log.warning(
                "the configuration cannot be fetched yet, the hub will offer it again", error=str(error)
            )
        except Rejected as error:
            self._report(header.version, [FieldError(path="(document)", message=str(error)[:1000])])
        except ValidationError as error:
            self._report(
                header.version,
                [FieldError(path=p[:120], message=m[:1000]) for p, m in field_errors(error)[:20]],
            )
        except Refused as error:
            self._report(header.version, [FieldError(path="(document)", message=error.detail[:1000])])
        else:
            self._install(header, desired)

    def _fetched(self, header: TwinDown) -> bytes:
        raw = self._fetch(header.version)
        if hashlib.sha256(raw).hexdigest() != header.sha256:
            raise Rejected("the fetched document does not have the hash that the hub signed")
        return raw

    def _install(self, header: TwinDown, desired: Desired) -> None:
        version, errors = header.version, self._apply(desired.peripherals)
        if errors:
            self._rejected = (header, errors)
        else:
            self._keep(header, desired)
            self.version, self.desired = version, desired
            self._hashes = {hashlib.sha256(document_bytes(desired)).hexdigest(), header.sha256}
            self._on_change(desired)
        self._report(version, errors)

    def _keep(self, header: TwinDown, desired: Desired) -> None:
        kept = {
            "version": header.version,
            "sha256": header.sha256,
            "document": desired.model_dump(mode="json", by_alias=True),
        }
        try:
            write_atomic(self._path, json.dumps(kept, indent=1).encode())
        except OSError as error:
            log.error("the configuration cannot be kept: it holds until the next restart", error=str(error))

    def _report(self, version: int, errors: list[FieldError]) -> None:
        outcome = TwinOutcome.REJECTED if errors else TwinOutcome.APPLIED
        log.info(
            "configuration",
            version=version,
            outcome=str(outcome),
            errors=[f"{e.path}: {e.message}" for e in errors[:5]],
        )
        report = TwinReport(
            version=version, outcome=outcome, applied_version=self.version, errors=errors[:20]
        )
        self._emit(TWIN_REPORT, report)


def _split(payload: bytes) -> tuple[TwinDown, Any]:
    """The signed header and the document beside it, so that an error in the document can be told field by field."""
    scan(payload)
    whole = json.loads(payload)
    document = whole.pop("document", None) if isinstance(whole, dict) else None
    return parse(TwinDown, json.dumps(whole).encode()), document


def _desired(raw: bytes) -> Desired:
    if len(raw) > DOCUMENT_LIMIT:
        raise Rejected(f"the document has {len(raw)} bytes, at most {DOCUMENT_LIMIT} are accepted")
    scan(raw)
    return Desired.model_validate_json(raw)
