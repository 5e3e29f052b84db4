"""Write the hashed locks of this folder: one a program, one for development, one for building, one for the installer.

A lock names versions and hashes and never where they came from. ``--upgrade`` takes the newest versions allowed.
"""

from __future__ import annotations

import subprocess
import sys

COMPILE = [
    "pip",
    "compile",
    "--quiet",
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-header",
    "--no-annotate",
    "--no-emit-package",
    "prahari-wire",
]

LOCKS = {
    "uv.txt": ["requirements/uv.in"],
    "build.txt": ["requirements/build.in"],
    "agent.txt": ["agent/pyproject.toml", "--extra", "litert"],
    "agent-tflite.txt": ["agent/pyproject.toml", "--extra", "tflite"],
    "hub.txt": ["hub/pyproject.toml"],
    "provisioning.txt": ["provisioning/pyproject.toml"],
    "dev.txt": [
        *(
            "agent/pyproject.toml",
            "--extra",
            "litert",
            "hub/pyproject.toml",
            "--extra",
            "export",
            "provisioning/pyproject.toml",
        ),
        "requirements/dev.in",
    ],
}


def main() -> None:
    uv = [sys.executable, "requirements/uv.py"]
    for lock, sources in LOCKS.items():
        print(f"requirements/{lock}", flush=True)
        subprocess.run([*uv, *COMPILE, *sources, *sys.argv[1:], "-o", f"requirements/{lock}"], check=True)


if __name__ == "__main__":
    main()
