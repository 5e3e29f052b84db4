"""The rule for what the hub refuses: a template that the catalogue knows, and its values apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter

import prahari_hub

PACKAGE = Path(prahari_hub.__file__).parent
RAISED = {"NotFound", "Conflict", "Invalid", "Forbidden", "Unavailable", "LogInRefused"}
ENGLISH = {
    "cli/": "said in a terminal",
    "store/copy.py": "said in a terminal",
    "fleet/export.py": "said in a terminal",
    "fleet/availability/closing.py": "said in a terminal",
    "fleet/api_": "answers programs alone",
    "fleet/wire_body.py": "answers programs alone",
    "signage/api.py": "answers programs alone",
    "fleet/blobs.py": "answers devices and programs alone",
    "fleet/device_api.py": "answers devices alone",
    "evidence/device_api.py": "answers devices alone",
    "evidence/receiving.py": "answers devices alone",
    "evidence/parts.py": "answers devices alone",
    "evidence/progress.py": "tells one process of the hub that another does it",
    "broker/": "tells the hub's own processes, which try again",
}
"""Where an error never comes to a page, and why; everywhere else it is told in the reader's language."""


@dataclass(frozen=True)
class Site:
    """One error that is raised: the call, where it stands, and the constants of its file."""

    file: str
    call: ast.Call
    constants: dict[str, ast.expr]

    def __str__(self) -> str:
        return f"{self.file}:{self.call.lineno}"

    def templates(self) -> list[str] | None:
        """The texts that it may say; None where they are not marked for the catalogue."""
        text: ast.expr | None = self.call.args[0]
        while isinstance(text, ast.Subscript):
            text = text.value
        if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute) and text.func.attr == "get":
            text = text.func.value
        if isinstance(text, ast.Name):
            text = self.constants.get(text.id)
        marked = [
            str(node.args[0].value)
            for node in ast.walk(text or ast.Constant(None))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "N_" and isinstance(node.args[0], ast.Constant)
        ]  # fmt: skip
        return marked or None


@cache
def sites() -> tuple[Site, ...]:
    return tuple(site for file in sorted(PACKAGE.rglob("*.py")) for site in _sites(file))


def _sites(file: Path) -> Iterator[Site]:
    tree = ast.parse(file.read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in RAISED:
                yield Site(file.relative_to(PACKAGE).as_posix(), node, constants)


def test_every_error_that_a_page_may_show_is_marked_for_the_catalogue() -> None:
    told = tuple(ENGLISH)
    unmarked = [str(site) for site in sites() if site.templates() is None and not site.file.startswith(told)]
    assert unmarked == [], 'write N_("… {name} …"), name=name; or say in ENGLISH why no page shows it'


def test_every_blank_of_an_error_has_its_value_and_every_value_its_blank() -> None:
    wrong = {}
    for site in sites():
        given = {keyword.arg for keyword in site.call.keywords}
        for text in site.templates() or []:
            blanks = {name for _, name, _, _ in Formatter().parse(text) if name} if given else set()
            if blanks != given:
                wrong[str(site)] = (text, given)
    assert wrong == {}


def test_what_is_allowed_to_stay_english_is_still_there() -> None:
    files = {site.file for site in sites()}
    assert [path for path in ENGLISH if not any(file.startswith(path) for file in files)] == []
