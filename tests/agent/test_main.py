"""The whole agent as a process, against a real broker and real device HTTPS."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_wire.command import Command, CommandName
from prahari_wire.display import OverrideSet
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired, TwinDown, document_bytes

BOX = {
    "peripherals": {"box1": {"type": "callbox", "debounce_ms": 0, "selftest_s": 1, "stuck_after_s": 1}},
    "heartbeat_s": 1,
}


@pytest.fixture
def home(tmp_path: Path, seed: Callable[..., bytes], broker: Any) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "prahari-seed.json").write_bytes(seed(mqtt=f"127.0.0.1:{broker.port}"))
    return home


class Agent:
    def __init__(self, home: Path, **environment: str) -> None:
        self.home, self.log = home, home / "agent.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prahari_agent.cli", "run", "--home", str(home)],
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prahari_agent.cli", *words, "--home", str(self.home)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
def agent(home: Path, hub_peer: Any, https: Any) -> Iterator[Agent]:
    agent = Agent(home)
    yield agent
    agent.stop(signal.SIGKILL)
    print(agent.log.read_text()[-4000:])


def twin_message(signer: Any, version: int, document: dict[str, Any]) -> dict[str, Any]:
    desired = Desired.model_validate_json(json.dumps(document))
    header = TwinDown(id=ulid(), version=version, sha256=hashlib.sha256(document_bytes(desired)).hexdigest())
    return {
        **signer.signed(header).model_dump(mode="json"),
        "document": desired.model_dump(mode="json", by_alias=True),
    }


def command_message(signer: Any, name: CommandName, **args: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    command = Command(
        id=ulid(), name=name, args=args, issued_at=now, expires_at=now + timedelta(minutes=1), safe=True
    )
    return signer.signed(command).model_dump(mode="json")


def test_an_agent_with_a_seed_enrols_connects_serves_a_call_box_and_says_goodbye(
    agent: Agent, hub_peer: Any, https: Any, signer: Any, eventually: Callable[..., Any], home: Path
) -> None:
    birth = eventually(lambda: hub_peer.messages("birth"))[0]
    assert birth["body"]["boot_reason"] == "power-on"
    assert not (home / "prahari-seed.json").exists()
    assert https.token not in (home / "identity" / "hub.json").read_text()

    hub_peer.say("twin", twin_message(signer, 1, BOX))
    report = eventually(lambda: hub_peer.events("twin.report"))[0]
    assert report["body"] == {"version": 1, "outcome": "applied", "applied_version": 1, "errors": []}
    health = eventually(lambda: [m for m in hub_peer.messages("health") if m["body"]["peripherals"]])[0]
    assert {"cpu", "memory", "disk", "clock", "link", "outbox", "peripheral:box1"} <= {
        c["name"] for c in health["body"]["checks"]
    }

    pressed = agent.cli("press")
    assert pressed.returncode == 0, pressed.stderr
    press = eventually(lambda: hub_peer.events("callbox.press"))[0]
    assert (press["peripheral"], press["late"], press["body"]["count"]) == ("box1", False, 1)

    hub_peer.say(
        "command", command_message(signer, CommandName.LAMP, peripheral="box1", incident="i1", state="steady")
    )
    eventually(lambda: [e for e in hub_peer.events("command.state") if e["body"]["state"] == "SUCCEEDED"])
    assert json.loads((home / "peripherals" / "box1" / "lamp.json").read_text())["state"] == "steady"

    assert agent.rss_mb() < 90  # the figure itself is measured under bench/
    assert agent.stop() == 0
    assert eventually(lambda: hub_peer.messages("gone"))[-1]["body"] == {"reason": "shutdown"}


def test_events_of_a_killed_agent_arrive_once_after_its_restart(
    agent: Agent, hub_peer: Any, signer: Any, eventually: Callable[..., Any], home: Path
) -> None:
    eventually(lambda: hub_peer.messages("birth"))
    hub_peer.say("twin", twin_message(signer, 1, BOX))
    eventually(lambda: hub_peer.events("twin.report"))
    hub_peer.ack_events = False
    assert agent.cli("press").returncode == 0
    agent.stop(signal.SIGKILL)
    hub_peer.ack_events = True
    again = Agent(home)
    try:
        births = eventually(
            lambda: [m for m in hub_peer.messages("birth") if m["body"]["boot_reason"] == "agent-crash"]
        )
        assert births[0]["body"]["twin_version"] == 1
        assert births[0]["conn"] > hub_peer.messages("birth")[0]["conn"]
        assert len(eventually(lambda: hub_peer.events("callbox.press"))) == 1
    finally:
        again.stop()


def test_agent_restart_replaces_the_process_and_succeeds(
    agent: Agent, hub_peer: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: hub_peer.messages("birth"))
    hub_peer.say("command", command_message(signer, CommandName.RESTART))
    eventually(lambda: [m for m in hub_peer.messages("gone") if m["body"]["reason"] == "restart"])
    eventually(lambda: [m for m in hub_peer.messages("birth") if m["body"]["boot_reason"] == "agent-restart"])
    states = eventually(
        lambda: [e for e in hub_peer.events("command.state") if e["body"]["state"] == "SUCCEEDED"]
    )
    assert len(states) == 1
    assert agent.process.poll() is None


def test_systemd_hears_ready_a_fed_watchdog_and_stopping(home: Path, hub_peer: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = f"\0prahari-test-{os.getpid()}"
        systemd.bind(address)
        systemd.settimeout(20)
        agent = Agent(home, NOTIFY_SOCKET="@" + address[1:], WATCHDOG_USEC="2000000")
        try:
            assert systemd.recv(1000) == b"READY=1"
            assert b"WATCHDOG=1" in systemd.recv(1000)
            agent.process.send_signal(signal.SIGTERM)
            while b"STOPPING=1" not in (said := systemd.recv(1000)):
                assert b"WATCHDOG=1" in said
            assert agent.process.wait(30) == 0, "a second SIGTERM would end a Python that is about to exit"
        finally:
            agent.stop(signal.SIGKILL)


def test_an_enrolment_that_is_done_starves_no_watchdog(home: Path, hub_peer: Any) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from prahari_agent.main import open_box; from prahari_agent.pulse import Pulses\n"
        "now = [0.0]; pulses = Pulses(now_s=lambda: now[0])\n"
        "assert open_box(Path(sys.argv[1]), threading.Event(), pulses) is not None\n"
        "now[0] = 3600.0; print('silent:', pulses.silent())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, home], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1:] == ["silent: []"], done.stdout + done.stderr


def test_under_systemd_agent_restart_ends_the_process_for_systemd_to_start_the_next(
    home: Path, hub_peer: Any, https: Any, signer: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        agent = Agent(home, NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            eventually(lambda: hub_peer.messages("birth"))
            hub_peer.say("command", command_message(signer, CommandName.RESTART))
            assert agent.process.wait(30) == 0
            assert hub_peer.messages("gone")[-1]["body"] == {"reason": "restart"}
        finally:
            agent.stop(signal.SIGKILL)


def test_a_second_agent_in_the_same_home_is_refused(
    agent: Agent, hub_peer: Any, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: hub_peer.messages("birth"))
    second = agent.cli("run")
    assert second.returncode == 2
    assert "Another agent runs" in second.stderr
    assert len(hub_peer.messages("birth")) == 1


def test_a_configuration_with_a_typo_leaves_the_box_as_it_was(
    agent: Agent, hub_peer: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: hub_peer.messages("birth"))
    hub_peer.say("twin", twin_message(signer, 1, BOX))
    eventually(lambda: hub_peer.events("twin.report"))
    message = twin_message(signer, 2, BOX)
    message["document"]["peripherals"]["box1"]["debounce"] = 5
    hub_peer.say("twin", message)
    report = eventually(lambda: [e for e in hub_peer.events("twin.report") if e["body"]["version"] == 2])[0][
        "body"
    ]
    assert (report["outcome"], report["applied_version"]) == ("rejected", 1)
    assert report["errors"][0]["path"] == "peripherals.box1.callbox.debounce"


def test_an_override_for_a_display_that_is_not_there_is_answered(
    agent: Agent, hub_peer: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: hub_peer.messages("birth"))
    overrides = signer.signed(OverrideSet(id=ulid(), display="sign1", epoch=4, overrides=[]))
    hub_peer.say("override", overrides.model_dump_json(by_alias=True).encode())
    [state] = eventually(lambda: hub_peer.events("override.state"))
    assert (state["body"]["outcome"], state["body"]["epoch"], state["peripheral"]) == ("refused", 4, "sign1")


def test_a_box_without_a_seed_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prahari_agent.cli", "run", "--home", str(tmp_path / "empty")],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2
    assert "prahari-provision seed" in done.stderr
    assert "Traceback" not in done.stderr
