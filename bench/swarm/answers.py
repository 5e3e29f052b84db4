"""What a simulated device answers to the hub: reports of twins, commands and overrides, each as an event to be delivered.

Signatures are not checked here: the swarm trusts the hub that it loads.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from prahari_wire.command import CommandName
from prahari_wire.events import COMMAND_STATE, OVERRIDE_STATE, TWIN_REPORT


class Answer(NamedTuple):
    kind: str
    body: dict[str, Any]
    peripheral: str | None


class Answers:
    """One device's memory of what it was told."""

    __slots__ = ("commands", "counts", "epochs", "heartbeat_s", "twin_version")

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.commands: dict[str, str] = {}
        self.epochs: dict[str, int] = {}
        self.twin_version: int | None = None
        self.heartbeat_s: float | None = None
        """What the last twin said, if any came."""

    def to(self, channel: str, message: dict[str, Any]) -> Answer | None:
        match channel:
            case "twin":
                return self._twin(message)
            case "command":
                return self._command(message)
            case "override":
                return self._override(message)
        return None

    def _twin(self, twin: dict[str, Any]) -> Answer:
        version, document = int(twin["version"]), twin.get("document")
        self.counts["twins"] += 1
        if document is None:
            errors = [{"path": "(document)", "message": "simulated devices fetch no documents over HTTPS"}]
            body = {"version": version, "outcome": "rejected", "applied_version": self.twin_version}
            return Answer(TWIN_REPORT, {**body, "errors": errors}, None)
        self.twin_version, self.heartbeat_s = version, document.get("heartbeat_s")
        body = {"version": version, "outcome": "applied", "applied_version": version, "errors": []}
        return Answer(TWIN_REPORT, body, None)

    def _command(self, command: dict[str, Any]) -> Answer:
        """Done once; a repeat is answered from memory."""
        name = str(command["id"])
        state = self.commands.get(name)
        self.counts["commands" if state is None else "commands_again"] += 1
        if state is None:
            expired = datetime.fromisoformat(command["expires_at"]).timestamp() < time.time()
            state = self.commands[name] = "EXPIRED" if expired else "SUCCEEDED"
        body: dict[str, Any] = {"command": name, "state": state}
        if state == "SUCCEEDED" and command["name"] == CommandName.LAMP:
            body["result"] = {"state": command["args"].get("state")}
        return Answer(COMMAND_STATE, body, None)

    def _override(self, given: dict[str, Any]) -> Answer | None:
        display, epoch = str(given["display"]), int(given["epoch"])
        if epoch <= self.epochs.get(display, -1):
            return None
        self.epochs[display] = epoch
        self.counts["overrides"] += 1
        active = [item["id"] for item in given["overrides"]]
        return Answer(OVERRIDE_STATE, {"epoch": epoch, "outcome": "applied", "active": active}, display)
