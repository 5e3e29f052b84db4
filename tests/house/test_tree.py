"""The tree itself: sizes, what must not be committed, what the documentation must say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prahari_wire.channels import CHANNELS
from prahari_wire.events import KINDS
from prahari_wire.topics import Up

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES, FILE_LINES = 60, 600
MEDIA = {".mp4", ".mkv", ".avi", ".gif", ".jpg", ".jpeg", ".tflite", ".onnx", ".ttf", ".otf", ".woff", ".woff2", ".pmtiles"}  # fmt: skip
OUR_DRAWINGS = {".svg"}
OUR_MODEL = "models/street/street.tflite"


@cache
def tracked() -> list[Path]:
    """Every file that is committed, or would be with ``git add``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in filter(None, listed.split("\0")) if (path := ROOT / name).is_file()]


@cache
def texts() -> dict[Path, str]:
    """What they say; read by the worker that looks at them, not by each that collects."""
    return {path: text for path in tracked() if (text := path.read_bytes().decode(errors="ignore"))}


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and "tests" not in path.parts and "versions" not in path.parts]  # fmt: skip


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in statements(ast.parse(texts().get(path, "")).body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def statements(block: list[Any]) -> Iterator[Any]:
    """Each of the block and those within: ``ast.walk`` looks into every expression too, which takes ten times as long."""
    for node in block:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, part, []))


def offenders(pattern: str, *, apart_from: tuple[str, ...] = ()) -> list[str]:
    """file:line of every line that matches."""
    rule = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in texts().items()
        if not str(path.relative_to(ROOT)).startswith(apart_from or ("\0",))
        for number, line in enumerate(text.splitlines(), start=1)
        if rule.search(line)
    ]


def test_no_function_is_longer_than_a_page():
    long = [
        f"{name}: {lines} lines"
        for path in sources()
        for name, lines in functions(path)
        if lines > FUNCTION_LINES
    ]
    assert long == []


def test_no_file_has_more_than_one_reason_to_grow():
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in sources()
        if (lines := texts().get(path, "").count("\n")) > FILE_LINES
    ]
    assert long == []


def test_there_is_no_drawer_for_everything():
    assert [path for path in sources() if path.stem in {"utils", "util", "helpers", "common", "misc"}] == []


def test_no_path_of_somebodys_machine_is_committed():
    assert (
        offenders(
            r"(?<![\w.$])/(home|Users|root)/[a-z]\w*|/work/(main|shared)|/tmp/(?!build\b)[A-Za-z0-9]",
            apart_from=("tests/",),
        )
        == []
    )
    assert offenders(r"/work/(main|shared)|/root/\.", apart_from=("tests/house/",)) == []


def test_no_lock_names_a_registry():
    locks = [
        path
        for path in tracked()
        if path.parent.name == "requirements" or path.name in {"package-lock.json", ".npmrc"}
    ]
    assert len(locks) > 5
    for path in locks:
        for address in re.findall(r"https?://([\w.-]+)", texts().get(path, "")):
            assert not re.search(r"pypi|pythonhosted|npmjs|registry|mirror", address), f"{path}: {address}"
        assert '"resolved"' not in texts().get(path, ""), path


def test_no_registry_is_named_anywhere():
    assert offenders(r"registry\.npmjs|pypi\.org|pythonhosted", apart_from=("tests/house/",)) == []


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"-----BEGIN (EC |RSA |OPENSSH |ENCRYPTED )?PRIVATE KEY-----\s*$", id="private-key"),
        pytest.param(r"\bS[UAON][A-Z2-7]{56}\b", id="nkey-seed"),
        pytest.param(r"\b(ghp|gho|github_pat|glpat|AKIA)[_A-Za-z0-9]{16,}", id="token"),
        pytest.param(r"(?i)(api[_-]?key|passw(or)?d)\s*=\s*[\"'][A-Za-z0-9+/]{20,}[\"']", id="assignment"),
    ],
)
def test_no_secret_is_committed(pattern: str):
    assert offenders(pattern, apart_from=("tests/house/",)) == []


def test_nothing_of_others_is_committed():
    allowed = {".png"}  # a frame that our own renderer drew may be a test's reference
    ours = ROOT / OUR_MODEL
    binary = [path for path in tracked() if path.suffix.lower() in MEDIA - allowed and path != ours]
    assert binary == []
    assert [path for path in tracked() if "node_modules" in path.parts or path.name.endswith(".min.js")] == []


def test_no_committed_file_is_large():
    assert [str(path) for path in tracked() if path.stat().st_size > 1024 * 1024] == []


@cache
def reference_check() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "docs/reference.py", "--check"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("page", ["commands.md", "settings.md"])
def test_the_pages_of_commands_and_settings_are_up_to_date(page: str):
    done = reference_check()
    assert page not in done.stdout, "run make fix"
    assert done.returncode == 0 or "stale" in done.stdout, done.stderr


def test_every_command_and_setting_says_what_it_is():
    commands = texts()[ROOT / "docs/commands.md"]
    assert re.findall(r"^### (.+)\n\n(?:\n|###|\|)", commands, re.MULTILINE) == []
    settings = texts()[ROOT / "docs/settings.md"]
    assert re.findall(r"^\| `(\w+)` .* \|  \|$", settings, re.MULTILINE) == []


def test_the_protocol_page_names_every_topic_and_kind():
    page = texts()[ROOT / "docs/protocol.md"]
    for channel in CHANNELS:
        way = "up" if isinstance(channel, Up) else "down"
        assert f"prahari/v1/{{device}}/{way}/{channel}" in page
    assert all(f"`{kind}`" in page for kind in KINDS)


def test_ci_has_every_program_that_a_test_needs():
    marker = re.compile(r"^\s*(?:@|pytestmark = )pytest\.mark\.needs\((.+?)\)$", re.MULTILINE)
    needed = {
        need
        for path, text in texts().items()
        if "house" not in path.parts
        for arguments in marker.findall(text)
        for need in re.findall(r"\"([\w.-]+)\"", arguments)
    }
    installed = set(re.findall(r"([\w.-]+)=[a-z]", texts()[ROOT / ".ci/run"]))
    assert {"chronyd", "nft"} <= needed
    assert needed - {"media"} <= installed


def test_every_link_between_documents_leads_somewhere():
    dead = [
        f"{path.relative_to(ROOT)} -> {goal}"
        for path, text in texts().items()
        if path.suffix == ".md"
        for goal in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        if "://" not in goal and not (path.parent / goal).exists()
    ]
    assert dead == []


def test_every_page_is_found_from_the_readme():
    found, open_pages = {ROOT / "README.md"}, [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        for goal in re.findall(r"\]\(([^)#\s]+\.md)", texts().get(page, "")):
            linked = (page.parent / goal).resolve()
            if linked not in found and linked in texts():
                found.add(linked)
                open_pages.append(linked)
    lost = [str(path.relative_to(ROOT)) for path in texts() if path.suffix == ".md" and path not in found]
    assert lost == ["CHANGELOG.md"]


def test_the_readme_gives_the_two_commands_and_ci_runs_one_of_them():
    readme = texts()[ROOT / "README.md"]
    assert "\nmake demo\n" in readme
    assert "\nmake test\n" in readme
    assert texts()[ROOT / ".ci/run"].rstrip().endswith("make test")


def test_every_target_of_the_makefile_is_explained():
    makefile = texts()[ROOT / "Makefile"]
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), target
