"""The few facts that must survive a restart and are no events: session, clock floor, hash of the seed."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any

from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger

log = get_logger("state")


class State:
    """A JSON object in ``state.json``. A broken file counts as empty; what cannot be written is kept in memory and said."""

    def __init__(self, home: Path) -> None:
        self._path = home / "state.json"
        self._lock = Lock()
        self._values = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("state.json cannot be read and is begun anew", error=str(error))
            return {}
        return values if isinstance(values, dict) else {}

    def get(self, key: str, default: Any = None) -> Any:
        with self._lock:
            return self._values.get(key, default)

    def put(self, **values: Any) -> None:
        with self._lock:
            self._values.update(values)
            try:
                write_atomic(self._path, json.dumps(self._values, indent=1).encode())
            except OSError as error:
                log.error(
                    "state.json cannot be written: free space on the disk or mount it writable",
                    error=str(error),
                )
