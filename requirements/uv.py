"""Run the environment's uv under the machine's pip settings, which uv does not read by itself.

python requirements/uv.py pip install …

Whatever pip is told (index, further indexes, folders of wheels, certificates, time-out), by file or by environment, uv
is told too; a UV_* variable that is already set wins. No package index is ever named in this repository.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}


def pip_settings() -> Iterator[tuple[str, str]]:
    """(name, value) of pip's own configuration, weakest first as pip lists it, the environment last."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in {"global", "install", ":env:"} and name in SETTINGS:
            found.append((section == ":env:", name, str(ast.literal_eval(value))))
    for _, name, value in sorted(found, key=lambda row: row[0]):
        yield name, value


def uv_environment() -> dict[str, str]:
    """UV_* variables that say what pip was told."""
    told: dict[str, str] = {}
    for name, value in pip_settings():
        words = value.split()
        if name == "find-links":
            words = [word for word in words if "://" in word or Path(word).is_dir()]
        if words:
            told[SETTINGS[name]] = ("," if name == "find-links" else " ").join(words)
    if "UV_INDEX" in told:
        # pip takes the best version of all its indexes; hashes make sure that it is the locked one.
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in told.items() if name not in os.environ}


if __name__ == "__main__":
    uv = Path(sys.executable).with_name("uv")
    os.execve(uv, [str(uv), *sys.argv[1:]], {**os.environ, **uv_environment()})
