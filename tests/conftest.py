"""What every test may use: programs that the machine may lack, media that are not ours, free ports.

A test says what it needs with ``@pytest.mark.needs("chromium")``: where that is missing it is skipped with a reason, and it
fails instead when PRAHARI_REQUIRE (a comma-separated list, set by CI) names it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).resolve().parent.parent
os.environ["PRAHARI_TEST_DATABASE_MAY_LOSE"] = (
    "1"  # the servers that tests start: nothing there has to outlive a power cut
)
if importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment] # httpcore looks for it at each request: 1 ms of a core
PORTS = (8883, 4222, 8080, 8443)
REQUIRED = frozenset(filter(None, os.environ.get("PRAHARI_REQUIRE", "").split(",")))
NAMED_POSTGRES = os.environ.get("PRAHARI_TEST_POSTGRES")
SERVER = pytest.StashKey[str]()
PACKAGES = {
    "Xvfb": "xvfb",
    "initdb": "postgresql",
    "nft": "nftables",
    "chronyd": "chrony",
    "systemd-analyze": "systemd",
    "GstRtspServer-1.0": "gir1.2-gst-rtsp-server-1.0",
    "libgstvideotestsrc": "gstreamer1.0-plugins-base",
    "libgstrtp": "gstreamer1.0-plugins-good",
    "libgstx264": "gstreamer1.0-plugins-ugly",
    "gi": "python3-gi",
}
PARTS = ("*/girepository-1.0/{}.typelib", "*/gstreamer-1.0/{}.so", "python3/dist-packages/{}/__init__.py")
"""Where GStreamer's bindings and elements lie below /usr/lib: they are no programs."""


def media_folder() -> Path:
    return Path(os.environ.get("PRAHARI_MEDIA") or ROOT.parent / "shared" / "media")


def find_program(name: str) -> str | None:
    """Its path; programs of the system's sbin and of PostgreSQL count although a user's PATH may lack them."""
    servers = map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *servers])
    )


def missing(need: str) -> str | None:
    """Why ``need`` is not met on this machine, or None. A server of PostgreSQL that was named needs no program."""
    if need == "initdb" and NAMED_POSTGRES:
        return None
    if need == "media":
        folder = media_folder()
        return (
            None
            if folder.is_dir()
            else f"no folder {folder.name}: PRAHARI_MEDIA must name the test media's folder"
        )
    if find_program(need) or any(next(Path("/usr/lib").glob(kind.format(need)), None) for kind in PARTS):
        return None
    return f"{need} is not installed (Debian: apt install {PACKAGES.get(need, need)})"


def demand(need: str) -> None:
    """Skip the running test where ``need`` is missing, or fail it where CI requires it."""
    reason = missing(need)
    if reason is None:
        return
    if need in REQUIRED:
        pytest.fail(f"{reason}, and PRAHARI_REQUIRE asks for it", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three more than there are cores: tests wait for processes, brokers and browsers about half of their time. The long form waits less,
    and takes two more."""
    from tests.form import LONG

    return (os.cpu_count() or 1) + (2 if LONG else 3)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under ``--dist loadfile`` files go to workers in our order; other ways of xdist stay as they are."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.order import Order

    return Order(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Under xdist all workers use one server of PostgreSQL: to make one, and its template, takes two seconds of a core."""
    config = node.config
    if not NAMED_POSTGRES and missing("initdb") is None:
        if SERVER not in config.stash:
            held = contextlib.ExitStack()
            config.stash[SERVER] = ""  # where it does not start, the tests that want one say why
            with contextlib.suppress(OSError, subprocess.CalledProcessError, sa.exc.OperationalError):
                config.stash[SERVER] = held.enter_context(own_postgres(unused_port()))
            config.add_cleanup(held.close)
        node.workerinput["postgres"] = config.stash[SERVER]


def pytest_collection(session: pytest.Session) -> None:
    """Imports and what tests are made of leave next to no cycles: looking for them took a tenth of the collection."""
    gc.disable()
    worker = getattr(session.config, "workerinput", None)
    if worker and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        import_share(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


def import_share(worker: int, of: int) -> None:
    """Import the worker's share of the test files first. In a fresh clone pytest rewrites and compiles each file at its first import;
    else every worker would do that with all of them at the same time."""
    for path in sorted(Path(__file__).parent.rglob("test_*.py"))[worker::of]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # the collection says what is wrong
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """What thousands of tests consist of stays until the end: nothing in it is looked through for cycles again and again."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            demand(need)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once("town", fill) gives a folder that ``fill`` filled, in one of the run's workers for all of them."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = shared / f"once-{name}", shared / f"once-{name}.filled"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed half-way
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return make


@pytest.fixture(scope="session", name="find_program")
def _find_program() -> Callable[[str], str | None]:
    """find_program("initdb") gives its path, or None where it is missing."""
    return find_program


@pytest.fixture
def program() -> Callable[[str], str]:
    """program("mpv") gives its path; skips or fails the test where it is missing."""

    def find(name: str) -> str:
        demand(name)
        path = find_program(name)
        assert path is not None
        return path

    return find


@pytest.fixture
def media() -> Path:
    """The folder of real clips and models."""
    demand("media")
    return media_folder()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def unused_port() -> int:
    """A TCP port that nobody uses at the moment, below those that the system gives to clients."""
    while True:
        port = random.randrange(10_000, 15_000)
        if _free(port):
            return port


@pytest.fixture
def free_port() -> Callable[[], int]:
    """free_port() gives a TCP port that nobody uses at the moment, never the same twice in one test."""
    given: set[int] = set()

    def take() -> int:
        while (port := unused_port()) in given:
            pass
        given.add(port)
        return port

    return take


def _offset() -> int:
    while True:
        offset = random.randrange(11_000, 23_000)
        if all(_free(port + offset) for port in PORTS):
            return offset


@pytest.fixture(scope="session")
def find_port_offset() -> Callable[[], int]:
    """find_port_offset() gives a PRAHARI_PORT_OFFSET with which all of the hub's ports are free."""
    return _offset


@pytest.fixture
def port_offset() -> int:
    """A PRAHARI_PORT_OFFSET with which all of the hub's ports are free."""
    return _offset()


class Postgres:
    """A PostgreSQL server and the databases that tests make on it. ``url`` names one that is always there.

    ``made_once``: other workers use the server as well and it ends with the run, so templates are made once and stay."""

    def __init__(
        self, url: str, made_once: Callable[[str, Callable[[Path], object]], Path] | None = None
    ) -> None:
        self._made_once = made_once
        self.url = sa.make_url(url)
        self._admin = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self._templates: dict[str, str] = {}
        self._resting: dict[str, list[Lent]] = {}

    def do(self, statement: str) -> None:
        with self._admin.connect() as conn:
            conn.exec_driver_sql(statement)

    def create(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of ``template``, a database that nobody is connected to."""
        name = f"prahari_test_{uuid4().hex[:16]}"
        self.do(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
        return self.url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self.do(f"DROP DATABASE IF EXISTS {sa.make_url(url).database} WITH (FORCE)")

    def copy(self, name: str, build: Callable[[str], None]) -> str:
        """The URL of a new database as ``build(url)`` makes it; it runs once for each ``name``, its result is copied."""
        if name not in self._templates:
            self._templates[name] = self._template(name, build)
        return self.create(sa.make_url(self._templates[name]).database)

    def _template(self, name: str, build: Callable[[str], None]) -> str:
        def make(folder: Path | None = None) -> str:
            url = self.create()
            build(url)
            if folder:
                (folder / "url").write_text(url)
            return url

        return (self._made_once(f"template-{name}", make) / "url").read_text() if self._made_once else make()

    @contextmanager
    def lend(self, name: str, build: Callable[[str], None]) -> Iterator[str]:
        """As ``copy``, for a ``build`` that leaves tables empty. A new copy costs hundreds of files, so the next one
        gets this one emptied, unless its borrower changed more than rows."""
        resting = self._resting.setdefault(name, [])
        lent = resting.pop() if resting else Lent(self.copy(name, build))
        try:
            yield lent.url
        finally:
            if lent.empty():
                resting.append(lent)
            else:
                lent.close()
                self.drop(lent.url)

    def close(self) -> None:
        resting = [lent for found in self._resting.values() for lent in found]
        for lent in resting:
            lent.close()
        for url in () if self._made_once else (*self._templates.values(), *(lent.url for lent in resting)):
            self.drop(url)
        self._admin.dispose()


class Lent:
    """A database that is lent again and again, and a connection of its own, which stays: a new one would read the catalogue anew."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._conn = self._connect()
        self._shape = self._conn.execute(SHAPE).fetchone()

    def empty(self) -> bool:
        """End what is connected, and remove every row and every trace of it in counters; False where the borrower changed more."""
        from psycopg import OperationalError

        try:
            self._conn.execute(ALONE)
        except OperationalError:  # the borrower ended it
            self._conn = self._connect()
            self._conn.execute(ALONE)
        self._conn.execute(EMPTY)
        return self._conn.execute(SHAPE).fetchone() == self._shape

    def close(self) -> None:
        self._conn.close()

    def _connect(self) -> Any:
        import psycopg  # not for those who need no PostgreSQL

        return psycopg.connect(self.url.replace("+psycopg", "", 1), autocommit=True)


ALONE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""
EMPTY = """
DO $$ DECLARE used regclass[]; one regclass; BEGIN
  SET LOCAL session_replication_role = replica;  -- no trigger keeps what is to go
  SELECT array_agg(oid) INTO used FROM pg_class WHERE relispartition AND relkind = 'r' AND relname !~ '_rest$';
  IF used <> '{}' THEN EXECUTE 'DROP TABLE ' || array_to_string(used, ', '); END IF;  -- partitions that migrations do not make
  SELECT array_agg(oid) INTO used FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0;
  IF (SELECT max(pg_relation_size(oid)) FROM unnest(used) oid) > 262144 THEN
    EXECUTE 'TRUNCATE ' || array_to_string(used, ', ') || ' CASCADE';
  ELSE  -- new files for a few tables, and for all that refer to them, cost 80 ms of a core
    FOREACH one IN ARRAY coalesce(used, '{}') LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
  END IF;
  PERFORM setval(quote_ident(sequencename)::regclass, start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL;
END $$"""
SHAPE = """
SELECT (SELECT string_agg(version_num, ',') FROM alembic_version),
  (SELECT row(count(*), max(xmin::text::bigint))::text FROM pg_attribute WHERE attrelid >= 16384),
  (SELECT row(count(*), max(xmin::text::bigint))::text FROM pg_constraint),
  (SELECT row(count(*), max(xmin::text::bigint))::text FROM pg_trigger),
  (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting JOIN pg_database ON setdatabase = pg_database.oid
    WHERE datname = current_database())"""
"""Which rows of the catalogue there are and when the last one was written: it tells columns, indexes, constraints and triggers of another
shape."""


@contextmanager
def own_postgres(port: int, *options: str) -> Iterator[str]:
    """A PostgreSQL server that ends with the block; its URL. It refuses to run as root, so root lends it to the user nobody.

    It sorts text by a language's rules, as servers do that nobody told otherwise, and its disk need not last.
    """
    initdb = Path(str(find_program("initdb")))
    user: dict[str, Any] = (
        {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    )
    folder = Path(tempfile.mkdtemp(prefix="prahari-pg-"))
    if user:
        shutil.chown(folder, "nobody", "nogroup")
    quick = (
        "fsync=off",
        "full_page_writes=off",
        "autovacuum=off",
        "max_connections=400",
        "jit=off",
        "max_wal_size=2GB",
    )
    settings = [part for option in (*quick, *options) for part in ("-c", option)]
    sorts = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
    make = [
        initdb,
        "--pgdata",
        folder / "data",
        "--username",
        "prahari",
        "--auth",
        "trust",
        "--no-sync",
        *sorts,
    ]
    try:
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **user)
        command = [initdb.with_name("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder]
        command += ["-c", "listen_addresses=127.0.0.1", *settings]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **user) as process:
            try:
                url = f"postgresql+psycopg://prahari@127.0.0.1:{port}/postgres"
                _until_it_answers(url)
                yield url
            finally:
                process.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until_it_answers(url: str, *, within_s: float = 60) -> None:
    engine = sa.create_engine(url)
    deadline = time.monotonic() + within_s
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            engine.dispose()
            return


@pytest.fixture(scope="session")
def postgres(
    request: pytest.FixtureRequest, made_once: Callable[[str, Callable[[Path], object]], Path]
) -> Iterator[Postgres]:
    """A PostgreSQL server: the one that PRAHARI_TEST_POSTGRES names by URL, else one of this run's own."""
    demand("initdb")
    if ours := getattr(request.config, "workerinput", {}).get("postgres"):
        server = Postgres(ours, made_once)
        yield server
        server.close()
        return
    with own_postgres(unused_port()) if not NAMED_POSTGRES else nullcontext(NAMED_POSTGRES) as url:
        server = Postgres(url)
        yield server
        server.close()
