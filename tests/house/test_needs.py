"""A test that needs a program: skipped with a reason where it is missing, failed where CI asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NEEDY = """
import pytest

@pytest.mark.needs("no-such-program")
def test_needy():
    pass

def test_asking(program):
    program("no-such-program")
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", "2 skipped"), ("chromium,no-such-program", "1 failed, 1 error")],
    ids=["here", "in-ci"],
)
def test_a_missing_program_is_a_reason_here_and_a_failure_in_ci(
    root: Path, tmp_path: Path, required: str, outcome: str
):
    (tmp_path / "test_needy.py").write_text(NEEDY)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-c", root / "pyproject.toml", "-p", "no:cacheprovider", tmp_path],
        env={**os.environ, "PYTHONPATH": str(root / "tests"), "PRAHARI_REQUIRE": required},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert outcome in done.stdout.splitlines()[-1], done.stdout
    assert "no-such-program is not installed (Debian: apt install no-such-program)" in done.stdout
