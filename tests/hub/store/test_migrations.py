"""Each schema that a release had becomes the newest one, on both stores, and every row comes along."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from prahari_hub.access import chain
from prahari_hub.errors import SetupError
from prahari_hub.store import Store
from prahari_hub.store.migrate import MIGRATIONS, knows, load_tables, migrate, newest, stands
from prahari_hub.store.schema import metadata

KEPT = Path(__file__).parent / "kept"
RELEASES = sorted(file.stem for file in KEPT.glob("*.sql"))
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, which_store: str, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if which_store == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture
def store(empty_url: str) -> Iterator[Store]:
    found = Store.open(empty_url)
    yield found
    found.close()


@pytest.fixture
def migrated(database_url: str) -> Iterator[Store]:
    """A store that every migration was made in."""
    found = Store.open(database_url)
    yield found
    found.close()


def load(store: Store, release: str) -> None:
    """The database as a hub of that release left it."""
    migrate(store.engine, release)
    is_sqlite = store.engine.dialect.name == "sqlite"
    with store.engine.begin() as conn:
        for line in (KEPT / f"{release}.sql").read_text().splitlines():
            conn.exec_driver_sql(line if is_sqlite else re.sub(r"\bx'([0-9a-f]*)'", r"'\\x\1'", line))
        if not is_sqlite:
            _count_on(conn)


def _count_on(conn: sa.Connection) -> None:
    """The next numbers come after those that stand, as they do after rows that a hub wrote."""
    owned = sa.text(
        "SELECT c.relname, a.attname, pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS counter "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND a.attnum > 0 "
        "AND c.relnamespace = 'public'::regnamespace AND pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS NOT NULL"
    )
    for table, column, counter in conn.execute(owned).all():
        conn.exec_driver_sql(f"SELECT setval('{counter}', (SELECT max({column}) FROM {table}))")


def rows(store: Store, columns: dict[str, list[str]]) -> Rows:
    """{table: its rows, in an order of their own}, of the named columns."""
    found = sa.MetaData()
    found.reflect(store.engine)

    def read(conn: sa.Connection) -> Rows:
        return {
            name: sorted(
                (tuple(row) for row in conn.execute(sa.select(*(found.tables[name].c[c] for c in names)))),
                key=repr,
            )
            for name, names in columns.items()
        }

    return store.read_sync(read)


def columns_of(store: Store) -> dict[str, list[str]]:
    found = sa.MetaData()
    found.reflect(store.engine)
    return {
        table.name: [column.name for column in table.columns]
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


@pytest.mark.parametrize("release", RELEASES)
def test_every_row_of_a_kept_database_comes_along(store: Store, release: str) -> None:
    load(store, release)
    columns = columns_of(store)
    before = rows(store, columns)
    assert all(before.values()), "a table of that release has no row here: write the file again"
    migrate(store.engine)
    after = rows(store, columns)
    assert after == before


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_kept_database_had_sealed_verifies_and_numbers_go_on(store: Store, release: str) -> None:
    load(store, release)
    migrate(store.engine)
    verified = store.read_sync(chain.verify)
    assert (verified.sealed, verified.broken) == (2, None)
    load_tables()
    numbered = [
        table
        for table in metadata.sorted_tables
        if table.name in ("events", "transitions", "refusals", "incident_log", "notifications")
    ]
    for table in numbered:
        row = store.read_sync(
            lambda conn, t=table: dict(conn.execute(sa.select(t).limit(1)).mappings().one())
        )
        fresh = {name: value for name, value in row.items() if name != "id"} | (
            {"seq": 99} if "seq" in row else {}
        )
        made = store.write_sync(
            lambda unit, t=table, f=fresh: unit.conn.execute(t.insert().values(**f)).inserted_primary_key[0]
        )
        assert made == 3, table.name


def test_a_hub_that_is_older_than_its_database_says_so_and_leaves_it_alone(migrated: Store) -> None:
    store = migrated
    with store.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = columns_of(store)
    with pytest.raises(SetupError, match=r"newer hub \(schema 9999\): install that version again"):
        migrate(store.engine)
    assert columns_of(store) == before


def test_the_newest_migration_gives_the_tables_that_the_slices_declare(migrated: Store) -> None:
    with migrated.engine.connect() as conn:
        pieces = set(conn.scalars(sa.text(PIECES)).all()) if conn.dialect.name == "postgresql" else set()
        options = {
            "include_name": lambda name, kind, _: kind != "table" or name not in pieces,
            "compare_type": True,
        }
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


PIECES = "SELECT relname FROM pg_class WHERE relispartition"


@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
def test_a_kept_file_is_migrated_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    """A hub of the next version that fails half-way leaves the file as it was."""
    load(store, RELEASES[0])
    store.engine.dispose()
    with store.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE leases (in_the_way INTEGER)")
    schema = "SELECT name, sql FROM sqlite_master ORDER BY name"
    with store.engine.connect() as conn:
        before = conn.exec_driver_sql(schema).all()
    with pytest.raises(sa.exc.OperationalError, match="leases already exists"):
        migrate(store.engine)
    with store.engine.connect() as conn:
        assert conn.exec_driver_sql(schema).all() == before
        assert conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == RELEASES[0]


def test_the_files_of_migrations_are_named_for_what_they_are() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert newest() == scripts.get_current_head()
    assert all(knows(script.revision) for script in scripts.walk_revisions())
    assert not knows("9999")


def test_a_schema_says_where_it_stands_and_stays_when_it_is_the_newest(store: Store) -> None:
    with store.engine.begin() as conn:
        assert stands(conn) is None
    for _ in range(2):
        migrate(store.engine)
        with store.engine.begin() as conn:
            assert stands(conn) == newest()
