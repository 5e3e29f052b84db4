"""Clocks that a test may turn while programs run: a small library in front of libc, compiled here, that adds what a file says."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
YEAR_S = 365 * 86400


class Hands:
    """One clock a name, each turned by seconds. Monotonic clocks are left alone, and so are programs without libc (the broker)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clockshim.so"
        command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    @staticmethod
    def possible() -> bool:
        return shutil.which("gcc") is not None

    def environment(self, name: str) -> dict[str, str]:
        """What a program's environment needs; its clock is right until it is turned."""
        if not self._file(name).exists():
            self.turn(name, 0)
        return {"LD_PRELOAD": str(self._library), "PRAHARI_TEST_CLOCK": str(self._file(name))}

    def turn(self, name: str, by_s: float) -> None:
        with self._file(name).open("r+b" if self._file(name).exists() else "wb") as file:
            file.write(struct.pack("q", int(by_s)))

    def to_1970(self, name: str) -> None:
        self.turn(name, -int(time.time()) + 60)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"
