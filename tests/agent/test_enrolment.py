"""Getting and keeping an identity, against EST over a real TLS socket."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_agent import enrolment
from prahari_agent.clock import Clock
from prahari_agent.enrolment import Keeper, prepare
from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.identity import Identity, UnknownKey
from prahari_agent.settings import Settings
from prahari_agent.transfer import Hub
from prahari_wire.command import Command, CommandName
from prahari_wire.ids import ulid
from prahari_wire.seed import SEED_FILE

DEVICE = "test-ecb-01"
Make = Callable[..., bytes]


class Box:
    """A home with a clock that the test sets."""

    def __init__(self, home: Path) -> None:
        self.home, self.identity, self.settings = home, Identity(home), Settings()
        self.at, self.mono_ms, self.new_pairs = datetime.now(UTC), 0, 0
        self.ntp = True
        self.clock = Clock(wall=lambda: self.at, mono_ms=lambda: self.mono_ms, os_synced=lambda: self.ntp)

    def put(self, seed: bytes) -> Path:
        (self.home / SEED_FILE).write_bytes(seed)
        return self.home / SEED_FILE

    def prepare(self) -> Any:
        return prepare(self.home, self.identity, self.settings, self.clock)

    def keeper(self) -> Keeper:
        record = self.prepare()
        hub = Hub(record.hub, self.identity)
        return Keeper(self.identity, hub, self.clock, record, on_new_pair=self._new_pair)

    def _new_pair(self) -> None:
        self.new_pairs += 1


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    monkeypatch.setattr("prahari_agent.settings.BOOT_FOLDERS", (tmp_path / "boot",))
    (tmp_path / "home").mkdir()
    (tmp_path / "boot").mkdir()
    return Box(tmp_path / "home")


def test_a_seed_becomes_an_identity_and_its_token_is_gone(box: Box, seed: Make, https: Any) -> None:
    raw = seed()
    path = box.put(raw)
    record = box.prepare()
    assert (record.device, record.seed_sha256) == (DEVICE, hashlib.sha256(raw).hexdigest())
    assert not path.exists()
    pair = box.identity.trial()
    assert pair is not None
    assert pair.device == DEVICE
    assert pair.key.stat().st_mode & 0o077 == 0
    assert not any(https.token.encode() in f.read_bytes() for f in box.home.rglob("*") if f.is_file())
    assert box.prepare() == record, "and nothing is asked for a second time"
    assert [path for _, path, _ in https.asked].count("/.well-known/est/simpleenroll") == 1


def test_a_seed_on_the_boot_partition_is_found(box: Box, seed: Make, tmp_path: Path) -> None:
    (tmp_path / "boot" / SEED_FILE).write_bytes(seed())
    assert box.prepare().device == DEVICE
    assert not (tmp_path / "boot" / SEED_FILE).exists()


def test_another_hub_is_not_trusted_and_gets_nothing(box: Box, seed: Make, https: Any) -> None:
    box.put(seed(ca_spki_sha256="0" * 64))
    with pytest.raises(Rejected, match="not the one in the seed"):
        box.prepare()
    assert [path for _, path, _ in https.asked] == ["/.well-known/est/cacerts"]


def test_a_spent_claim_is_said_in_a_sentence(box: Box, seed: Make, https: Any) -> None:
    raw = seed()
    https.token = "another"
    box.put(raw)
    with pytest.raises(SetupError, match="make a new claim and seed for test-ecb-01"):
        box.prepare()


def test_a_lost_answer_is_asked_for_again_with_the_same_key(box: Box, seed: Make, https: Any) -> None:
    box.put(seed())
    https.fail_with = 503
    with pytest.raises(HubUnreachable):
        box.prepare()
    https.fail_with, token = None, https.token
    https.token = "not yet"
    with pytest.raises(SetupError):
        box.prepare()
    key = (box.home / "identity" / "a" / "key.pem").read_bytes()
    https.token = token
    box.prepare()
    assert (box.home / "identity" / "a" / "key.pem").read_bytes() == key


@pytest.mark.parametrize("lost", [["hub.json"], ["hub.json", "trial"]])
def test_a_power_cut_after_the_certificate_came_spends_no_second_claim(
    box: Box, seed: Make, https: Any, lost: list[str]
) -> None:
    raw = seed()
    box.put(raw)
    box.prepare()
    key = (box.home / "identity" / "a" / "key.pem").read_bytes()
    for name in lost:
        (box.home / "identity" / name).unlink()
    box.put(raw)
    assert box.prepare().device == DEVICE
    assert (box.home / "identity" / "a" / "key.pem").read_bytes() == key


def test_no_hub_is_a_reason_to_try_again(box: Box, seed: Make) -> None:
    box.put(seed(hub="https://127.0.0.1:1"))
    with pytest.raises(HubUnreachable, match="Nothing answers"):
        box.prepare()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"{", "not valid", id="not-json"),
        pytest.param(b'{"v": 1}', "Field required", id="fields-missing"),
        pytest.param(None, "no identity yet", id="no-seed"),
    ],
)
def test_a_box_without_a_good_seed_says_what_to_do(box: Box, content: bytes | None, says: str) -> None:
    if content is not None:
        box.put(content)
    with pytest.raises(SetupError, match=says) as caught:
        box.prepare()
    assert "prahari-provision seed" in str(caught.value)


def test_a_seed_for_another_device_is_refused_in_this_home(box: Box, seed: Make) -> None:
    box.put(seed())
    box.prepare()
    box.put(seed(device="test-ecb-02"))
    with pytest.raises(SetupError, match="belongs to test-ecb-01"):
        box.prepare()


def test_a_fresh_seed_enrols_again_and_a_bad_one_leaves_the_box_as_it_was(
    box: Box, seed: Make, https: Any
) -> None:
    box.put(seed())
    first = box.prepare()
    pair = box.identity.trial()
    assert pair is not None
    box.identity.connected(pair)
    box.put(seed(city="again"))
    token, https.token = https.token, "spent"
    assert box.prepare() == first
    https.token = token
    assert box.prepare().city == "again"
    trial = box.identity.trial()
    assert trial is not None
    assert trial.serial != pair.serial


def test_settings_replace_the_seeds_addresses(box: Box, seed: Make) -> None:
    box.put(seed())
    box.settings = Settings(mqtt="broker.example:8883")
    assert box.prepare().broker == ("broker.example", 8883)


def enrolled(box: Box, seed: Make) -> Keeper:
    box.put(seed())
    keeper = box.keeper()
    pair = box.identity.trial()
    assert pair is not None
    box.identity.connected(pair)
    return keeper


def test_renewal_at_two_thirds_keeps_the_old_pair_until_the_new_one_has_connected(
    box: Box, seed: Make
) -> None:
    keeper = enrolled(box, seed)
    old = box.identity.current()
    assert old is not None
    keeper.step()
    assert box.new_pairs == 0
    box.at = old.renew_at() + timedelta(minutes=1)
    keeper.step()
    trial = box.identity.trial()
    assert trial is not None
    assert (box.new_pairs, box.identity.current()) == (1, old)
    assert trial.key.read_bytes() != old.key.read_bytes()
    assert [box.identity.choose(n).serial for n in range(3)] == [trial.serial, old.serial, trial.serial]  # type: ignore[union-attr]
    keeper.step()
    assert box.new_pairs == 1, "one renewal at a time"
    box.identity.connected(trial)
    assert (box.identity.current(), box.identity.trial()) == (trial, None)


def test_renewal_is_spread_by_no_more_than_five_days_of_ninety(box: Box, seed: Make) -> None:
    enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    moments = {pair._replace(serial=str(n)).renew_at() for n in range(200)}
    middle = pair.not_before + (pair.not_after - pair.not_before) * 2 / 3
    assert all(abs(moment - middle) <= timedelta(days=5) for moment in moments)
    assert max(moments) - min(moments) > timedelta(days=8)


def test_a_failed_renewal_is_told_and_tried_again_with_growing_pauses(
    box: Box, seed: Make, https: Any
) -> None:
    keeper = enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    box.at = pair.renew_at() + timedelta(days=1)
    https.fail_with = 503
    keeper.step()
    assert keeper.trouble
    asked = len(https.asked)
    keeper.step()
    assert len(https.asked) == asked, "not at once"
    https.fail_with = None
    box.mono_ms += 61_000
    keeper.step()
    assert (keeper.trouble, box.new_pairs) == (None, 1)


def test_an_expired_box_recovers_with_its_old_key(box: Box, seed: Make, https: Any) -> None:
    https.device_since, https.device_life = datetime.now(UTC) - timedelta(days=100), timedelta(days=90)
    keeper = enrolled(box, seed)
    https.device_since = None
    keeper.step()
    trial = box.identity.trial()
    assert trial is not None
    assert trial.not_after > datetime.now(UTC)
    paths = [path for _, path, _ in https.asked]
    assert paths[-1] == "/device/v1/keys" or paths[-2:] == [
        "/device/v1/enrol/nonce",
        "/device/v1/enrol/recover",
    ]
    assert "/.well-known/est/simplereenroll" not in paths


def test_a_box_that_expired_before_it_ever_connected_recovers_too(box: Box, seed: Make, https: Any) -> None:
    https.device_since = datetime.now(UTC) - timedelta(days=100)
    box.put(seed())
    keeper = box.keeper()
    https.device_since = None
    keeper.step()
    trial = box.identity.trial()
    assert trial is not None
    assert trial.not_after > datetime.now(UTC)
    assert keeper.trouble is None


def test_a_clock_in_1970_starts_no_renewal(box: Box, seed: Make) -> None:
    keeper = enrolled(box, seed)
    box.at = datetime(1970, 1, 1, tzinfo=UTC)
    keeper.step()
    assert box.new_pairs == 0


def test_a_clock_far_ahead_gets_one_certificate_an_hour_and_none_once_the_hub_has_told_the_time(
    box: Box, seed: Make
) -> None:
    keeper = enrolled(box, seed)
    box.ntp, truth = False, box.at
    box.at += timedelta(days=100)
    keeper.step()
    assert box.new_pairs == 0, "the hub may still take the pair and tell the time"
    box.mono_ms += int(enrolment.UNSURE_WAIT_S * 1000)
    for _ in range(50):
        keeper.step()
        keeper.try_now()
        box.mono_ms += 5000
    assert box.new_pairs == 1
    box.clock.hub_said(truth, sent_mono_ms=box.mono_ms, received_mono_ms=box.mono_ms)
    box.mono_ms += 3_600_000
    keeper.step()
    assert box.new_pairs == 1


def test_a_pair_of_a_hub_whose_clock_was_a_year_ahead_does_not_hold_up_the_next_renewal(
    box: Box, seed: Make, https: Any
) -> None:
    keeper = enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    ahead = box.at + timedelta(days=365)
    box.clock.hub_said(ahead, sent_mono_ms=box.mono_ms, received_mono_ms=box.mono_ms)
    https.device_since = ahead - timedelta(days=1)
    keeper.step()
    trial = box.identity.trial()
    assert trial is not None and trial.not_before > pair.not_after, (
        "useless until long after the old one has ended"
    )
    box.mono_ms += 3_600_000
    box.at = pair.renew_at() + timedelta(minutes=1)
    https.device_since = box.at - timedelta(hours=1)
    box.clock.hub_said(box.at, sent_mono_ms=box.mono_ms, received_mono_ms=box.mono_ms)
    keeper.step()
    fresh = box.identity.trial()
    assert fresh is not None and fresh.not_before < box.at < pair.not_after < fresh.not_after
    assert (keeper.trouble, box.new_pairs, box.identity.current()) == (None, 2, pair)


def test_a_clock_that_nobody_vouches_for_renews_nothing_but_the_hubs_time_does(box: Box, seed: Make) -> None:
    keeper = enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    box.ntp, box.at = False, pair.renew_at() + timedelta(days=1)
    keeper.step()
    assert box.new_pairs == 0
    box.clock.hub_said(box.at, sent_mono_ms=0, received_mono_ms=0)
    box.at = datetime(1970, 1, 1, tzinfo=UTC)
    keeper.step()
    assert (keeper.trouble, box.new_pairs) == (None, 1)


@pytest.fixture
def from_the_future(pki: Any) -> Iterator[int]:
    """A server of our CA whose certificate begins tomorrow, as every certificate does for a box that woke in 1970; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.leaf("future", server=True, since=datetime.now(UTC) + timedelta(days=1)))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                plain, _address = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                    secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_in_1970_the_hub_is_trusted_by_its_root_alone(box: Box, seed: Make, from_the_future: int) -> None:
    enrolled(box, seed)

    def shake_hands(*, check_time: bool) -> None:
        context = box.identity.tls(box.identity.current(), check_time=check_time)
        with (
            socket.create_connection(("127.0.0.1", from_the_future), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.send(b"x")

    with pytest.raises(ssl.SSLCertVerificationError, match="not yet valid"):
        shake_hands(check_time=True)
    shake_hands(check_time=False)


def test_the_hubs_keys_are_kept_and_judge_signatures(box: Box, seed: Make, signer: Any) -> None:
    keeper = enrolled(box, seed)
    signed = signer.signed(command())
    with pytest.raises(UnknownKey):
        box.identity.verify(DEVICE, signed)
    keeper.refresh_keys()
    box.identity.verify(DEVICE, signed)
    Identity(box.home).verify(DEVICE, signed)
    for wrong in (
        signed.model_copy(update={"safe": True}),
        signed.model_copy(update={"sig": "AAAA"}),
        signed.model_copy(update={"sig": "é"}),
        signer.signed(command(), device="test-ecb-02"),
    ):
        with pytest.raises(Rejected):
            box.identity.verify(DEVICE, wrong)


@pytest.mark.parametrize("lost", ["cert.pem", "key.pem"])
def test_a_half_written_slot_is_no_pair(box: Box, seed: Make, lost: str) -> None:
    enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    box.identity.new_request(DEVICE, "city")
    assert box.identity.trial() is None
    assert box.identity.current() == pair
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:60]), Path.unlink):
        damage(box.home / "identity" / "a" / lost)
        assert box.identity.current() is None
        with pytest.raises(SetupError, match="no identity yet"):
            box.prepare()


def test_a_read_only_boot_partition_is_reported_not_fatal(
    box: Box, seed: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "boot" / SEED_FILE).write_bytes(seed())
    monkeypatch.setattr(enrolment, "discard", lambda _path: False)
    assert box.prepare().device == DEVICE
    assert box.prepare().device == DEVICE, "the spent token is not tried again"
    assert json.loads((box.home / "identity" / "hub.json").read_text())["device"] == DEVICE
    assert os.access(tmp_path / "boot" / SEED_FILE, os.R_OK)


def command() -> Command:
    now = datetime.now(UTC)
    return Command(id=ulid(), name=CommandName.RESTART, issued_at=now, expires_at=now + timedelta(minutes=1))


def fill(folder: Path) -> Path:
    """Leave no byte free in the folder's file system; the file that takes them."""
    with (folder / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    return folder / "filler"


def test_on_a_read_only_card_the_hubs_new_key_holds_from_memory(
    box: Box, seed: Make, signer: Any, https: Any, mounted: Callable[..., None]
) -> None:
    mounted(box.home / "identity")
    keeper = enrolled(box, seed)
    mounted(box.home / "identity", "remount,ro")
    signed = signer.signed(command())
    keeper.refresh_keys()
    box.identity.verify(DEVICE, signed)
    with pytest.raises(UnknownKey):
        Identity(box.home).verify(DEVICE, signed)
    asked = len(https.asked)
    for _ in range(720):
        keeper.step()
        box.mono_ms += 5000
    assert len(https.asked) - asked < 10, "in an hour"
    assert "mount it writable" in (keeper.trouble or "")
    mounted(box.home / "identity", "remount,rw")
    keeper.try_now()
    keeper.step()
    Identity(box.home).verify(DEVICE, signed)
    assert keeper.trouble is None


def test_a_renewal_on_a_full_card_is_told_and_done_once_there_is_room(
    box: Box, seed: Make, https: Any, mounted: Callable[..., None]
) -> None:
    mounted(box.home / "identity")
    keeper = enrolled(box, seed)
    pair, filler = box.identity.current(), fill(box.home / "identity")
    assert pair is not None
    box.at = pair.renew_at() + timedelta(days=1)
    asked = len(https.asked)
    for _ in range(720):
        keeper.step()
        box.mono_ms += 5000
    assert len(https.asked) - asked < 10
    assert "free space" in (keeper.trouble or "")
    assert box.identity.current() == pair
    filler.unlink()
    keeper.try_now()
    keeper.step()
    assert (keeper.trouble, box.new_pairs) == (None, 1)


def test_a_first_enrolment_on_a_full_card_says_so_and_spends_no_claim(
    box: Box, seed: Make, mounted: Callable[..., None]
) -> None:
    mounted(box.home / "identity")
    filler = fill(box.home / "identity")
    path = box.put(seed())
    with pytest.raises(Rejected, match="free space"):
        box.prepare()
    assert path.exists()
    filler.unlink()
    assert box.prepare().device == DEVICE


def test_a_fresh_seed_on_a_full_card_leaves_the_box_as_it_was(
    box: Box, seed: Make, mounted: Callable[..., None]
) -> None:
    mounted(box.home / "identity")
    enrolled(box, seed)
    pair = box.identity.current()
    fill(box.home / "identity")
    box.put(seed(timezone="Asia/Kolkata"))
    assert box.prepare().device == DEVICE
    assert box.identity.current() == pair


def test_a_nonce_that_cannot_be_read_is_told_and_not_asked_for_each_time(
    box: Box, seed: Make, https: Any
) -> None:
    keeper = enrolled(box, seed)
    pair = box.identity.current()
    assert pair is not None
    box.at, answer = pair.not_after + timedelta(days=1), https.answer
    https.answer = lambda method, path, *rest: (
        (200, b"[]") if path.endswith("/nonce") else answer(method, path, *rest)
    )
    keeper.step()
    assert "nonce" in (keeper.trouble or "")
