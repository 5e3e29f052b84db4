"""Dockerfile.agent, Dockerfile.hub and the compose files, as far as a machine without Docker can show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import yaml
from prahari_hub.settings import Settings

from tests.form import LONG

IMAGES = pytest.mark.parametrize("program", ["agent", "hub"])


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of each line, continuations joined."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def build(root: Path, clean: Path, program: str) -> Path:
    """Run the Dockerfile's own install step in the empty folder ``clean`` on copies of what it copies; the new environment."""
    target = clean / program / "opt"
    source = clean / program / "src"
    steps = instructions(root / f"Dockerfile.{program}")
    for what, arguments in steps[: steps.index(("FROM", steps[0][1].partition(" AS ")[0]))]:
        if what == "COPY":
            origin, goal = arguments.split()
            tracked = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", origin],
                cwd=root, capture_output=True, text=True, check=True,
            ).stdout.split("\0")  # fmt: skip
            assert origin == goal
            for name in filter(None, tracked):
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, source / name)
        elif what == "RUN":
            command = arguments.replace("/opt/prahari", str(target)).replace(
                "/tmp/build", str(clean / program / "build")
            )
            keep = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("VIRTUAL_ENV", "PYTHON"))
            }
            done = subprocess.run(
                command, shell=True, cwd=source, env=keep, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return target


def python(target: Path, code: str) -> str:
    done = subprocess.run([target / "bin/python", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MODULES = "import importlib.util as u; print(*[m for m in {modules!r} if u.find_spec(m)])"


def holds(target: Path, program: str, has: list[str], has_not: list[str], built: str) -> None:
    """The environment has ``has`` of both lists of modules; its program runs and comes from it, with its ``built`` files."""
    assert python(target, MODULES.format(modules=[*has, *has_not])).split() == has
    said = subprocess.run(
        [target / f"bin/prahari-{program}", "--help"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "Usage" in said.stdout
    package = Path(python(target, f"import prahari_{program} as p; print(p.__path__[0])"))
    assert target in package.parents
    assert list(package.glob(built)), f"the wheel lacks {built}"


WHOLE = pytest.mark.skipif(
    not LONG, reason="the long form alone: each fetches and installs some hundred packages"
)


@pytest.mark.parametrize(
    ("program", "built"), [("agent", "display/fonts/*.ttf"), ("hub", "web/static/dist/**/*.js")]
)
def test_a_wheel_holds_every_module_of_its_program_and_what_was_built_for_it(
    root: Path, tmp_path: Path, program: str, built: str
):
    """The short form of the two tests of whole images: what they install last."""
    command = [sys.executable, "requirements/uv.py", "build", "--quiet", "--wheel", "--no-build-isolation"]
    subprocess.run(
        [*command, "--python", sys.executable, "--out-dir", tmp_path, program], cwd=root, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith(f"prahari_{program}/")}
    package = root / program / "src" / f"prahari_{program}"
    wanted = {path for glob in ("**/*.py", built) for path in package.glob(glob)}
    assert {str(path.relative_to(package.parent)) for path in wanted} <= held
    assert list(package.glob(built)), f"nothing is built as {built}: run make setup"


@WHOLE
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_agents_image_holds_the_agent_alone(root: Path, tmp_path: Path):
    target = build(root, tmp_path, "agent")
    has = ["prahari_agent", "paho", "cv2", "av"]
    holds(target, "agent", has, ["prahari_hub", "fastapi", "sqlalchemy", "nats"], "display/fonts/*.ttf")


@IMAGES
def test_an_image_is_pinned_staged_and_runs_as_nobody_special(root: Path, program: str):
    steps = instructions(root / f"Dockerfile.{program}")
    bases = [arguments for what, arguments in steps if what == "FROM"]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+( AS build)?", base) for base in bases)
    final = steps[[what for what, _ in steps].index("FROM", 1) :]
    names = [what for what, _ in final]
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT"} <= set(names)
    user = dict(final)["USER"]
    assert int(user.split(":")[0]) > 0
    assert not any("pip install" in arguments for _, arguments in final)


@IMAGES
def test_an_image_copies_what_its_install_step_reads(root: Path, program: str):
    ignored = (root / ".dockerignore").read_text()
    for what, arguments in instructions(root / f"Dockerfile.{program}"):
        if what == "COPY" and "--from" not in arguments:
            assert f"!{arguments.split()[0]}" in ignored.splitlines()


COMPOSE = pytest.mark.parametrize("file", ["compose.yaml", "compose.scale.yaml"])


def services(root: Path, file: str = "compose.yaml") -> dict[str, dict[str, object]]:
    found = yaml.safe_load((root / file).read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_compose_has_every_part(root: Path):
    assert {"hub", "nats", "postgres", "agent"} <= set(services(root))


def test_compose_for_a_state_has_each_role_twice_and_three_brokers(root: Path):
    found = services(root, "compose.scale.yaml")
    commands = [" ".join(service["command"]) for service in found.values() if "command" in service]  # type: ignore[call-overload]
    for roles in ("broker,web", "ingest", "scheduler"):
        assert commands.count(f"serve --roles {roles}") == 2
    nodes = [name for name, service in found.items() if "nats-server" in service.get("entrypoint", [])]  # type: ignore[operator]
    assert nodes == ["nats-a", "nats-b", "nats-c"]
    for name, service in found.items():
        assert set(service.get("depends_on", {})) <= set(found), name  # type: ignore[call-overload]


def test_the_settings_of_compose_are_settings_of_the_hub(root: Path, tmp_path: Path):
    """What they name exists, and what they say is accepted; the variables are filled in as a person would."""
    given = services(root, "compose.scale.yaml")["ingest-1"]["environment"]
    assert isinstance(given, dict)
    filled = {"PRAHARI_DB_PASSWORD": "x", "PRAHARI_HOST": "hub.example"}

    def fill(found: re.Match[str]) -> str:
        name, _, default = found[1].partition(":-")
        return filled.get(name.partition(":?")[0], default)

    values = {
        name.removeprefix("PRAHARI_").lower(): re.sub(r"\$\{([^}]+)\}", fill, value)
        for name, value in given.items()
    }
    values["hosts"] = json.loads(values["hosts"])
    settings = Settings(home=tmp_path, roles="ingest", **values)
    assert len(settings.nats_urls) == 3 and settings.metrics_port == 8080


@COMPOSE
def test_every_container_is_read_only_unprivileged_and_watched(root: Path, file: str):
    found = services(root, file)
    for name, service in found.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name  # type: ignore[operator]
        assert str(service.get("user", "")) != "0", name
        if service.get("restart") != "no":
            assert "healthcheck" in service or "build" in service, name


@COMPOSE
def test_what_a_container_keeps_lies_in_a_named_volume(root: Path, file: str):
    document = yaml.safe_load((root / file).read_text())
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in document["volumes"], name


@COMPOSE
def test_compose_knows_no_password(root: Path, file: str):
    text = (root / file).read_text()
    for line in re.findall(r"^.*(?:PASSWORD|password|secret|token).*$", text, re.MULTILINE):
        if not line.strip().startswith("#"):
            assert ":?" in line or "_FILE" in line, line
    assert "0.0.0.0" not in text


def ready(address: str, hub: subprocess.Popen[bytes], *, within_s: float = 60) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and hub.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=3) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            time.sleep(0.2)
    return False


def shows_its_first_page(address: str) -> bool:
    """The log-in page with its form, and the script and style that it names."""
    with urllib.request.urlopen(f"{address}/login", timeout=10) as answer:
        page = answer.read().decode()
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    for file in files:
        with urllib.request.urlopen(address + file, timeout=10) as answer:
            assert answer.status == 200, file
    return "<form" in page and len(files) >= 2


def serves(
    root: Path, home: Path, port_offset: int, *, database: str | None = None, programs: Path | None = None
) -> tuple[bool, str]:
    """Run the commands of compose.yaml's services prepare, nats and hub with one home, as there.

    ``programs`` is the folder that has them, this environment's if left out. (the console shows its first page, log)
    """
    found = services(root)
    here = programs or Path(sys.executable).parent
    env = {**os.environ, "PRAHARI_HOME": str(home), "PRAHARI_PORT_OFFSET": str(port_offset)}
    env["PRAHARI_NATS_URL"] = f"nats://127.0.0.1:{4222 + port_offset}"
    if database:
        env["PRAHARI_DATABASE_URL"] = database
    prepare = [str(here / "prahari-hub"), *found["prepare"]["command"]]  # type: ignore[misc]
    subprocess.run(prepare, env=env, check=True, capture_output=True)
    program, *options = (
        str(part).replace("/var/lib/prahari", str(home)) for part in found["nats"]["entrypoint"]
    )  # type: ignore[attr-defined]
    file = home.with_suffix(".log")
    with (
        subprocess.Popen([here / program, *options], env=env, stderr=subprocess.DEVNULL) as nats,
        file.open("wb") as log,
        subprocess.Popen([here / "prahari-hub", "serve"], env=env, stdout=log, stderr=log) as hub,
    ):
        try:
            address = f"http://127.0.0.1:{8080 + port_offset}"
            served = ready(address, hub) and shows_its_first_page(address)
        finally:
            for process in (hub, nats):
                process.terminate()
    return served, file.read_text()


@pytest.mark.system
def test_a_hub_serves_beside_a_broker_that_was_started_apart(root: Path, tmp_path: Path, port_offset: int):
    served, log = serves(root, tmp_path / "home", port_offset)
    assert served, log


@pytest.mark.system
@pytest.mark.needs("initdb")
def test_a_hub_serves_on_postgresql(root: Path, tmp_path: Path, port_offset: int, postgres: Any):
    database = postgres.create()
    served, log = serves(root, tmp_path / "home", port_offset, database=database)
    postgres.drop(database)
    assert served, log
    assert not (tmp_path / "home" / "hub.db").exists()


@WHOLE
@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(400)
def test_the_hubs_image_holds_the_hub_alone_and_all_that_it_serves(
    root: Path, tmp_path: Path, port_offset: int
):
    target = build(root, tmp_path, "hub")
    has = ["prahari_hub", "fastapi", "nats", "numpy"]
    holds(target, "hub", has, ["prahari_agent", "cv2", "av", "paho"], "web/static/dist/**/*.js")
    served, log = serves(root, tmp_path / "home", port_offset, programs=target / "bin")
    assert served, log
