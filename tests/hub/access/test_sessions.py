"""Accounts, log-in, sessions and one-time links on a real store."""

from __future__ import annotations

import pytest
from prahari_hub.access import links, sessions, users
from prahari_hub.access.sessions import LogInRefused
from prahari_hub.errors import Conflict, Invalid
from prahari_hub.http.actor import Role, system
from prahari_hub.store import Store

PASSWORD = "four unrelated words here"
ROOT = system("test")


@pytest.fixture
def asha(store: Store) -> str:
    store.write_sync(lambda unit: users.add(unit, ROOT, "asha", password=PASSWORD, role=Role.OPERATOR))
    return "asha"


@pytest.mark.parametrize(
    "password",
    ["short", "123456789012", "Password1234", "aaaaaaaaaaaaaaaa", "x-asha-x-asha-x", "p" * 129],
    ids=["short", "digits", "common", "monotonous", "own-name", "endless"],
)
def test_a_weak_password_is_refused_with_a_reason(store: Store, password: str) -> None:
    with pytest.raises(Invalid, match="cannot be used"):
        store.write_sync(lambda unit: users.add(unit, ROOT, "asha", password=password, role=Role.OPERATOR))
    assert store.read_sync(users.listed) == []


async def test_log_in_opens_a_session_and_ends_the_one_the_browser_had(store: Store, asha: str) -> None:
    first = await sessions.log_in(store, asha, PASSWORD)
    second = await sessions.log_in(store, asha, PASSWORD, old_secret=first.secret)
    now = store.clock()
    assert second.secret != first.secret and second.csrf != first.csrf
    assert store.read_sync(lambda conn: sessions.find(conn, first.secret, now)) is None
    found = store.read_sync(lambda conn: sessions.find(conn, second.secret, now))
    assert found is not None and found.user == asha and found.role is Role.OPERATOR


async def test_the_database_holds_no_secret_that_opens_a_session(store: Store, asha: str, tmp_path) -> None:
    signed_in = await sessions.log_in(store, asha, PASSWORD)
    held = b"".join(path.read_bytes() for path in tmp_path.glob("hub.db*"))
    assert signed_in.secret.encode() not in held and PASSWORD.encode() not in held


async def test_wrong_passwords_lock_the_account_longer_each_time(store: Store, asha: str, clock) -> None:
    for _ in range(5):
        with pytest.raises(LogInRefused, match="wrong"):
            await sessions.log_in(store, asha, "a wrong password")
    with pytest.raises(LogInRefused, match="wait up to"):
        await sessions.log_in(store, asha, PASSWORD)
    clock.pass_(seconds=31)
    with pytest.raises(LogInRefused, match="wrong"):
        await sessions.log_in(store, asha, "a wrong password")
    clock.pass_(seconds=31)
    with pytest.raises(LogInRefused, match="wait up to"):
        await sessions.log_in(store, asha, PASSWORD)
    clock.pass_(seconds=31)
    await sessions.log_in(store, asha, PASSWORD)


async def test_an_unknown_name_reads_like_a_wrong_password_and_like_a_locked_account(
    store: Store, asha: str
) -> None:
    with pytest.raises(LogInRefused) as unknown:
        await sessions.log_in(store, "nobody", "a wrong password")
    with pytest.raises(LogInRefused) as wrong:
        await sessions.log_in(store, asha, "a wrong password")
    for _ in range(6):
        with pytest.raises(LogInRefused) as locked:
            await sessions.log_in(store, asha, "a wrong password")
    assert str(unknown.value) == str(wrong.value) == str(locked.value)


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "absolute"])
async def test_a_session_ends_by_itself(store: Store, asha: str, clock, idle: bool) -> None:
    signed_in = await sessions.log_in(store, asha, PASSWORD)
    for _ in range(1 if idle else 49):
        clock.pass_(minutes=15 if idle else 10)
        if not idle:
            store.write_sync(lambda unit: sessions.touch(unit, signed_in.secret))
    assert store.read_sync(lambda conn: sessions.find(conn, signed_in.secret, clock.now)) is None


async def test_disabling_an_account_ends_its_sessions_and_its_log_in(store: Store, asha: str) -> None:
    signed_in = await sessions.log_in(store, asha, PASSWORD)
    store.write_sync(lambda unit: users.add(unit, ROOT, "root", password=PASSWORD, role=Role.ADMIN))
    store.write_sync(lambda unit: users.change(unit, ROOT, asha, disabled=True))
    assert store.read_sync(lambda conn: sessions.find(conn, signed_in.secret, store.clock())) is None
    with pytest.raises(LogInRefused):
        await sessions.log_in(store, asha, PASSWORD)


def test_the_last_admin_stays(store: Store) -> None:
    store.write_sync(lambda unit: users.add(unit, ROOT, "root", password=PASSWORD, role=Role.ADMIN))
    with pytest.raises(Conflict, match="last admin"):
        store.write_sync(lambda unit: users.change(unit, ROOT, "root", disabled=True))
    with pytest.raises(Conflict, match="last admin"):
        store.write_sync(lambda unit: users.change(unit, ROOT, "root", role=Role.OPERATOR))


def test_the_set_up_token_makes_the_first_admin_once(store: Store, clock) -> None:
    assert not store.read_sync(users.has_admin)
    token = store.write_sync(links.make_setup_token)
    with pytest.raises(Invalid):
        store.write_sync(lambda unit: links.redeem_setup(unit, token, "root", "short"))
    made = store.write_sync(lambda unit: links.redeem_setup(unit, token, "root", PASSWORD))
    assert made.role is Role.ADMIN
    with pytest.raises(LogInRefused, match="used or expired"):
        store.write_sync(lambda unit: links.redeem_setup(unit, token, "second", PASSWORD))
    with pytest.raises(Conflict, match="admin already"):
        store.write_sync(links.make_setup_token)


def test_a_new_set_up_token_voids_the_one_before_and_all_expire(store: Store, clock) -> None:
    first, second = store.write_sync(links.make_setup_token), store.write_sync(links.make_setup_token)
    with pytest.raises(LogInRefused):
        store.write_sync(lambda unit: links.redeem_setup(unit, first, "root", PASSWORD))
    clock.pass_(days=8)
    with pytest.raises(LogInRefused):
        store.write_sync(lambda unit: links.redeem_setup(unit, second, "root", PASSWORD))


def test_a_log_in_link_signs_in_once_and_is_no_set_up_token(store: Store, asha: str) -> None:
    token = store.write_sync(lambda unit: links.make_login_link(unit, asha))
    with pytest.raises(LogInRefused):
        store.write_sync(lambda unit: links.redeem_setup(unit, token, "root", PASSWORD))
    signed_in = store.write_sync(lambda unit: links.redeem_login(unit, token))
    assert signed_in.user == asha
    with pytest.raises(LogInRefused):
        store.write_sync(lambda unit: links.redeem_login(unit, token))
