"""From transitions to seconds: what counts as what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.fleet.availability.calculus import Around, Past, Share, Step, share

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = (DAY, DAY + timedelta(days=1))
LONG_AGO = DAY - timedelta(days=100)
H = 3600


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def steps(*path: tuple[float, str], before: str = "online") -> list[Step]:
    found = []
    for hours, after in path:
        found.append(Step(at(hours), before, after))
        before = after
    return found


def past(*path: tuple[float, str], before: str = "online", **more: object) -> Past:
    found = steps(*path, before=before)
    known = {"presence_now": found[-1].after if found else before, "service_now": "active"}
    return Past(**(known | {"counted_from": LONG_AGO, "presence": found} | more))  # type: ignore[arg-type]


NOTHING = Around()


@pytest.mark.parametrize(
    ("given_", "around", "expected"),
    [
        pytest.param(past(), NOTHING, Share(up_s=24 * H), id="online all day"),
        pytest.param(past(before="offline"), NOTHING, Share(down_s=24 * H), id="offline all day"),
        pytest.param(
            past((6, "offline"), (9, "online")), NOTHING, Share(21 * H, 3 * H), id="three hours down"
        ),
        pytest.param(past((-5, "offline")), NOTHING, Share(down_s=24 * H), id="a step before the day counts"),
        pytest.param(past((30, "offline")), NOTHING, Share(up_s=24 * H), id="a step after the day does not"),
        pytest.param(
            past((6, "suspect"), (7, "offline"), (9, "online")),
            NOTHING,
            Share(21 * H, 3 * H),
            id="suspected rightly",
        ),
        pytest.param(
            past((6, "suspect"), (7, "online")), NOTHING, Share(up_s=24 * H), id="suspected wrongly"
        ),
        pytest.param(
            past((6, "suspect"), (7, "unknown"), (8, "online")),
            NOTHING,
            Share(22 * H, 0, 2 * H),
            id="blind over it",
        ),
        pytest.param(
            past((23, "suspect"), (25, "offline")),
            NOTHING,
            Share(23 * H, 1 * H),
            id="judged by the day after",
        ),
        pytest.param(past((23, "suspect")), NOTHING, Share(up_s=24 * H), id="suspected now: no verdict yet"),
        pytest.param(
            past((26, "offline"), before="suspect"),
            NOTHING,
            Share(down_s=24 * H),
            id="suspected since yesterday",
        ),
        pytest.param(
            past(), Around(blind=[(at(1), at(2))]), Share(23 * H, 0, 1 * H), id="blind while online"
        ),
        pytest.param(
            past(before="offline"),
            Around(blind=[(at(1), at(2))]),
            Share(0, 23 * H, 1 * H),
            id="blind while offline",
        ),
        pytest.param(
            past((6, "offline"), (9, "online")),
            Around(planned=[(at(5), at(8))]),
            Share(21 * H, 1 * H, 0, 2 * H),
            id="a planned cut excuses silence while it lasts",
        ),
        pytest.param(
            past(), Around(planned=[(at(5), at(8))]), Share(up_s=24 * H), id="up through a planned cut"
        ),
        pytest.param(
            past(),
            Around(blind=[(at(5), at(8))], planned=[(at(6), at(7))]),
            Share(21 * H, 0, 2 * H, 1 * H),
            id="planned before unknown",
        ),
        pytest.param(
            past((6, "offline"), (9, "online")),
            Around(maintenance=[(at(5), at(10)), (at(6), at(7))], planned=[(at(5), at(8))]),
            Share(19 * H, 0, 0, 0, 5 * H),
            id="maintenance before all",
        ),
        pytest.param(
            past(service=steps((4, "maintenance"), (6, "active"), before="active")),
            NOTHING,
            Share(22 * H, 0, 0, 0, 2 * H),
            id="in maintenance by hand",
        ),
        pytest.param(
            past(service=steps((4, "retired"), before="active"), service_now="retired"),
            NOTHING,
            Share(up_s=4 * H),
            id="retired",
        ),
        pytest.param(past(counted_from=at(20)), NOTHING, Share(up_s=4 * H), id="new today"),
        pytest.param(past(counted_from=None, before="unknown"), NOTHING, Share(), id="never seen"),
    ],
)
def test_a_day_is_counted(given_: Past, around: Around, expected: Share) -> None:
    assert share(SPAN, given_, around) == expected


times = st.integers(-30 * H, 60 * H).map(
    lambda second: DAY + timedelta(seconds=second, microseconds=second % 997)
)
spans = st.lists(st.tuples(times, times), max_size=4)


@st.composite
def walks(draw: st.DrawFn, states: tuple[str, ...]) -> tuple[list[Step], str]:
    moments = sorted(draw(st.lists(times, max_size=8)))
    path = [draw(st.sampled_from(states)) for _ in range(len(moments) + 1)]
    return [Step(moment, path[n], path[n + 1]) for n, moment in enumerate(moments)], path[-1]


@given(
    walks(("online", "suspect", "offline", "unknown")),
    walks(("active", "maintenance")),
    spans,
    spans,
    spans,
)
def test_the_kinds_of_a_day_sum_to_the_whole_day(
    presence: tuple[list[Step], str],
    service: tuple[list[Step], str],
    blind: list[tuple[datetime, datetime]],
    planned: list[tuple[datetime, datetime]],
    maintenance: list[tuple[datetime, datetime]],
) -> None:
    given_ = Past(presence[1], service[1], LONG_AGO, presence[0], service[0])
    found = share(SPAN, given_, Around(blind, planned, maintenance))
    assert found.counted_s == 86_400
    assert min(found) >= 0


@given(walks(("online", "suspect", "offline", "unknown")), spans, spans, times)
def test_two_halves_of_a_day_sum_to_the_day(
    presence: tuple[list[Step], str],
    blind: list[tuple[datetime, datetime]],
    planned: list[tuple[datetime, datetime]],
    cut: datetime,
) -> None:
    noon = max(DAY, min(cut, SPAN[1])).replace(microsecond=0)
    around = Around(blind, planned)

    def of(begin: datetime, end: datetime) -> Share:
        kept = [step for step in presence[0] if step.at >= begin]
        return share((begin, end), Past(presence[1], "active", LONG_AGO, kept), around)

    assert of(DAY, noon).plus(of(noon, SPAN[1])) == of(*SPAN)


def test_no_availability_is_claimed_where_nothing_was_seen() -> None:
    assert Share(unknown_s=86_400).ratio is None
    assert Share(up_s=3, down_s=1, unknown_s=100).ratio == 0.75
