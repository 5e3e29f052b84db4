"""Commands: every state, and who may move them."""

from __future__ import annotations

from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import commands, uploads
from prahari_wire.command import CommandName, CommandReport, CommandState
from prahari_wire.topics import Down

DEVICE = "pune-ecb-01"
LAMP = {"peripheral": "box1", "incident": "i1", "state": "steady"}
S = CommandState


@pytest.fixture
def fleet(store: Any, asha: Any, born: Any, fact: Any, time: Any) -> Any:
    class Fleet:
        def issue(
            self, name: CommandName = CommandName.RESTART, args: Any = None, expires_in_s: float = 60
        ) -> str:
            return str(
                store.write_sync(
                    lambda unit: commands.issue(
                        unit, asha, DEVICE, name, args or {}, expires_in_s=expires_in_s
                    )
                )
            )

        def due(self) -> list[Any]:
            return list(store.write_sync(commands.take_due))

        def report(self, command: str, state: str, **more: Any) -> None:
            body = CommandReport(command=command, state=state, **more)  # type: ignore[arg-type]
            said = fact(DEVICE, "command.state", body)
            store.write_sync(lambda unit: (uploads.announce(unit, said), commands.reported(unit, said)))

        def state(self, command: str) -> str:
            return str(self.row(command)["state"])

        def row(self, command: str) -> Any:
            return store.read_sync(lambda conn: commands.get(conn, command))

        def conclude(self) -> int:
            return int(store.write_sync(commands.conclude_overdue))

        def cancel(self, command: str) -> None:
            store.write_sync(lambda unit: commands.cancel(unit, asha, command))

    born(DEVICE)
    return Fleet()


def test_a_command_runs_through_its_states_to_success(fleet: Any) -> None:
    command = fleet.issue()
    assert fleet.state(command) == "QUEUED"
    (sent,) = fleet.due()
    assert (sent.channel, sent.message.id, sent.message.name) == (Down.COMMAND, command, "agent.restart")
    assert fleet.state(command) == "SENT"
    for state in ("ACCEPTED", "RUNNING", "SUCCEEDED"):
        fleet.report(command, state)
        assert fleet.state(command) == state


def test_a_command_is_sent_again_with_backoff_until_it_is_accepted(fleet: Any, time: Any) -> None:
    command = fleet.issue(expires_in_s=600)
    assert len(fleet.due()) == 1
    gaps = []
    for _ in range(6):
        waited = 0
        while not fleet.due():
            time.pass_s(1)
            waited += 1
        gaps.append(waited)
    assert gaps == [2, 4, 8, 16, 30, 30]
    fleet.report(command, "ACCEPTED")
    time.pass_s(100)
    assert fleet.due() == []


def test_what_could_not_be_sent_in_time_expires(fleet: Any, store: Any, time: Any) -> None:
    command = fleet.issue(expires_in_s=10)
    time.pass_s(11)
    assert fleet.due() == []
    assert fleet.conclude() == 1
    assert fleet.state(command) == "EXPIRED"


def test_what_was_sent_and_not_answered_expires_after_a_moment_for_the_answer(fleet: Any, time: Any) -> None:
    command = fleet.issue(expires_in_s=10)
    fleet.due()
    time.pass_s(11)
    assert fleet.conclude() == 0
    time.pass_s(15)
    assert fleet.conclude() == 1
    assert fleet.row(command)["error"] == "the device did not accept it in time"


def test_what_was_accepted_and_fell_silent_is_lost_and_found_again(fleet: Any, time: Any) -> None:
    command = fleet.issue(expires_in_s=10)
    fleet.due()
    fleet.report(command, "RUNNING")
    time.pass_s(16 * 60)
    assert fleet.conclude() == 1
    assert fleet.state(command) == "LOST"
    fleet.report(command, "SUCCEEDED", result={"x": 1})
    assert (fleet.state(command), fleet.row(command)["result"]) == ("SUCCEEDED", {"x": 1})


@pytest.mark.parametrize(("state", "error"), [("FAILED", "no lamp"), ("REJECTED", "unsynced clock")])
def test_the_devices_reason_is_kept(fleet: Any, state: str, error: str) -> None:
    command = fleet.issue()
    fleet.due()
    fleet.report(command, state, error=error)
    assert (fleet.state(command), fleet.row(command)["error"]) == (state, error)


def test_a_command_can_be_cancelled_until_the_device_has_it(fleet: Any, time: Any) -> None:
    queued, sent, accepted = fleet.issue(), fleet.issue(), fleet.issue()
    fleet.cancel(queued)
    assert fleet.state(queued) == "CANCELLED"
    fleet.due()
    fleet.cancel(sent)
    time.pass_s(100)
    assert fleet.due() == []
    fleet.report(accepted, "ACCEPTED")
    with pytest.raises(Conflict, match="ACCEPTED and cannot be recalled"):
        fleet.cancel(accepted)
    with pytest.raises(NotFound):
        fleet.cancel("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_the_devices_word_corrects_what_the_hub_concluded(fleet: Any) -> None:
    command = fleet.issue()
    fleet.due()
    fleet.cancel(command)
    fleet.report(command, "SUCCEEDED")
    assert fleet.state(command) == "SUCCEEDED"


@pytest.mark.parametrize("end", sorted(commands.FINAL))
@pytest.mark.parametrize("said", [S.ACCEPTED, S.RUNNING, S.SUCCEEDED, S.FAILED, S.EXPIRED])
def test_an_end_that_the_device_named_is_final(end: CommandState, said: CommandState) -> None:
    assert not commands.moves_to(end, said)


def test_reports_out_of_order_never_move_a_command_back(fleet: Any) -> None:
    command = fleet.issue()
    fleet.due()
    fleet.report(command, "RUNNING")
    fleet.report(command, "ACCEPTED")
    assert fleet.state(command) == "RUNNING"


def test_another_device_cannot_speak_of_a_command(fleet: Any, store: Any, fact: Any) -> None:
    command = fleet.issue()
    body = CommandReport(command=command, state="SUCCEEDED")
    store.write_sync(lambda unit: commands.reported(unit, fact("pune-cam-01", "command.state", body)))
    assert fleet.state(command) == "QUEUED"


def test_a_newer_lamp_command_replaces_the_unanswered_one(fleet: Any) -> None:
    blinking = fleet.issue(CommandName.LAMP, LAMP | {"state": "blinking"})
    other = fleet.issue(CommandName.LAMP, LAMP | {"peripheral": "box2"})
    steady = fleet.issue(CommandName.LAMP, LAMP)
    assert [fleet.state(command) for command in (blinking, other, steady)] == [
        "CANCELLED",
        "QUEUED",
        "QUEUED",
    ]
    assert [item.message.args["state"] for item in fleet.due() if item.message.id == steady] == ["steady"]
    assert all(item.message.safe for item in fleet.due())


def test_a_birth_sends_what_is_unanswered_at_once(fleet: Any, born: Any) -> None:
    fleet.issue()
    fleet.due()
    assert fleet.due() == []
    born(DEVICE)
    assert len(fleet.due()) == 1


@pytest.mark.parametrize(
    ("name", "args", "path"),
    [
        pytest.param(CommandName.LAMP, {"peripheral": "box1"}, "args.incident", id="missing"),
        pytest.param(CommandName.LAMP, LAMP | {"state": "red"}, "args.state", id="not a state"),
        pytest.param(CommandName.RESTART, {"now": True}, "args.now", id="too many"),
    ],
)
def test_wrong_arguments_are_refused_with_their_path(
    fleet: Any, name: CommandName, args: Any, path: str
) -> None:
    with pytest.raises(Invalid) as refused:
        fleet.issue(name, args)
    assert refused.value.fields[0][0] == path


def test_a_result_announces_its_file(fleet: Any, store: Any) -> None:
    command = fleet.issue()
    fleet.due()
    fleet.report(command, "SUCCEEDED", result={"sha256": "a" * 64, "size": 5})
    expected = store.read_sync(lambda conn: uploads.expected(conn, DEVICE, "a" * 64))
    assert expected["size"] == 5


def test_commands_are_listed_newest_first_by_pages(fleet: Any, store: Any) -> None:
    made = sorted((fleet.issue() for _ in range(5)), reverse=True)
    seen: list[str] = []
    cursor = None
    while True:
        page = store.read_sync(
            lambda conn, cursor=cursor: commands.list_commands(conn, DEVICE, cursor=cursor, limit=2)
        )
        seen += [row["id"] for row in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == made
