"""Commands: journaled before acting, answered once, refused when too old."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prahari_agent.clock import Clock
from prahari_agent.commands import Commands
from prahari_agent.errors import Rejected, SourceError
from prahari_agent.outbox import Outbox
from prahari_wire.command import Command, CommandName, Idempotency
from prahari_wire.envelope import Session
from prahari_wire.ids import ulid

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Rig:
    def __init__(self, folder: Path, *, synced: bool = True) -> None:
        self.folder, self.at, self.done = folder, NOW, []  # type: tuple[Path, datetime, list[str]]
        self.clock = Clock(wall=lambda: self.at, mono_ms=lambda: 1, os_synced=lambda: synced)
        self.boot = uuid4()
        self.outbox = Outbox(
            folder / "outbox.db", session=lambda: Session(boot=self.boot, conn=1), stamp=self.clock.stamp
        )
        self.commands = self.fresh()

    def fresh(self) -> Commands:
        return Commands(
            outbox=self.outbox, clock=self.clock, verify=self._verify, own={CommandName.RESTART: self._restart},
            peripheral=self._peripheral,
        )  # fmt: skip

    def _verify(self, command: Command) -> None:
        if command.sig != "good":
            raise Rejected("not signed")

    def _restart(self, _args: Mapping[str, Any]) -> dict[str, Any]:
        self.done.append("restart")
        return {}

    def _peripheral(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.done.append(name)
        self.issued_ms = args.issued_ms  # type: ignore[attr-defined]
        match args.get("how"):
            case "rejected":
                raise Rejected("not like this")
            case "failed":
                raise SourceError("the camera does not answer")
            case "broken":
                raise RuntimeError("boom")
            case "huge":
                return {"x": "y" * 20_000}
            case "killed":
                raise SystemExit
        return {"lamp": "steady"}

    def send(self, name: CommandName = CommandName.LAMP, **fields: Any) -> Command:
        given = {"issued_at": NOW, "expires_at": NOW + timedelta(seconds=60), "sig": "good", **fields}
        command = Command(id=given.pop("id", ulid()), name=name, **given)
        self.commands.receive(command.model_dump_json().encode())
        return command

    def told(self) -> list[tuple[str, str | None]]:
        _, entries = self.outbox.pick(self.outbox.journal, skip=(), limit=99)
        bodies = [json.loads(entry.event)["body"] for entry in sorted(entries)]
        return [(body["state"], body["error"]) for body in bodies]

    def states(self) -> list[str]:
        return [state for state, _ in self.told()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.outbox.close()


def test_a_command_is_accepted_run_and_succeeds(rig: Rig) -> None:
    rig.send()
    assert rig.states() == ["ACCEPTED", "RUNNING", "SUCCEEDED"]
    assert rig.done == [CommandName.LAMP]


def test_a_repeat_is_answered_from_the_journal(rig: Rig) -> None:
    command = rig.send()
    rig.fresh().receive(command.model_dump_json().encode())
    assert rig.done == [CommandName.LAMP]
    assert rig.states() == ["ACCEPTED", "RUNNING", "SUCCEEDED", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("how", "state", "says"),
    [
        pytest.param("rejected", "REJECTED", "not like this", id="rejected"),
        pytest.param("failed", "FAILED", "does not answer", id="failed"),
        pytest.param("broken", "FAILED", "RuntimeError", id="broken"),
        pytest.param("huge", "SUCCEEDED", "too large", id="huge-result"),
    ],
)
def test_how_it_ends_is_told_with_its_reason(rig: Rig, how: str, state: str, says: str) -> None:
    rig.send(args={"how": how})
    ended, error = rig.told()[-1]
    assert ended == state
    assert says in (error or "")


def test_an_expired_command_is_refused(rig: Rig) -> None:
    rig.at = NOW + timedelta(seconds=60)
    rig.send()
    assert (rig.states(), rig.done) == (["EXPIRED"], [])


def test_without_a_trusted_clock_only_safe_commands_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path, synced=False)
    rig.send()
    rig.at = NOW + timedelta(days=1)
    rig.send(safe=True)
    assert rig.states() == ["REJECTED", "ACCEPTED", "RUNNING", "SUCCEEDED"]
    assert rig.done == [CommandName.LAMP]
    rig.outbox.close()


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"v":1,"id":"x"}'])
def test_an_unreadable_command_harms_nothing(rig: Rig, payload: bytes) -> None:
    rig.commands.receive(payload)
    assert rig.told() == []


def test_what_the_hub_did_not_sign_is_not_done(rig: Rig) -> None:
    rig.send(sig="forged")
    assert (rig.told(), rig.done) == ([], [])


def test_a_restart_succeeds_after_the_restart(rig: Rig) -> None:
    rig.send(CommandName.RESTART)
    assert rig.states() == ["ACCEPTED", "RUNNING"]
    rig.fresh().resume()
    assert rig.states() == ["ACCEPTED", "RUNNING", "SUCCEEDED"]
    rig.fresh().resume()
    assert len(rig.states()) == 3
    assert rig.done == ["restart"]


def killed(rig: Rig, **fields: Any) -> None:
    with pytest.raises(SystemExit):
        rig.send(args={"how": "killed"}, **fields)
    rig.done.clear()


def test_an_idempotent_command_that_was_cut_off_runs_again(rig: Rig) -> None:
    killed(rig)
    with pytest.raises(SystemExit):
        rig.fresh().resume()
    assert rig.done == [CommandName.LAMP]


def test_an_at_most_once_command_that_was_cut_off_fails_and_is_not_run_again(rig: Rig) -> None:
    killed(rig, idempotency=Idempotency.AT_MOST_ONCE)
    rig.fresh().resume()
    assert rig.done == []
    assert rig.told()[-1][0] == "FAILED"
    assert "look at the box" in (rig.told()[-1][1] or "")


def test_a_cut_off_command_that_has_expired_meanwhile_is_not_run_again(rig: Rig) -> None:
    killed(rig)
    rig.at = NOW + timedelta(hours=1)
    rig.fresh().resume()
    assert (rig.done, rig.states()[-1]) == ([], "FAILED")


@pytest.mark.parametrize(
    ("idempotency", "done", "last"),
    [(Idempotency.AT_MOST_ONCE, [], "REJECTED"), (Idempotency.IDEMPOTENT, [CommandName.LAMP], "SUCCEEDED")],
)
def test_without_a_journal_nothing_is_done_that_may_happen_only_once(
    tmp_path: Path, idempotency: Idempotency, done: list[str], last: str
) -> None:
    (tmp_path / "outbox.db").mkdir()
    rig = Rig(tmp_path)
    rig.send(idempotency=idempotency)
    assert (rig.done, rig.states()[-1]) == (done, last)
    rig.outbox.close()


def test_states_are_told_in_order_even_when_many_come(rig: Rig) -> None:
    for _ in range(5):
        rig.send()
    assert rig.states() == ["ACCEPTED", "RUNNING", "SUCCEEDED"] * 5


@pytest.mark.parametrize(
    ("synced", "hub_says", "issued_ms"),
    [
        pytest.param(True, None, -29_999, id="own-clock"),
        pytest.param(True, NOW + timedelta(hours=1), -3_629_999, id="the-hubs-before-ones-own"),
        pytest.param(False, None, None, id="cannot-tell"),
    ],
)
def test_a_peripheral_hears_when_its_command_was_issued(
    tmp_path: Path, synced: bool, hub_says: datetime | None, issued_ms: int | None
) -> None:
    rig = Rig(tmp_path, synced=synced)
    if hub_says is not None:
        rig.clock.hub_said(hub_says, sent_mono_ms=1, received_mono_ms=1)
    rig.send(issued_at=NOW - timedelta(seconds=30), safe=True)
    assert rig.issued_ms == issued_ms
    rig.outbox.close()
