"""The programs that the demo starts: each with a log of its own, ended by its id."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 15
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Program:
    """One running program. ``stop`` asks, waits, and ends it only when it does not follow."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            # a session of its own: Ctrl-C reaches the demo alone, which then stops its programs in order
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call into libc, no threads run here
            )

    @property
    def ended(self) -> int | None:
        return self.process.poll()

    def said(self, text: str) -> bool:
        """Whether its log holds ``text`` since this start."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return text.encode() in log.read()

    def tail(self, lines: int = 15) -> str:
        """The end of what it logged since this start, for a person who wonders why it ended."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def ask_to_stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _end_with_parent() -> None:
    """Ask the kernel to stop this program when the one that started it is killed; elsewhere than on Linux it stays."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def installed(name: str) -> str:
    """The path of one of our programs: beside this interpreter, where the virtual environment put it."""
    return str(Path(sys.executable).parent / name)
