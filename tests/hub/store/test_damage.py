"""A database file that is damaged: the hub does not start on it, says what to do, and leaves it as it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from prahari_hub.errors import SetupError, Unavailable
from prahari_hub.main import open_store
from prahari_hub.settings import load
from prahari_hub.store import Store

PAGE = 4096


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "hub.db") as database:
        database.execute(f"PRAGMA page_size={PAGE}")
        database.execute("CREATE TABLE filler (x)")
        database.executemany("INSERT INTO filler VALUES (?)", [(os.urandom(900),) for _ in range(300)])
    database.close()
    return tmp_path


def noise(content: bytes) -> bytes:
    return os.urandom(len(content))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoilt_inside(content: bytes) -> bytes:
    return content[:PAGE] + os.urandom(len(content) - PAGE)


@pytest.mark.parametrize("spoil", [noise, cut, spoilt_inside])
def test_a_damaged_database_is_refused_in_one_sentence_and_kept(home: Path, spoil) -> None:
    damaged = spoil((home / "hub.db").read_bytes())
    (home / "hub.db").write_bytes(damaged)
    with pytest.raises(SetupError, match="prahari-hub restore") as told:
        open_store(load(home=home))
    assert "\n" not in str(told.value)
    assert (home / "hub.db").read_bytes() == damaged


def test_damage_that_shows_while_the_hub_runs_is_told_as_such(home: Path) -> None:
    content = (home / "hub.db").read_bytes()
    (home / "hub.db").write_bytes(content[: 2 * PAGE] + b"\xa5" * (len(content) - 2 * PAGE))
    store = Store.open(f"sqlite:///{home / 'hub.db'}")
    try:
        with pytest.raises(Unavailable, match="is damaged"):
            store.write_sync(
                lambda unit: unit.conn.exec_driver_sql("SELECT sum(length(x)) FROM filler").all()
            )
    finally:
        store.close()
