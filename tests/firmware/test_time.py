"""What the agent's unit lets it know of the time: the kernel's word, and nothing that sets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from prahari_provisioning.boot import firmware_folder

pytestmark = pytest.mark.needs("systemd-analyze")
UNIT = firmware_folder() / "common/systemd/prahari-agent.service"
Program = Callable[[str], str]

CONFINED = """
import ctypes, json, sys
allowed = json.load(sys.stdin)
from prahari_agent.clock import kernel_says
if allowed is not None:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(0x00050001)))  # else EPERM
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ctypes.c_uint32(0x7FFF0000), number, 0) == 0
    assert seccomp.seccomp_load(context) == 0
print(json.dumps(kernel_says()))
"""


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def allowed_calls(analyze: str) -> set[str]:
    """The unit's SystemCallFilter as systemd reads it: a list of what is allowed, from which "~" takes and to which the rest adds."""
    sets: dict[str, set[str]] = {}
    for line in said(analyze, "syscall-filter").splitlines():
        word = line.strip()
        if line.startswith("@"):
            sets[word] = set()
        elif word and not word.startswith("#") and line.startswith(" "):
            next(reversed(sets.values())).add(word)

    def names(word: str) -> set[str]:
        return {word} if word not in sets else {name for part in sets[word] for name in names(part)}

    found: set[str] = set()
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            listed = line.removeprefix("SystemCallFilter=")
            some = {name for word in listed.removeprefix("~").split() for name in names(word)}
            found = found - some if listed.startswith("~") else found | some
    return found - names("@clock") if "ProtectClock=yes" in UNIT.read_text().splitlines() else found


def kernel_word(allowed: list[str] | None) -> bool | None:
    """What the agent hears of the kernel in a process that may make the calls ``allowed``, any if None."""
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], input=json.dumps(allowed), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_confined_agent_hears_from_the_kernel_whether_a_time_server_is_there(program: Program) -> None:
    free = kernel_word(None)
    if free is None:
        pytest.skip("this machine's kernel does not say: a sandbox around the tests forbids adjtimex")
    calls = allowed_calls(program("systemd-analyze"))
    assert kernel_word(sorted(calls)) is free
    assert kernel_word(sorted(calls - {"adjtimex", "clock_adjtime", "clock_adjtime64"})) is None


def test_the_confined_agent_cannot_set_the_clock(program: Program) -> None:
    """ProtectClock= would forbid the reading as well; the call that reads can set only with a capability."""
    listed = said(program("systemd-analyze"), "security", "--offline=true", "--json=short", str(UNIT))
    rows = {row["json_field"]: row["set"] for row in json.loads(listed)}
    assert not rows["SystemCallFilter_clock"], "systemd itself reads it so that the asking is allowed"
    assert rows["CapabilityBoundingSet_CAP_SYS_TIME"]
    assert rows["NoNewPrivileges"]
    assert rows["UserOrDynamicUser"]
    calls = allowed_calls(program("systemd-analyze"))
    assert not calls & {
        "clock_settime",
        "clock_settime64",
        "settimeofday",
        "mount",
        "reboot",
        "bpf",
        "init_module",
    }
