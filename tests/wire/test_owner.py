"""What an owner's terms allow, as a function of the terms and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_wire.owner import SENTENCES, Consent, Denied, Owner, Use, denied, denied_in, off
from prahari_wire.rules import Day, Hours

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
NIGHT = Hours(start="22:00", end="06:00", days=[Day.MONDAY])


def owner(**more: Any) -> Owner:
    return Owner(name="Joshi Jewellers", contact="+91 20 5550 1234", **more)


@pytest.mark.parametrize(
    ("terms", "at", "why"),
    [
        pytest.param({}, MONDAY, None, id="always"),
        pytest.param({"hours": [Hours(start="09:00", end="21:00")]}, MONDAY, None, id="within-hours"),
        pytest.param({"hours": [Hours(start="13:00", end="21:00")]}, MONDAY, Denied.HOURS, id="before-hours"),
        pytest.param({"hours": [NIGHT]}, MONDAY.replace(hour=23), None, id="evening"),
        pytest.param({"hours": [NIGHT]}, MONDAY.replace(hour=5) + timedelta(days=1), None, id="next-morning"),
        pytest.param({"hours": [NIGHT]}, MONDAY.replace(hour=5), Denied.HOURS, id="morning-of-sunday"),
        pytest.param({"until": MONDAY + timedelta(seconds=1)}, MONDAY, None, id="before-the-end"),
        pytest.param({"until": MONDAY}, MONDAY, Denied.ENDED, id="at-the-end"),
        pytest.param({"withdrawn_at": MONDAY + timedelta(days=9)}, MONDAY, Denied.WITHDRAWN, id="withdrawn"),
    ],
)
def test_a_camera_is_off_when_its_owner_says_so(
    terms: dict[str, Any], at: datetime, why: Denied | None
) -> None:
    assert off(owner(**terms), at, at) is why


@pytest.mark.parametrize(
    ("terms", "use", "why"),
    [
        pytest.param({}, Use.FOOTAGE, Denied.EVENTS_ONLY, id="events-only"),
        pytest.param({"consent": Consent.FOOTAGE}, Use.FOOTAGE, None, id="footage"),
        pytest.param(
            {"consent": Consent.FOOTAGE, "hours": [Hours(start="01:00", end="02:00")]},
            Use.FOOTAGE, None, id="footage-at-any-hour",
        ),
        pytest.param({"consent": Consent.FOOTAGE, "until": MONDAY}, Use.FOOTAGE, Denied.ENDED, id="ended"),
        pytest.param({}, Use.PICTURE, None, id="picture"),
        pytest.param({"pictures": False, "live": True}, Use.LIVE, Denied.NO_PICTURES, id="no-pictures"),
        pytest.param({}, Use.LIVE, Denied.NO_LIVE, id="no-live"),
        pytest.param({"live": True}, Use.LIVE, None, id="live"),
        pytest.param({"live": True, "withdrawn_at": MONDAY}, Use.LIVE, Denied.WITHDRAWN, id="withdrawn"),
    ],
)  # fmt: skip
def test_a_use_is_allowed_as_far_as_the_owner_consents(
    terms: dict[str, Any], use: Use, why: Denied | None
) -> None:
    assert denied(owner(**terms), use, MONDAY) is why
    assert denied(None, use, MONDAY) is None


def test_what_a_box_says_of_a_refusal_is_understood_by_the_hub() -> None:
    for why, sentence in SENTENCES.items():
        assert len(sentence) <= 120
        assert denied_in(sentence) is why
    assert denied_in("the disk is full") is None
    assert denied_in(None) is None
