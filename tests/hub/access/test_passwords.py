"""Passwords: a guess at a name that nobody has costs as much as one at a name that somebody has."""

from __future__ import annotations

import importlib.util


def test_the_hash_of_nobody_costs_what_everybodys_does() -> None:
    spec = importlib.util.find_spec("prahari_hub.access.passwords")
    assert spec is not None and spec.loader is not None
    as_in_the_field = importlib.util.module_from_spec(spec)  # the one that tests share hashes quickly
    spec.loader.exec_module(as_in_the_field)
    assert not as_in_the_field._HASHER.check_needs_rehash(as_in_the_field._NOBODY)
