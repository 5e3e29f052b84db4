"""Getting and keeping an identity: enrolment from the seed, renewal, recovery, the hub's signing keys.

EST (RFC 7030) over the hub's device HTTPS. The first contact is pinned to the root key's hash in the seed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from prahari_wire.base import Clock as Quality
from prahari_wire.base import Refused, parse
from prahari_wire.seed import Seed

from prahari_agent.clock import Clock
from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.identity import Hub as HubRecord
from prahari_agent.identity import Identity, Pair, discard, expired, pinned
from prahari_agent.log import get_logger
from prahari_agent.settings import Settings, seed_paths
from prahari_agent.transfer import Answer, Hub, problem

log = get_logger("enrolment")

FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 6 * 3600.0
KEYS_EVERY_S = 24 * 3600.0
NEW_PAIR_EVERY_S = 3600.0
"""At most one new certificate an hour: a clock that is wrong must not have the hub issue without end."""
UNSURE_WAIT_S = 120.0
"""By a clock that nobody vouches for a certificate has expired only if the hub was not reached with it for so long."""


def find_seed(home: Path) -> tuple[Path, bytes, Seed] | None:
    """The seed waiting for this box: where it lies, its bytes and what it says; SetupError if it cannot be read."""
    for path in seed_paths(home):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SetupError(
                f"The seed {path} cannot be read ({error.strerror}): give it to the agent's user."
            ) from None
        try:
            return path, raw, parse(Seed, raw)
        except Refused as error:
            raise SetupError(
                f"The seed {path} is not valid ({error.detail}): write it again with prahari-provision seed."
            ) from None
    return None


def prepare(home: Path, identity: Identity, settings: Settings, clock: Clock) -> HubRecord:
    """Who this box is. A waiting seed is used first; without one the kept identity holds.

    SetupError where there is neither or where the claim is spent; HubUnreachable where the hub must be asked again later,
    Rejected where that is of no use before something is put right, on the card or at the hub.
    """
    try:
        return _prepare(home, identity, settings, clock)
    except OSError as error:
        raise Rejected(unwritable(error)) from error


def unwritable(error: OSError) -> str:
    """What a person can do where the card takes no identity."""
    return f"The card does not take this box's identity ({error.strerror}): free space on it, or mount it writable."


def _prepare(home: Path, identity: Identity, settings: Settings, clock: Clock) -> HubRecord:
    kept, seed = identity.hub(), find_seed(home)
    usable = identity.current() or identity.trial()
    if seed is not None:
        path, raw, wanted = seed
        if kept is not None and kept.device != wanted.device:
            raise SetupError(
                f"This home belongs to {kept.device}, the seed {path} is for {wanted.device}: give each device a home of its own."
            )
        sha256 = hashlib.sha256(raw).hexdigest()
        if kept is None and usable is not None and usable.device == wanted.device:
            kept = _record(wanted, sha256)  # the power went between the certificate and this file
            identity.save_hub(kept)
        elif kept is None or usable is None:
            kept = _enrol(identity, settings, clock, wanted, sha256)
        elif kept.seed_sha256 != sha256:
            kept = _enrol_again(identity, settings, clock, wanted, sha256) or kept
        if kept.seed_sha256 == sha256 and not discard(path):
            log.warning(
                "the seed's token is spent but the file cannot be removed: delete it by hand", file=str(path)
            )
    elif kept is None or usable is None:
        raise SetupError(
            f"This box has no identity yet: write a seed with prahari-provision seed and put it into {home}."
        )
    return _with_settings(kept, settings)


def _with_settings(record: HubRecord, settings: Settings) -> HubRecord:
    changed = {key: value for key in ("hub", "mqtt") if (value := getattr(settings, key)) is not None}
    return record.model_copy(update=changed)


def _enrol_again(
    identity: Identity, settings: Settings, clock: Clock, seed: Seed, sha256: str
) -> HubRecord | None:
    """A fresh claim for a box that has an identity: where it does not work, the box goes on with what it has."""
    try:
        return _enrol(identity, settings, clock, seed, sha256)
    except (HubUnreachable, Rejected, SetupError, OSError) as error:
        reason = unwritable(error) if isinstance(error, OSError) else str(error)
        log.warning("the new seed could not be used, the kept identity holds", reason=reason)
        return None


def _record(seed: Seed, sha256: str) -> HubRecord:
    """What is kept of a seed: all but its token."""
    return HubRecord(
        device=seed.device, hub=seed.hub, mqtt=seed.mqtt, ca_spki_sha256=seed.ca_spki_sha256, city=seed.city,
        board=seed.board, timezone=seed.timezone, seed_sha256=sha256,
    )  # fmt: skip


def _enrol(identity: Identity, settings: Settings, clock: Clock, seed: Seed, sha256: str) -> HubRecord:
    record = _record(seed, sha256)
    hub = Hub(_with_settings(record, settings).hub, identity, check_time=clock.plausible)
    identity.save_roots(trust(hub, seed.ca_spki_sha256))
    request = identity.new_request(seed.device, seed.city)
    basic = base64.b64encode(f"{seed.device}:{seed.token}".encode()).decode()
    answer = _post(hub, "simpleenroll", request, {"Authorization": f"Basic {basic}"})
    if answer.status in (401, 403):
        raise SetupError(
            f"The hub does not take this seed's claim ({problem(answer)}): make a new claim and seed for {seed.device}."
        )
    pair = identity.take(_certificates(answer), seed.device)
    identity.save_hub(record)
    log.info("enrolled", device=seed.device, certificate=pair.serial, until=pair.not_after.isoformat())
    return record


def trust(hub: Hub, pin: str) -> list[x509.Certificate]:
    """The hub's CA certificates, believed only because the root's key has the hash ``pin``."""
    answer = hub.without_trust("/.well-known/est/cacerts")
    if answer.status != 200:
        raise HubUnreachable(f"the hub does not give its CA certificates ({problem(answer)})")
    try:
        bundle = base64.b64decode(answer.body)
    except ValueError:
        raise Rejected(
            "the hub's CA certificates cannot be read: is this the address of a Prahari hub?"
        ) from None
    return pinned(bundle, pin)


def _post(
    hub: Hub, operation: str, request: bytes, headers: dict[str, str], *, as_device: bool = False
) -> Answer:
    return hub.request(
        "POST",
        f"/.well-known/est/{operation}",
        body=base64.encodebytes(request),
        headers={"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64", **headers},
        as_device=as_device,
    )


def _certificates(answer: Answer) -> list[x509.Certificate]:
    if answer.status in (202, 404, 408, 429) or answer.status >= 500:
        raise HubUnreachable(
            f"the hub does not issue a certificate now ({problem(answer)}): the box asks again"
        )
    if answer.status != 200:
        raise Rejected(f"the hub does not issue a certificate: {problem(answer)}")
    try:
        return list(pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body)))
    except ValueError:
        raise Rejected("the hub's certificate cannot be read") from None


class Keeper:
    """Keeps the identity good: renews, recovers, refreshes the hub's signing keys. ``step`` is called from one thread."""

    def __init__(
        self,
        identity: Identity,
        hub: Hub,
        clock: Clock,
        record: HubRecord,
        *,
        on_new_pair: Callable[[], None],
        rng: random.Random | None = None,
    ) -> None:
        self._identity, self._hub, self._clock, self._record = identity, hub, clock, record
        self._on_new_pair, self._rng = on_new_pair, rng or random.Random()  # noqa: S311 - jitter, no secret
        self._attempts, self._not_before_ms, self._keys_due_ms = 0, 0, 0
        self._since_ms = clock.mono_ms()
        self._new_pair_at_ms: int | None = None
        self.trouble: str | None = None

    def step(self) -> None:
        """Do what is due now; failures are told in ``trouble`` and tried again with back-off."""
        now_ms = self._clock.mono_ms()
        if now_ms < self._not_before_ms:
            return
        try:
            if self._renew_if_due(now_ms):
                self._new_pair_at_ms = now_ms
                self._on_new_pair()
            if now_ms >= self._keys_due_ms:
                self._fetch_keys()
        except (HubUnreachable, Rejected, SetupError) as error:
            self._failed(now_ms, str(error))
        except OSError as error:
            self._failed(now_ms, unwritable(error))
        else:
            self._attempts, self.trouble = 0, None

    def _failed(self, now_ms: int, trouble: str) -> None:
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._attempts) * self._rng.uniform(0.5, 1.0)
        self._attempts = min(self._attempts + 1, 12)
        self._not_before_ms = now_ms + int(delay_s * 1000)
        self._say(trouble)

    def try_now(self) -> None:
        """The link is up: what failed before may work now."""
        self._not_before_ms = 0

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("the identity could not be renewed or its keys refreshed", trouble=trouble)
        self.trouble = trouble

    def _renew_if_due(self, now_ms: int) -> bool:
        trial, current = self._identity.trial(), self._identity.current()
        today, sure = self._today()
        if trial and current and sure and today < trial.not_before:
            trial = None  # of a hub whose clock was ahead: it may begin long after the current one has ended
        newest = trial or current
        if newest is None or self._had_one_lately(now_ms):
            return False
        if expired(newest, today, margin=timedelta(minutes=1)):
            if not sure and now_ms - self._since_ms < UNSURE_WAIT_S * 1000:
                return False
            if current is None:
                self._identity.connected(
                    newest
                )  # its key is needed to sign with: it must not lie in the free slot
            self._recover(current or newest)
            return True
        if trial is not None or not sure or today < newest.renew_at():
            return False
        request = self._identity.new_request(self._record.device, self._record.city)
        renewed = self._identity.take(
            _certificates(_post(self._hub, "simplereenroll", request, {}, as_device=True)),
            self._record.device,
        )
        log.info("certificate renewed", certificate=renewed.serial, until=renewed.not_after.isoformat())
        return True

    def _had_one_lately(self, now_ms: int) -> bool:
        return self._new_pair_at_ms is not None and now_ms - self._new_pair_at_ms < NEW_PAIR_EVERY_S * 1000

    def _today(self) -> tuple[datetime, bool]:
        """The time by which certificates are judged, and whether it is sure: the hub's where known, for the hub dates them."""
        hub_now = self._clock.hub_now()
        if hub_now is not None:
            return hub_now, True
        return self._clock.now(), self._clock.quality() is Quality.SYNCED

    def _recover(self, pair: Pair) -> None:
        """An expired certificate dies in the handshake: the old key signs a nonce instead."""
        answer = self._hub.request("GET", "/device/v1/enrol/nonce", as_device=False)
        if answer.status != 200:
            raise HubUnreachable(f"the hub gives no nonce to recover with ({problem(answer)})")
        try:
            nonce = str(json.loads(answer.body)["nonce"])
        except (ValueError, KeyError, TypeError):
            raise Rejected("the hub's nonce to recover with cannot be read") from None
        request = self._identity.new_request(self._record.device, self._record.city)
        signature = self._identity.sign(pair, nonce.encode() + request)
        body = {
            "nonce": nonce,
            "device": self._record.device,
            "csr": x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode(),
            "certificate": x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            .public_bytes(Encoding.PEM)
            .decode(),
            "signature": base64.b64encode(signature).decode(),
        }
        answer = self._hub.request(
            "POST",
            "/device/v1/enrol/recover",
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            as_device=False,
        )
        recovered = self._identity.take(_certificates(answer), self._record.device)
        log.info("recovered from an expired certificate", certificate=recovered.serial)

    def refresh_keys(self) -> None:
        """Fetch the hub's signing keys and keep them, in memory alone where the card takes nothing."""
        try:
            self._fetch_keys()
        except OSError as error:
            log.warning("the hub's signing keys hold in memory alone", reason=unwritable(error))

    def _fetch_keys(self) -> None:
        """OSError where they are fetched and hold, but the card does not take them."""
        answer = self._hub.request("GET", "/device/v1/keys")
        if answer.status != 200:
            raise HubUnreachable(f"the hub does not give its signing keys ({problem(answer)})")
        try:
            document = json.loads(answer.body)
            assert isinstance(document["keys"], dict)
        except (ValueError, KeyError, AssertionError):
            raise Rejected("the hub's signing keys cannot be read") from None
        self._identity.save_signing_keys(document)
        self._keys_due_ms = self._clock.mono_ms() + int(KEYS_EVERY_S * 1000)
