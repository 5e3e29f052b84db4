"""The twin on the device: whole or not at all, the last good one kept, every outcome told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.errors import ConfigRefused, HubUnreachable, Rejected
from prahari_agent.roster import Roster
from prahari_agent.twin import Twin
from prahari_wire.base import Message
from prahari_wire.callbox import CallboxConfig
from prahari_wire.display import OverrideSet
from prahari_wire.health import PeripheralHealth, State
from prahari_wire.ids import ulid
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.presence import PeripheralType
from prahari_wire.twin import Desired, PeripheralConfig, TwinDown, document_bytes


class Fixture:
    """A peripheral that remembers what was done to it and refuses pin 13."""

    def __init__(self, peripheral_id: str, log: list[str]) -> None:
        self.id, self.log = peripheral_id, log

    @property
    def info(self) -> PeripheralInfo:
        return PeripheralInfo(id=self.id, type=PeripheralType.CALLBOX)

    def configure(self, config: PeripheralConfig) -> None:
        assert isinstance(config, CallboxConfig)
        if config.button_pin == 13:
            raise ConfigRefused(("button_pin", "13 brings bad luck"))
        if config.button_pin == 14:
            raise RuntimeError("boom")
        self.log.append(f"{self.id} configured {config.button_pin}")

    def start(self) -> None:
        self.log.append(f"{self.id} started")

    def stop(self) -> None:
        self.log.append(f"{self.id} stopped")

    def health(self) -> PeripheralHealth:
        return PeripheralHealth(id=self.id, state=State.OK)

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {"callbox.lamp": lambda args: {"by": self.id, **args}}


class Rig:
    def __init__(self, home: Path) -> None:
        self.home, self.log = home, []  # type: tuple[Path, list[str]]
        self.reports: list[dict[str, Any]] = []
        self.documents: dict[int, bytes] = {}
        self.roster = Roster({"callbox": lambda peripheral_id: Fixture(peripheral_id, self.log)})
        self.twin = self.fresh()

    def fresh(self) -> Twin:
        return Twin(
            self.home, apply=self.roster.apply, resume=self.roster.resume, emit=self._emit, verify=self._verify,
            fetch=self._fetch,
        )  # fmt: skip

    def _emit(self, kind: str, body: Message, **_: Any) -> int:
        assert kind == "twin.report"
        self.reports.append(body.model_dump(mode="json"))
        return len(self.reports)

    def _verify(self, message: TwinDown) -> None:
        if message.sig != "good":
            raise Rejected("the hub's signature does not fit")

    def _fetch(self, version: int) -> bytes:
        if version not in self.documents:
            raise HubUnreachable("not now")
        return self.documents[version]

    def offer(
        self,
        version: int,
        document: dict[str, Any],
        *,
        sig: str = "good",
        inline: bool = True,
        **changes: Any,
    ) -> dict[str, Any]:
        """Send a twin; the last report."""
        try:
            raw = document_bytes(Desired.model_validate_json(json.dumps(document)))
        except ValueError:
            raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        header = TwinDown(id=ulid(), version=version, sha256=hashlib.sha256(raw).hexdigest(), sig=sig)
        message = {**header.model_dump(mode="json"), **changes}
        message["document"] = json.loads(raw) if inline else None
        self.twin.receive(json.dumps(message).encode())
        return self.reports[-1] if self.reports else {}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def boxes(**pins: int) -> dict[str, Any]:
    return {"peripherals": {name: {"type": "callbox", "button_pin": pin} for name, pin in pins.items()}}


def test_a_document_is_applied_kept_and_reported(rig: Rig) -> None:
    report = rig.offer(3, boxes(box1=5))
    assert report == {"version": 3, "outcome": "applied", "applied_version": 3, "errors": []}
    assert rig.log == ["box1 configured 5", "box1 started"]
    assert rig.twin.version == 3


def test_another_document_of_the_same_version_is_applied(rig: Rig) -> None:
    rig.offer(3, boxes(box1=5))
    rig.offer(3, boxes(box1=5))
    assert rig.log == ["box1 configured 5", "box1 started"]
    report = rig.offer(3, boxes(box1=6))
    assert (report["outcome"], rig.log[-1]) == ("applied", "box1 configured 6")
    again = Rig(rig.home)
    again.twin.resume()
    again.offer(3, boxes(box1=6))
    assert again.log == ["box1 configured 6", "box1 started"]
    again.offer(3, boxes(box1=7))
    assert again.log[-1] == "box1 configured 7"


def test_after_a_restart_the_last_good_one_holds_without_the_hub(rig: Rig) -> None:
    rig.offer(3, boxes(box1=5))
    again = Rig(rig.home)
    again.twin.resume()
    assert (again.twin.version, again.log) == (3, ["box1 configured 5", "box1 started"])
    assert again.reports == []


def test_after_a_restart_what_fails_does_not_take_the_rest_along(rig: Rig) -> None:
    rig.offer(3, boxes(box1=5, box2=6))
    kept = rig.home / "twin" / "last-good.json"
    kept.write_text(kept.read_text().replace('"button_pin": 5', '"button_pin": 13'))
    again = Rig(rig.home)
    again.twin.resume()
    assert again.log == ["box2 configured 6", "box2 started"]
    assert again.twin.version is None, "the hub hears of it and offers its document again"
    again.offer(0, boxes(box9=9))
    assert again.log == ["box2 configured 6", "box2 started"], "an older document is not what it offers"
    assert again.offer(3, boxes(box1=5, box2=6))["outcome"] == "applied"


def test_an_older_or_the_same_version_changes_nothing_but_is_answered(rig: Rig) -> None:
    rig.offer(3, boxes(box1=5))
    report = rig.offer(2, boxes(box1=6))
    assert (report["version"], report["outcome"], report["applied_version"]) == (3, "applied", 3)
    assert rig.log == ["box1 configured 5", "box1 started"]


def test_only_what_changes_is_touched(rig: Rig) -> None:
    rig.offer(1, boxes(box1=5, box2=6))
    rig.log.clear()
    rig.offer(2, boxes(box2=7, box3=8))
    assert rig.log == ["box2 configured 7", "box3 configured 8", "box3 started", "box1 stopped"]


def test_one_refused_peripheral_rolls_all_back_and_is_named_by_its_field(rig: Rig) -> None:
    rig.offer(1, boxes(box1=5, box2=6))
    rig.log.clear()
    report = rig.offer(2, boxes(box1=9, box2=13, box3=7))
    assert report["outcome"] == "rejected"
    assert report["applied_version"] == 1
    assert report["errors"] == [{"path": "peripherals.box2.button_pin", "message": "13 brings bad luck"}]
    assert rig.log[-2:] == ["box3 stopped", "box1 configured 5"]
    assert Rig(rig.home).twin.version is None
    again = Rig(rig.home)
    again.twin.resume()
    assert again.twin.version == 1


def test_a_peripheral_that_breaks_is_an_error_of_its_own(rig: Rig) -> None:
    report = rig.offer(1, boxes(box1=14))
    assert report["errors"][0]["path"] == "peripherals.box1"
    assert "RuntimeError" in report["errors"][0]["message"]


def test_a_rejected_document_that_comes_again_is_answered_without_being_tried_again(rig: Rig) -> None:
    first = rig.offer(2, boxes(box1=5, box2=13))
    rig.log.clear()
    assert rig.offer(2, boxes(box1=5, box2=13)) == first
    assert rig.log == []


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        pytest.param({"heartbeat": 5}, "heartbeat", "Extra inputs", id="typo"),
        pytest.param({"heartbeat_s": 0}, "heartbeat_s", "greater than or equal to 1", id="out-of-range"),
        pytest.param(
            boxes(box1=99), "peripherals.box1.callbox.button_pin", "less than or equal to 53", id="pin"
        ),
        pytest.param(
            {"peripherals": {"Box 1": {"type": "callbox"}}}, "peripherals.Box 1", "match pattern", id="id"
        ),
        pytest.param({"peripherals": {"a": {"type": "toaster"}}}, "peripherals.a", "toaster", id="type"),
        pytest.param(
            {"peripherals": {"a": {"type": "camera", "source": "x.mp4"}}},
            "peripherals.a.type",
            "serves callbox",
            id="not-served",
        ),
    ],
)
def test_a_typo_is_told_with_the_path_of_the_field(
    rig: Rig, document: dict[str, Any], path: str, message: str
) -> None:
    rig.offer(1, boxes(box1=5))
    report = rig.offer(2, document)
    assert (report["outcome"], report["applied_version"]) == ("rejected", 1)
    assert report["errors"][0]["path"].startswith(path)
    assert message in report["errors"][0]["message"]


def test_what_the_hub_did_not_sign_is_not_applied(rig: Rig) -> None:
    report = rig.offer(1, boxes(box1=5), sig="forged")
    assert "signature" in report["errors"][0]["message"]
    assert rig.log == []


def test_a_document_that_is_not_the_signed_one_is_not_applied(rig: Rig) -> None:
    assert "hash" in rig.offer(1, boxes(box1=5), sha256="0" * 64)["errors"][0]["message"]
    assert rig.log == []


def test_a_large_document_is_fetched_and_verified(rig: Rig) -> None:
    document = boxes(box1=5)
    raw = document_bytes(Desired.model_validate_json(json.dumps(document)))
    assert rig.offer(1, document, inline=False) == {}, (
        "it cannot be had now: nothing is reported, the hub offers it again"
    )
    rig.documents[1] = raw + b" "
    assert "hash" in rig.offer(1, document, inline=False)["errors"][0]["message"]
    rig.documents[1] = raw
    assert rig.offer(1, document, inline=False)["outcome"] == "applied"


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"v":1}', b'{"v":1,"v":1}', b"\xff"])
def test_an_unreadable_message_harms_nothing(rig: Rig, payload: bytes) -> None:
    rig.twin.receive(payload)
    assert rig.reports == []


def test_a_broken_kept_document_waits_for_the_hub(rig: Rig) -> None:
    rig.offer(3, boxes(box1=5))
    (rig.home / "twin" / "last-good.json").write_bytes(b"{")
    again = Rig(rig.home)
    again.twin.resume()
    assert again.twin.version is None


def test_a_command_goes_to_the_peripheral_that_it_names(rig: Rig) -> None:
    rig.offer(1, boxes(box1=5, box2=6))
    assert rig.roster.run("callbox.lamp", {"peripheral": "box2"})["by"] == "box2"
    with pytest.raises(Rejected, match="one of box1, box2"):
        rig.roster.run("callbox.lamp", {})
    with pytest.raises(Rejected, match="no peripheral box3"):
        rig.roster.run("callbox.lamp", {"peripheral": "box3"})
    with pytest.raises(Rejected, match="no display box1"):
        rig.roster.override(OverrideSet(id=ulid(), display="box1", epoch=1, overrides=[]))


def test_an_override_waits_for_no_command_that_runs(tmp_path: Path) -> None:
    running, may_end, taken = threading.Event(), threading.Event(), []

    class Slow(Fixture):
        def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
            return {"display.preview": self.preview}

        def preview(self, _args: Mapping[str, Any]) -> dict[str, Any]:
            running.set()
            assert may_end.wait(20)
            return {}

        def override(self, new: OverrideSet) -> None:
            taken.append(new.epoch)

    roster = Roster({"callbox": lambda peripheral_id: Slow(peripheral_id, [])})
    roster.apply({"sign1": CallboxConfig()})
    command = threading.Thread(target=roster.run, args=("display.preview", {}))
    command.start()
    assert running.wait(20)
    roster.override(OverrideSet(id=ulid(), display="sign1", epoch=3, overrides=[]))
    assert taken == [3]
    may_end.set()
    command.join()
