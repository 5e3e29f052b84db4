"""The demo's two people: one who asks for footage, and another who approves."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import httpx

from prahari_provisioning.demo.register import checked

OPERATOR, ADMIN = "asha", "vikram"
ROLES = {OPERATOR: "operator", ADMIN: "admin"}


def ensure(api: httpx.Client, kept: Path) -> dict[str, str]:
    """Password by name; ``kept`` is the file that remembers them, so that they are the same at the next start."""
    try:
        found: dict[str, str] = json.loads(kept.read_bytes())
    except (FileNotFoundError, ValueError):
        found = {name: "-".join(secrets.token_hex(2) for _ in range(4)) for name in ROLES}
        for name, role in ROLES.items():
            _account(api, name, role, found[name])
        _write(kept, json.dumps(found))  # last, so that passwords that are kept are those of the accounts
    return found


def _account(api: httpx.Client, name: str, role: str, password: str) -> None:
    answer = api.post("/users", json={"name": name, "role": role, "password": password})
    if answer.status_code == httpx.codes.CONFLICT:
        answer = api.put(f"/users/{name}/password", json={"password": password})
    checked(answer)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
