"""The map's devices: shown as they are, and nobody who looks waits for a state to be read again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from prahari_hub.fleet import registry
from prahari_hub.fleet.map.board import AGAIN_S, MOST_CHANGES, OLDEST_S, UNSEEN_AGAIN_S, Board
from prahari_hub.fleet.map.clusters import CODE
from prahari_hub.fleet.stand import Stand
from prahari_hub.fleet.tables import devices
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Change, Store
from sqlalchemy import Connection

ASHA = Actor("asha", Role.ADMIN)


class Mono:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def mono() -> Mono:
    return Mono()


@pytest.fixture
def board(mono: Mono, store: Store) -> Board:
    for name in ("cam-1", "cam-2"):
        store.write_sync(lambda unit, name=name: registry.create_device(unit, ASHA, name))
    put(store, "cam-1", "online", "ok")
    put(store, "cam-2", "online", "ok")
    return Board(mono=mono)


@pytest.fixture
def conn(store: Store) -> Iterator[Connection]:
    with store.engine.connect() as found:
        yield found


def put(store: Store, device: str, presence: str, health: str) -> None:
    values = {"service": "active", "presence": presence, "health_state": health}
    store.write_sync(
        lambda unit: unit.conn.execute(devices.update().where(devices.c.id == device).values(values))
    )


def shown(board: Board, store: Store) -> dict[str, Stand]:
    columns = store.read_sync(board.columns)
    words = {code: stand for stand, code in CODE.items()}
    return {
        device.decode(): words[state]
        for device, state in zip(columns.ids.tolist(), columns.state.tolist(), strict=True)
    }


def told(board: Board, *ids: str) -> None:
    board.on_changes([Change("devices", {"id": device}) for device in ids])


def too_many(board: Board) -> None:
    told(board, *(f"other-{number}" for number in range(MOST_CHANGES + 1)))


def test_who_looks_first_waits_and_sees_all_devices(board: Board, store: Store) -> None:
    assert board.due()
    assert shown(board, store).items() >= {"cam-1": Stand.NORMAL, "cam-2": Stand.NORMAL}.items()
    assert not board.due()


def test_what_changed_is_seen_at_the_next_look(board: Board, store: Store) -> None:
    shown(board, store)
    put(store, "cam-2", "offline", "ok")
    told(board, "cam-2")
    assert shown(board, store)["cam-2"] is Stand.OFFLINE


def test_when_too_many_change_the_map_is_a_little_old_and_then_read_again_by_itself(
    board: Board, store: Store, mono: Mono
) -> None:
    shown(board, store)
    put(store, "cam-2", "offline", "ok")
    too_many(board)
    assert shown(board, store)["cam-2"] is Stand.NORMAL
    assert not board.due()
    mono.s += AGAIN_S + 1
    assert shown(board, store)["cam-2"] is Stand.NORMAL, "nobody waits for it"
    assert board.due()
    store.read_sync(board.read)
    assert not board.due()
    assert shown(board, store)["cam-2"] is Stand.OFFLINE


def test_while_nobody_looks_it_is_read_again_seldom(board: Board, store: Store, mono: Mono) -> None:
    shown(board, store)
    too_many(board)
    mono.s += UNSEEN_AGAIN_S - 1
    assert not board.due()
    mono.s += 2
    assert board.due()


def test_what_nobody_kept_up_to_date_is_not_shown_when_it_is_old(
    board: Board, store: Store, mono: Mono
) -> None:
    shown(board, store)
    put(store, "cam-2", "offline", "ok")
    too_many(board)
    mono.s += OLDEST_S + 1
    assert shown(board, store)["cam-2"] is Stand.OFFLINE


def test_a_change_while_all_is_read_is_seen_at_once_and_stays(
    board: Board, store: Store, conn: Connection
) -> None:
    shown(board, store)
    seen: list[Stand] = []

    @sa.event.listens_for(conn, "after_cursor_execute")
    def meanwhile(*_: object) -> None:
        if not seen:
            put(store, "cam-2", "offline", "ok")
            told(board, "cam-2")
            seen.append(shown(board, store)["cam-2"])

    board.read(conn)
    assert seen == [Stand.OFFLINE]
    assert shown(board, store)["cam-2"] is Stand.OFFLINE
