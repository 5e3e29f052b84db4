"""``make check`` holds: style, types, layers, dependencies, generated files; each of its lines is a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.form import LONG

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("wire", "agent", "hub", "provisioning")


def recipe() -> list[str]:
    """The commands of the Makefile's check, the loop over the members unrolled."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None
    lines = [line.strip().lstrip("@") for line in found[1].splitlines()]
    commands = [line for line in lines if not line.startswith("for ")]
    return commands + [f"cd {member} && $(TOOLS)/deptry src" for member in MEMBERS]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "command", recipe(), ids=lambda line: line.replace("$(BIN)/", "").replace("$(TOOLS)/", "")
)
def test_the_tree_passes(command: str):
    if command.endswith("/mypy") and not LONG:
        pytest.skip(
            "the long form alone, and make check: in a fresh clone it reads half a minute of other people's types"
        )
    tools = str(Path(sys.executable).parent)
    line = command.replace("$(BIN)", tools).replace("$(TOOLS)", tools)
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n".join([*done.stdout.splitlines()[-40:], *done.stderr.splitlines()[-20:]])
