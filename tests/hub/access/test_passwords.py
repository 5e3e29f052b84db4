"""Passwords: a guess at a name that nobody has costs as much as one at a name that somebody has."""

from __future__ import annotations

from argon2 import extract_parameters
from prahari_hub.access import passwords


def test_the_hash_of_nobody_costs_what_everybodys_does() -> None:
    somebodys = passwords.digest("four unrelated words")
    assert extract_parameters(passwords._NOBODY) == extract_parameters(somebodys)
