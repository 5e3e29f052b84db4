"""The presence machine, by example in ingest's tests and here by property."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.fleet.presence import Limits, Link, Presence, Session

LIMITS = Limits(45, 90)
SESSIONS = st.builds(Session, st.sampled_from("abc"), st.integers(1, 3))
WORDS = st.tuples(
    st.sampled_from(["born", "heard", "died", "sweep", "blind", "sight"]), SESSIONS, st.floats(0, 120)
)


class World:
    """A link, the hub's sight of the broker and a clock, driven by words."""

    def __init__(self) -> None:
        self.link = Link()
        self.now_s = 1000.0
        self.sighted_s: float | None = 1000.0
        self.steps: list[Any] = []

    def act(self, word: str, session: Session, wait_s: float) -> list[Any]:
        self.now_s += wait_s
        match word:
            case "born":
                steps = self.link.born(session, self.now_s)
            case "heard":
                steps = self.link.heard(session, self.now_s)
            case "died":
                steps = self.link.died(session, "lost")
            case "blind":
                self.sighted_s, steps = None, self.link.blinded()
            case "sight":
                self.sighted_s, steps = self.now_s if self.sighted_s is None else self.sighted_s, []
            case _:
                steps = self.link.swept(self.now_s, sighted_s=self.sighted_s, limits=LIMITS)
        self.steps += steps
        return list(steps)


@given(st.lists(WORDS, max_size=40))
def test_transitions_form_a_chain_and_end_in_the_present_state(words: list[Any]) -> None:
    world = World()
    for word in words:
        world.act(*word)
    chain = [step for step in world.steps if step.kind == "presence"]
    state = "unknown"
    for step in chain:
        assert step.before == state != step.after
        state = step.after
    assert state == world.link.state


@given(st.lists(WORDS, max_size=40))
def test_offline_needs_a_whole_grace_of_silence_in_sight_of_the_broker(words: list[Any]) -> None:
    world = World()
    heard_s = float("-inf")
    for word in words:
        before = world.link.heard_s
        steps = world.act(*word)
        if world.link.heard_s != before:
            heard_s = world.now_s
        for step in steps:
            if step.after == "offline":
                assert world.sighted_s is not None
                assert world.now_s - max(heard_s, world.sighted_s) >= LIMITS.offline_s


@given(st.lists(WORDS, max_size=40))
def test_blindness_never_leaves_anything_but_unknown(words: list[Any]) -> None:
    world = World()
    for word in words:
        world.act(*word)
    world.act("blind", Session("a", 1), 0)
    world.act("sweep", Session("a", 1), 500)
    assert world.link.state is Presence.UNKNOWN


@given(st.lists(WORDS, max_size=40), SESSIONS)
def test_a_death_of_another_session_changes_nothing(words: list[Any], session: Session) -> None:
    world = World()
    for word in words:
        world.act(*word)
    if session != world.link.session:
        state = world.link.state
        assert world.link.died(session, "lost") == []
        assert world.link.state is state


@given(st.lists(WORDS, max_size=40))
def test_connections_of_one_boot_never_go_back(words: list[Any]) -> None:
    world = World()
    for word in words:
        before = world.link.session
        world.act(*word)
        after = world.link.session
        if before and after and before.boot == after.boot:
            assert after.conn >= before.conn


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_reboots_alone_never_look_like_a_clone(conns: list[int]) -> None:
    link = Link()
    for number, conn in enumerate(conns):
        for counted in range(1, conn + 1):
            assert all(step.kind == "presence" for step in link.born(Session(f"boot-{number}", counted), 1.0))


def test_a_clone_alarm_ends_after_an_hour_of_quiet() -> None:
    link = Link()
    for boot in ("a", "b", "a"):
        link.born(Session(boot, 1), 0.0)
    steps = link.swept(3600.0, sighted_s=0.0, limits=LIMITS)
    assert ("clone", "single") in [(step.before, step.after) for step in steps]


def test_limits_grow_with_a_slower_heartbeat_and_never_shrink() -> None:
    assert LIMITS.for_heartbeat(300) == Limits(450, 900, 300)
    assert LIMITS.for_heartbeat(1) == LIMITS
    assert Limits(3, 6, 2).for_heartbeat(None) == Limits(45, 90, 30)
