"""What the lamp of a call box shows, kept over restarts: somebody may be waiting in front of it."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock

from prahari_wire.callbox import Lamp

from prahari_agent.files import write_atomic
from prahari_agent.hardware.port import LampPort
from prahari_agent.log import get_logger

log = get_logger("callbox")


class KeptLamp:
    """A lamp whose state and incident survive in ``lamp.json``; a full disk does not keep it from lighting. Thread-safe."""

    def __init__(self, home: Path) -> None:
        self._path = home / "lamp.json"
        self._port: LampPort | None = None
        self._lock = Lock()
        self.state, self.incident = self._read()

    def attach(self, port: LampPort | None) -> None:
        """Drive ``port`` from now on, beginning with what was shown before; the one before is left alone afterwards."""
        with self._lock:
            self._port = port
            if port is not None:
                port.show(self.state)

    def show(self, state: Lamp, incident: str | None) -> None:
        with self._lock:
            if self._port is not None:
                self._port.show(state)
            if (state, incident) == (self.state, self.incident):
                return
            self.state, self.incident = state, incident
            self._keep(state, incident)

    def _keep(self, state: Lamp, incident: str | None) -> None:
        try:
            write_atomic(self._path, json.dumps({"state": state, "incident": incident}).encode())
        except OSError as error:
            log.error("the lamp's state cannot be kept: free space on the disk", error=str(error))

    def works(self) -> bool:
        with self._lock:
            return self._port is not None and self._port.works()

    def _read(self) -> tuple[Lamp, str | None]:
        try:
            kept = json.loads(self._path.read_bytes())
            return Lamp(kept["state"]), kept["incident"]
        except FileNotFoundError:
            return Lamp.OFF, None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the lamp's kept state cannot be read", error=str(error))
            return Lamp.OFF, None
