"""A display served by the whole agent as a process, over a real broker with mutual TLS."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_wire.command import Command, CommandName
from prahari_wire.display import DisplayConfig, Override, OverrideSet, PlaylistItem, TextContent
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired, TwinDown, document_bytes

WELCOME = DisplayConfig(playlist=[PlaylistItem(id="welcome", content=TextContent(text="पुणे में आपका स्वागत है"))])


@pytest.fixture
def home(tmp_path: Path, seed: Callable[..., bytes], broker: Any) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "prahari-seed.json").write_bytes(seed(mqtt=f"127.0.0.1:{broker.port}"))
    return home


@pytest.fixture
def agent(home: Path, hub_peer: Any, https: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "prahari_agent.cli", "run", "--home", str(home)]
    environment = {**os.environ, "PRAHARI_AGENT_LOG_FORMAT": "plain"}
    with (home / "agent.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    yield process
    process.kill()
    process.wait()
    print((home / "agent.log").read_text()[-4000:])


@pytest.fixture
def sign(agent: Any, hub_peer: Any, signer: Any, eventually: Callable[..., Any], home: Path) -> Path:
    """The sign's folder, once it shows its playlist."""
    eventually(lambda: hub_peer.messages("birth"))
    desired = Desired(peripherals={"sign1": WELCOME})
    header = TwinDown(id=ulid(), version=1, sha256=hashlib.sha256(document_bytes(desired)).hexdigest())
    document = desired.model_dump(mode="json", by_alias=True)
    hub_peer.say("twin", {**signer.signed(header).model_dump(mode="json"), "document": document})
    eventually(lambda: hub_peer.events("display.shown"))
    return home / "peripherals" / "sign1"


def override_message(signer: Any, epoch: int, *texts: str, lease_s: int = 60) -> dict[str, Any]:
    now = datetime.now(UTC)
    overrides = [
        Override(
            id=ulid(),
            cls=6,
            issued_at=now,
            expires_at=now + timedelta(hours=1),
            lease_s=lease_s,
            content=TextContent(text=text),
        )
        for text in texts
    ]
    return json.loads(
        signer.signed(
            OverrideSet(id=ulid(), display="sign1", epoch=epoch, overrides=overrides)
        ).model_dump_json(by_alias=True)
    )


def test_a_signed_override_shows_is_confirmed_and_its_frame_uploaded(
    sign: Path, hub_peer: Any, https: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    before = (sign / "frame.png").read_bytes()
    message = override_message(signer, 1, "आगे दुर्घटना\nKeep left")
    hub_peer.say("override", message)
    state = eventually(lambda: hub_peer.events("override.state"))[0]
    assert state["peripheral"] == "sign1"
    assert state["body"]["active"] == [message["overrides"][0]["id"]]
    frame = (sign / "frame.png").read_bytes()
    assert frame != before
    shown = eventually(lambda: hub_peer.events("display.shown")[1:])[0]["body"]
    assert (shown["source"], shown["epoch"]) == ("override", 1)
    assert shown["frame_sha256"] == hashlib.sha256(frame).hexdigest()
    https.announced.add(shown["frame_sha256"])
    assert eventually(lambda: https.blobs.get(shown["frame_sha256"])) == frame


def test_an_override_that_is_not_signed_by_the_hub_changes_nothing(
    sign: Path, hub_peer: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    before = (sign / "frame.png").read_bytes()
    forged = override_message(signer, 1, "Forged")
    forged["overrides"][0]["content"]["text"] = "Other words"
    hub_peer.say("override", forged)
    hub_peer.say("override", override_message(signer, 2))
    states = eventually(lambda: hub_peer.events("override.state"))
    assert [state["body"]["epoch"] for state in states] == [2]
    assert (sign / "frame.png").read_bytes() == before


def test_a_lease_ends_without_the_hub(
    sign: Path, hub_peer: Any, signer: Any, broker: Any, eventually: Callable[..., Any]
) -> None:
    before = (sign / "frame.png").read_bytes()
    hub_peer.say("override", override_message(signer, 1, "Halt", lease_s=5))
    eventually(lambda: hub_peer.events("override.state"))
    broker.stop()
    assert (sign / "frame.png").read_bytes() != before
    eventually(lambda: (sign / "frame.png").read_bytes() == before)


def test_a_preview_is_uploaded_as_the_command_s_result(
    sign: Path, hub_peer: Any, https: Any, signer: Any, eventually: Callable[..., Any]
) -> None:
    now = datetime.now(UTC)
    command = Command(
        id=ulid(), name=CommandName.PREVIEW, args={"peripheral": "sign1", "content": {"type": "text", "text": "क्ष"}},
        issued_at=now, expires_at=now + timedelta(minutes=1), safe=True,
    )  # fmt: skip
    hub_peer.say("command", signer.signed(command).model_dump(mode="json"))
    done = eventually(
        lambda: [e["body"] for e in hub_peer.events("command.state") if e["body"]["state"] == "SUCCEEDED"]
    )[0]
    sha256 = done["result"]["frame"]["sha256"]
    https.announced.add(sha256)
    assert len(eventually(lambda: https.blobs.get(sha256))) == done["result"]["frame"]["size"]
