"""Passwords: what is accepted, and argon2id over it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from prahari_hub.errors import Invalid
from prahari_hub.texts import N_, Text

MIN_LENGTH, MAX_LENGTH, MIN_DIFFERENT = 12, 128, 5
# OWASP's profile for argon2id with the least memory: the hub also runs on a small machine
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_WORKERS = ThreadPoolExecutor(2, thread_name_prefix="hub.access.password")
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$wlabllovG6d9VHLu1qajOg$F2sQC1ozyKcHEhqhd4SAIn+dLsF6pWSTl7lmhBdxbDs"
"""The same work over 32 random bytes that were thrown away: whoever is nobody waits as long for a refusal."""
_COMMON = frozenset((Path(__file__).parent / "common_passwords.txt").read_text().split())


def check(password: str, *, name: str) -> None:
    """Raise Invalid with what to change unless the password may be used by ``name``."""
    reason = None
    if len(password) < MIN_LENGTH:
        reason = Text(N_("at least {n} characters are needed"), {"n": MIN_LENGTH})
    elif len(password) > MAX_LENGTH:
        reason = Text(N_("at most {n} characters are accepted"), {"n": MAX_LENGTH})
    elif password.lower() in _COMMON or len(set(password)) < MIN_DIFFERENT:
        reason = Text(
            N_(
                "it is among the first that anyone would try; choose another, for example four unrelated words"
            )
        )
    elif name.lower() in password.lower():
        reason = Text(N_("it must not contain the user's name"))
    if reason:
        raise Invalid(N_("This password cannot be used: {reason}."), ("password", str(reason)), reason=reason)


def digest(password: str) -> str:
    return _HASHER.hash(password)


async def matches_soon(stored: str | None, password: str) -> bool:
    """``matches`` on one of two threads of its own, so that a flood of guesses holds up nothing but log-in."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, matches, stored, password)


def matches(stored: str | None, password: str) -> bool:
    """True if the password is the one behind ``stored``; None costs the same time and is never true."""
    try:
        _HASHER.verify(stored or _NOBODY, password[: MAX_LENGTH + 1])
    except (VerifyMismatchError, InvalidHashError):
        return False
    return stored is not None
