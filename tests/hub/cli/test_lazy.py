"""What a command costs before it does anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prahari_hub.cli.commands import typer_app as app
from typer.testing import CliRunner

HEAVY = ("sqlalchemy", "fastapi", "nats", "cryptography", "numpy", "alembic", "rich.table")


def test_the_command_line_is_there_without_the_database_the_web_or_the_broker() -> None:
    code = "import sys, prahari_hub.cli.commands; print(*sorted(set(sys.modules) & set(sys.argv[1:])))"
    said = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_a_hub_loads_no_command_line_no_migrations_no_tracebacks_and_no_pages_of_other_roles() -> None:
    code = (
        "import sys, prahari_hub.cli, prahari_hub.main; print(*sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    heavy = ("typer", "rich", "pygments", "alembic", "httpx", "jinja2", "prahari_hub.web.app")
    said = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_a_hub_that_cannot_start_says_so_in_one_sentence_whether_its_home_comes_by_option_or_by_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "hub.toml").write_text("port_offset = 'many'\n")
    env = {**os.environ, "PRAHARI_HOME": str(tmp_path)}
    program = [sys.executable, "-c", "from prahari_hub.cli import app; app()", "serve"]
    said = [
        subprocess.run([*program, *more], env=env, capture_output=True, text=True, check=False)
        for more in ((), ("--home", str(tmp_path)))
    ]
    assert [done.returncode for done in said] == [1, 1]
    assert said[0].stderr == said[1].stderr and said[0].stderr.startswith("prahari-hub: ")


def test_accounts_tokens_and_a_home_are_made_without_the_web() -> None:
    code = (
        "import sys; from prahari_hub.access import links, tokens, users; from prahari_hub.identity import service\n"
        "print('fastapi' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_the_keys_are_listed_rolled_over_and_forgotten(initialised: Path) -> None:
    run = CliRunner()
    first = run.invoke(app, ["key", "list"]).stdout.split("\t")[0]
    assert "cannot be forgotten" in run.invoke(app, ["key", "forget", first]).stderr
    assert "signs once the hub is started again" in run.invoke(app, ["key", "roll-over"]).stdout
    listed = run.invoke(app, ["key", "list"]).stdout.splitlines()
    assert listed[1] == f"{first}\tbelieved" and listed[0].endswith("\tsigns")
    assert run.invoke(app, ["key", "forget", first]).exit_code == 0
    assert len(run.invoke(app, ["key", "list"]).stdout.splitlines()) == 1
    assert "there is no key" in run.invoke(app, ["key", "forget", first]).stderr
