"""GET /live over a real connection: hello, changes, and who may listen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prahari_hub.access import tables
from prahari_hub.http import stream
from prahari_hub.http.actor import Role


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    event = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))


def test_a_stream_begins_with_where_the_feed_stands(console: Any) -> None:
    with (
        console.client(Role.OPERATOR) as client,
        client.stream("GET", "/live", params={"topics": "incidents,nonsense"}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        event, data = next(events(answer))
    assert event == "hello"
    assert data["n"].keys() == {"incidents"}


def test_nobody_listens_without_a_session_or_token(console: Any) -> None:
    with console.client() as client:
        assert client.get("/live").status_code == 401
        assert client.get("/live/ping").status_code == 401
    with console.client(Role.AUDITOR) as client:
        assert client.get("/live/ping").status_code == 204


def test_the_feed_is_for_those_who_may_read_the_console(console: Any) -> None:
    with console.client(Role.ADVERTISER) as client:
        assert client.get("/live", params={"topics": "incidents"}).status_code == 403
    for role in (Role.ADMIN, Role.TECHNICIAN, Role.AUDITOR):
        with console.client(role) as client, client.stream("GET", "/live") as answer:
            assert answer.status_code == 200


def test_an_open_stream_ends_when_its_user_may_no_longer_read(
    console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BEAT_S", 0.1)
    monkeypatch.setattr(stream, "CHECK_S", 0.0)
    name = f"the-{Role.TECHNICIAN}"
    client, _ = console.sign_in(name)
    change = sa.update(tables.users).where(tables.users.c.name == name)
    with client, client.stream("GET", "/live") as answer:
        heard = events(answer)
        assert next(heard)[0] == "hello"
        console.store.write_sync(lambda unit: unit.conn.execute(change.values(role=str(Role.ADVERTISER))))
        try:
            assert "signed-out" in [event for event, _ in heard]
        finally:
            console.store.write_sync(lambda unit: unit.conn.execute(change.values(role=str(Role.TECHNICIAN))))


def test_hashed_files_are_kept_for_good_and_others_are_asked_for_again(console: Any) -> None:
    from prahari_hub.http.templates import asset

    with console.client() as client:
        assert "immutable" in client.get(asset("style.css")).headers["cache-control"]
        assert client.get("/static/prahari.svg").headers["cache-control"] == "no-cache"
        assert client.get("/static/dist/no-such.js").status_code == 404
