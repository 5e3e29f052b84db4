"""The audit log: append-only, sealed, and a break is named (H42)."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa
from prahari_hub.access import chain
from prahari_hub.access.audit import record
from prahari_hub.access.tables import audit
from prahari_hub.errors import Unavailable
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Store

ASHA = Actor("asha", Role.OPERATOR)


def add(store: Store, count: int) -> None:
    """Rows, old enough to be sealed on any database."""

    def work(unit) -> None:
        for number in range(count):
            record(unit, ASHA, "test.do", f"thing:{number}", reason="क्यों", detail={"n": number})

    store.write_sync(work)
    store.clock.pass_(seconds=2)  # type: ignore[attr-defined]


def tamper(store: Store, *statements: str) -> None:
    """What somebody with the file and sqlite3, or with the password of PostgreSQL's owner, can do."""
    is_sqlite = store.engine.dialect.name == "sqlite"
    triggers = TRIGGERS if is_sqlite else TRIGGERS_OF_POSTGRESQL
    with store.engine.begin() as conn:
        for name, table in conn.exec_driver_sql(triggers).all():
            conn.exec_driver_sql(f"DROP TRIGGER {name}" + ("" if is_sqlite else f" ON {table}"))
        for statement in statements:
            conn.exec_driver_sql(statement)


TRIGGERS = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
TRIGGERS_OF_POSTGRESQL = "SELECT tgname, tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal"


@pytest.fixture
def sealed(store: Store) -> Store:
    add(store, 5)
    assert store.write_sync(chain.seal) == 5
    return store


def test_a_whole_chain_is_verified_and_its_unsealed_tail_named(sealed: Store) -> None:
    add(sealed, 2)
    found = sealed.read_sync(chain.verify)
    assert (found.sealed, found.unsealed, found.broken) == (5, 2, None)
    assert sealed.write_sync(chain.seal) == 2
    assert sealed.read_sync(chain.verify).unsealed == 0


def test_the_first_hash_can_be_computed_by_hand(sealed: Store) -> None:
    row, seal = sealed.read_sync(
        lambda conn: (
            conn.execute(sa.select(audit).order_by(audit.c.id)).first(),
            conn.exec_driver_sql("SELECT hash FROM audit_seals ORDER BY audit_id").scalar(),
        )
    )
    text = (
        '{"action":"test.do","actor":"asha","at":"' + row.at.isoformat() + '","detail":{"n":0},"id":1,'
        '"reason":"क्यों","subject":"thing:0"}'
    )
    assert seal == hashlib.sha256(b"0" * 64 + text.encode()).hexdigest()


def test_a_long_chain_is_verified_in_batches(store: Store) -> None:
    add(store, 2300)
    while store.write_sync(chain.seal):
        pass
    found = store.read_sync(chain.verify)
    assert (found.sealed, found.broken) == (2300, None)


@pytest.mark.parametrize("table", ["audit", "audit_seals"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {}='x'", "DELETE FROM {}"], ids=["update", "delete"])
def test_the_database_refuses_to_change_the_log(sealed: Store, table: str, verb: str) -> None:
    statement = verb.format(table, "hash" if table == "audit_seals" else "actor")
    with pytest.raises((sa.exc.DBAPIError, Unavailable), match="append-only"):
        sealed.write_sync(lambda unit: unit.conn.exec_driver_sql(statement))


@pytest.mark.parametrize(
    ("statements", "broken"),
    [
        (["UPDATE audit SET actor = 'ravi' WHERE id = 3"], 3),
        (["UPDATE audit SET detail = '{\"n\": 9}' WHERE id = 2"], 2),
        (["DELETE FROM audit WHERE id = 4"], 4),
        (["DELETE FROM audit WHERE id = 2", "DELETE FROM audit_seals WHERE audit_id = 2"], 3),
        (["DELETE FROM audit_seals WHERE audit_id = 3"], 4),
    ],
    ids=["edited", "detail-edited", "removed", "removed-with-its-seal", "seal-removed"],
)
def test_whatever_is_done_to_the_file_is_named(sealed: Store, statements: list[str], broken: int) -> None:
    tamper(sealed, *statements)
    found = sealed.read_sync(chain.verify)
    assert found.broken == broken and found.reason


CUT_OFF = ("DELETE FROM audit WHERE id = 5", "DELETE FROM audit_seals WHERE audit_id = 5")


@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
def test_sqlite_itself_remembers_that_there_was_a_tail(sealed: Store) -> None:
    """PostgreSQL does not: its sequence also leaves gaps where nothing was written."""
    tamper(sealed, *CUT_OFF)
    found = sealed.read_sync(chain.verify)
    assert found.broken == 5 and found.reason


def test_a_noted_hash_shows_a_tail_that_was_cut_off_with_care(sealed: Store) -> None:
    head = sealed.read_sync(chain.verify).head
    forget = "UPDATE sqlite_sequence SET seq = 4 WHERE name = 'audit'"
    tamper(sealed, *CUT_OFF, *([forget] if sealed.engine.dialect.name == "sqlite" else []))
    assert sealed.read_sync(chain.verify).broken is None
    found = sealed.read_sync(lambda conn: chain.verify(conn, head))
    assert found.broken == 5 and "cut off" in (found.reason or "")
