"""plan(): what a display shows is a function of its configuration, the time and the overrides in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_wire.display import DisplayConfig, Override, PlaylistItem, ShownSource, TextContent
from prahari_wire.ids import ulid
from prahari_wire.playback import plan, position, top_override

T0 = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
PLAYLISTS = st.lists(st.floats(min_value=1, max_value=3600), min_size=1, max_size=8).map(
    lambda lengths: [
        PlaylistItem(id=f"i{n}", duration_s=length, content=TextContent(text=f"text {n}"))
        for n, length in enumerate(lengths)
    ]
)


def override(cls: int = 5, priority: int = 2, *, issued_at: datetime = T0, id: str | None = None) -> Override:
    return Override(
        id=id or ulid(),
        cls=cls,  # type: ignore[arg-type]
        priority=priority,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(hours=1),
        lease_s=60,
        content=TextContent(text="ROAD CLOSED"),
    )


OVERRIDES = st.lists(
    st.builds(
        override,
        st.integers(4, 7),
        st.integers(1, 4),
        issued_at=st.integers(0, 3).map(lambda minutes: T0 + timedelta(minutes=minutes)),
    ),
    min_size=1,
    max_size=6,
)


def test_an_empty_display_shows_its_safe_content():
    item = plan(DisplayConfig(), T0, [])
    assert (item.source, item.content, item.until_s) == (ShownSource.SAFE, DisplayConfig().safe, None)


@given(playlist=PLAYLISTS, at=TIMES)
def test_the_playlist_position_is_a_function_of_the_time(playlist: list[PlaylistItem], at: datetime):
    item = plan(DisplayConfig(playlist=playlist), at, [])
    assert item.source is ShownSource.PLAYLIST
    assert item.until_s is not None
    assert 0 < item.until_s <= max(entry.duration_s for entry in playlist)
    assert item == plan(DisplayConfig(playlist=list(playlist)), at, [])


@given(playlist=PLAYLISTS, at=TIMES)
def test_asked_again_when_it_ends_the_next_item_shows(playlist: list[PlaylistItem], at: datetime):
    now, left_s = position(playlist, at)
    after, _ = position(playlist, at + timedelta(seconds=left_s + 0.01))
    index = playlist.index(now)
    assert after in {playlist[(index + 1) % len(playlist)].id: playlist[(index + 1) % len(playlist)]}.values()


@given(overrides=OVERRIDES, playlist=PLAYLISTS)
def test_an_override_shows_instead_of_the_playlist_whatever_the_order_of_the_set(
    overrides: list[Override], playlist: list[PlaylistItem]
):
    shown = plan(DisplayConfig(playlist=playlist), T0, overrides)
    assert shown.source is ShownSource.OVERRIDE
    assert shown == plan(DisplayConfig(playlist=playlist), T0, list(reversed(overrides)))
    assert shown.cls == max(one.cls for one in overrides)


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(override(6, 1), override(5, 4), id="class-before-priority"),
        pytest.param(override(5, 3), override(5, 2, issued_at=T0 + timedelta(1)), id="priority-before-age"),
        pytest.param(override(issued_at=T0 + timedelta(seconds=1)), override(), id="the-newest"),
        pytest.param(override(id="0" * 25 + "2"), override(id="0" * 25 + "1"), id="the-highest-id"),
    ],
)
def test_the_ladder_of_overrides(winner: Override, loser: Override):
    assert top_override([loser, winner]) is winner
    assert top_override([winner, loser]) is winner
