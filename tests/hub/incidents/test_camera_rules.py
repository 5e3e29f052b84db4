"""Rules of a camera become incidents: one a rule, as grave as the twin says."""

from __future__ import annotations

from typing import Any

import pytest
from prahari_hub.fleet import uploads
from prahari_hub.fleet.tables import twins
from prahari_hub.incidents import actions, queries
from prahari_hub.incidents.queries import Filter, Incident
from prahari_hub.store import Store
from prahari_wire.base import Severity
from prahari_wire.camera import CameraConfig
from prahari_wire.events import RULE
from prahari_wire.ids import ulid
from prahari_wire.rules import Crossed, OccupancyCounter
from prahari_wire.twin import Desired

SQUARE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]
RULES = [
    OccupancyCounter(id="crowd", name="Bus stop", region=SQUARE, most=5, severity=Severity.MAJOR),
    Crossed(id="gate", name="Gate", line=[(0.0, 0.5), (1.0, 0.5)], severity=Severity.CRITICAL),
]
CONFIG = Desired(peripherals={"cam1": CameraConfig(source="/clip.mp4", rules=RULES)})


@pytest.fixture(autouse=True)
def _twin(store: Store) -> None:
    document = CONFIG.model_dump(mode="json", by_alias=True)
    change = twins.update().where(twins.c.device_id == "pune-cam-01").values(document=document)
    store.write_sync(lambda unit: unit.conn.execute(change))


@pytest.fixture
def say(field: Any, clock: Any) -> Any:
    def say(event: str, phase: str, rule: str = "gate", **more: Any) -> None:
        at = clock.now.isoformat()
        body = {
            "phase": phase,
            "event": event,
            "rule": rule,
            "type": "Crossed",
            "label": "person",
            "score": 0.9,
        }
        late = more.pop("late", False)
        field.event(
            "pune-cam-01", "cam1", RULE, late=late, **(body | {"started_at": at, "seen_at": at} | more)
        )

    return say


def listed(store: Store, **wanted) -> list[Incident]:
    return store.read_sync(lambda conn: queries.page(conn, Filter(**wanted))).items


def test_a_rule_raises_one_incident_as_grave_as_the_twin_says(store: Store, say: Any) -> None:
    first, second = ulid(), ulid()
    say(first, "started", snapshot={"sha256": "a" * 64, "size": 100}, direction="to_left")
    say(second, "started")
    (found,) = listed(store)
    assert (found.severity, found.title, found.count) == (Severity.CRITICAL, "Person: Gate", 2)
    assert found.snapshot == "a" * 64
    say(first, "ended")
    assert listed(store)[0].active
    say(second, "ended")
    (found,) = listed(store)
    assert found.open and not found.active


def test_a_crowd_says_how_many_and_follows_the_number(store: Store, say: Any) -> None:
    crowd = ulid()
    say(crowd, "started", "crowd", count=6)
    assert listed(store)[0].title == "6 at once: Bus stop"
    say(crowd, "updated", "crowd", count=9)
    (found,) = listed(store)
    assert (found.title, found.severity, found.count) == ("9 at once: Bus stop", Severity.MAJOR, 1)
    say(crowd, "ended", "crowd", count=1)
    assert not listed(store)[0].active


@pytest.mark.parametrize("more", [{"late": True}, {"rule": "no-such-rule"}], ids=["late", "not in the twin"])
def test_what_came_late_or_of_a_rule_that_is_gone_raises_nothing(
    store: Store, say: Any, more: dict[str, Any]
) -> None:
    say(ulid(), "started", **more)
    assert listed(store) == []


def test_a_case_of_an_incident_that_was_resolved_opens_no_other(store: Store, say: Any, do: Any) -> None:
    case = ulid()
    say(case, "started", "crowd")
    do(actions.resolve, listed(store)[0].id)
    say(case, "updated", "crowd")
    say(case, "ended", "crowd")
    assert listed(store) == []
    say(ulid(), "started")
    assert len(listed(store)) == 1


def test_the_picture_of_a_rule_may_be_uploaded() -> None:
    from prahari_wire.events import parse_body

    at = "2026-11-21T10:00:00Z"
    snapshot = {"sha256": "b" * 64, "size": 70}
    body = {
        "phase": "started",
        "event": ulid(),
        "rule": "gate",
        "type": "Crossed",
        "label": "person",
        "score": 1.0,
    }
    message = parse_body(RULE, {**body, "started_at": at, "seen_at": at, "snapshot": snapshot})
    assert list(uploads.named_files(message)) == [("b" * 64, 70)]
