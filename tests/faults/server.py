"""A PostgreSQL server that may be killed: its commits are on disk, and it comes back on the same port with the same data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa


class Server:
    """``start`` after ``kill`` recovers as after a power cut. Root lends it to the user nobody, for it refuses to run as root."""

    def __init__(self, initdb: Path, port: int) -> None:
        self.url = f"postgresql+psycopg://prahari@127.0.0.1:{port}/postgres"
        self._programs, self._port = initdb.resolve().parent, port
        self._folder = Path(tempfile.mkdtemp(prefix="prahari-pg-"))
        self._user: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        )
        if self._user:
            shutil.chown(self._folder, "nobody", "nogroup")
        make = [
            "--pgdata",
            self._folder / "data",
            "--username",
            "prahari",
            "--auth",
            "trust",
            "--no-sync",
            "--encoding=UTF8",
        ]
        subprocess.run(
            [self._programs / "initdb", *make],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["-k", self._folder, "-c", "listen_addresses=127.0.0.1", "-c", "autovacuum=off"]
        command = [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self._port), *options]
        deadline = time.monotonic() + 60
        while True:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stderr=subprocess.DEVNULL, start_new_session=True, **self._user
            )
            while self._process.poll() is None:
                if self._answers():
                    return
                assert time.monotonic() < deadline, "PostgreSQL does not come back"
                time.sleep(0.1)
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.2)  # what is left of the killed one still goes

    def kill(self) -> None:
        """Every process of it, at once."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGKILL)
        for child in self._workers():
            os.kill(child, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _workers(self) -> list[int]:
        """Its processes make sessions of their own: they are found by their folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink() == self._folder / "data" and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _answers(self) -> bool:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, connect_args={"connect_timeout": 2})
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False
        finally:
            engine.dispose()
