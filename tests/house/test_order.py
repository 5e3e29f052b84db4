"""How ``make test`` shares tests out among workers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.order import APART, LONG_S, TOGETHER, WHOLE_PROGRAMS

FILES = {
    "wire/test_light.py": 9,
    "hub/test_more.py": 3,
    "system/test_spine.py": 3,
    "faults/test_kills.py": 3,
    "faults/test_links.py": 3,
}
TEST = "import pytest\n\n\n@pytest.mark.parametrize('n', range({count}))\ndef test_it(n):\n    pass\n"


def test_what_the_order_names_is_there(root: Path):
    assert [
        name for name in (*APART, *TOGETHER, *LONG_S, *WHOLE_PROGRAMS) if not (root / name).exists()
    ] == []


def test_a_files_tests_stay_together_and_the_longest_of_each_kind_begin_first(root: Path, tmp_path: Path):
    for name, count in FILES.items():
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEST.format(count=count))
    for name in ("conftest.py", "order.py"):
        shutil.copy(root / "tests" / name, tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-v", "-p", "xdist", "-p", "no:cacheprovider"],
        cwd=tmp_path, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ran = re.findall(r"\[(gw\d)\].* PASSED tests/(\S+?)::", done.stdout)
    assert len(ran) == sum(FILES.values()), done.stdout
    assert {len({worker for worker, name in ran if name == file}) for file in FILES} == {1}
    assert len({worker for worker, name in ran if name.startswith("faults/")}) == 1  # they share a place
    first = {worker: name.partition("/")[0] for worker, name in reversed(ran)}
    assert sorted(first.values()) in (["faults", "wire"], ["system", "wire"])
