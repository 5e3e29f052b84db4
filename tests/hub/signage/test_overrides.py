"""Overrides: epochs, leases, confirmations, ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import uploads
from prahari_hub.signage import overrides, tables
from prahari_wire.display import (
    DisplayClass,
    ImageContent,
    OverrideOutcome,
    OverrideState,
    Shown,
    ShownSource,
    TextContent,
)


def state(epoch: int, outcome: str = "applied", **more: Any) -> OverrideState:
    return OverrideState(epoch=epoch, outcome=OverrideOutcome(outcome), **more)


def shown(source: str, item: str | None = None, **more: Any) -> Shown:
    cls = 6 if source == "override" else 1
    return Shown(source=ShownSource(source), item=item, cls=cls, epoch=1, frame_sha256="f" * 64, **more)


def test_the_whole_set_goes_out_with_the_next_epoch(signs: Any) -> None:
    first = signs.create()
    (message,) = signs.due()
    assert (message.display, message.epoch, [o.id for o in message.overrides]) == ("sign1", 1, [first])
    second = signs.create("SLOW", cls=DisplayClass.TRAFFIC)
    (message,) = signs.due()
    assert (message.epoch, [o.id for o in message.overrides]) == (2, [first, second])
    signs.cancel(first)
    (message,) = signs.due()
    assert (message.epoch, [o.id for o in message.overrides]) == (3, [second])


def test_a_set_is_sent_again_with_backoff_until_its_epoch_is_confirmed(signs: Any) -> None:
    made = signs.create()
    assert len(signs.due()) == 1
    assert signs.due() == []
    signs.pass_s(2)
    assert len(signs.due()) == 1
    signs.say("override.state", state(1, active=[made]))
    signs.pass_s(60)
    assert signs.due() == []
    assert signs.display().confirmed


def test_a_confirmation_of_an_older_epoch_does_not_end_the_repetition(signs: Any) -> None:
    signs.create()
    signs.due()
    signs.create()
    signs.due()
    signs.say("override.state", state(1))
    signs.pass_s(2)
    assert len(signs.due()) == 1
    assert not signs.display().confirmed


def test_the_refusal_of_a_message_is_kept_with_its_reason(signs: Any) -> None:
    made = signs.create("x " * 200)
    signs.due()
    signs.say("override.state", state(1, refused={made: "it does not fit"}))
    assert signs.display().refused == {made: "it does not fit"}


def test_a_set_that_was_refused_as_a_whole_is_not_confirmed_and_goes_out_again(signs: Any) -> None:
    made = signs.create()
    signs.due()
    signs.say("override.state", state(1, active=[made]))
    signs.cancel(made)
    signs.due()
    full = "The display cannot store it (No space left on device): free space on its disk."
    signs.say("override.state", state(2, "refused", detail=full))
    assert (signs.display().confirmed, signs.display().outcome, signs.display().detail) == (
        False,
        "refused",
        full,
    )
    signs.pass_s(2)
    assert [message.epoch for message in signs.due()] == [2]
    signs.say("override.state", state(2))
    assert signs.display().confirmed
    signs.pass_s(60)
    assert signs.due() == []


def test_a_set_of_which_nothing_could_be_stored_is_not_confirmed(signs: Any) -> None:
    made = signs.create()
    signs.due()
    signs.say("override.state", state(1, "refused", refused={made: "disk full"}, detail="disk full"))
    assert not signs.display().confirmed


def test_a_lease_is_renewed_long_before_it_runs_out_and_each_renewal_takes_an_epoch(signs: Any) -> None:
    made = signs.create(lease_s=60)
    signs.due()
    signs.say("override.state", state(1, active=[made]))
    signs.pass_s(19)
    assert signs.renew() == 0
    signs.pass_s(1)
    assert signs.renew() == 1
    (message,) = signs.due()
    assert (message.epoch, message.overrides[0].id) == (2, made)
    assert signs.renew() == 0


def test_the_shortest_lease_decides(signs: Any) -> None:
    signs.create(lease_s=600)
    signs.create(lease_s=15)
    signs.pass_s(5)
    assert signs.renew() == 1


def test_an_expired_override_leaves_the_set_once(signs: Any) -> None:
    made = signs.create(minutes=1)
    signs.due()
    signs.say("override.state", state(1, active=[made]))
    signs.pass_s(60)
    assert signs.expire() == 1
    assert signs.expire() == 0
    (message,) = signs.due()
    assert (message.epoch, message.overrides) == (2, [])
    with pytest.raises(Conflict, match="ended already"):
        signs.cancel(made)


def test_a_birth_gives_what_is_in_force_a_new_epoch_so_that_its_lease_begins_again(signs: Any) -> None:
    signs.birth()
    assert signs.due() == []
    made = signs.create()
    signs.due()
    signs.say("override.state", state(1, active=[made]))
    signs.birth()
    (message,) = signs.due()
    assert (message.epoch, [o.id for o in message.overrides]) == (2, [made])


def test_a_birth_after_everything_ended_and_was_confirmed_sends_nothing(signs: Any) -> None:
    signs.cancel(signs.create())
    signs.due()
    signs.say("override.state", state(2))
    signs.birth()
    assert signs.due() == []


def test_a_display_whose_lease_ran_out_gets_what_is_in_force_anew(signs: Any) -> None:
    made = signs.create()
    signs.due()
    signs.say("override.state", state(1, active=[made]))
    signs.say("override.state", state(1, "ended", detail="expired by its own clock"))
    assert signs.due() == [], "no ping-pong with a clock that runs ahead"
    signs.pass_s(100)
    signs.say("override.state", state(1, "ended", detail="lease"))
    (message,) = signs.due()
    assert (message.epoch, [o.id for o in message.overrides]) == (2, [made])


def test_a_display_with_a_higher_epoch_than_the_hub_gets_one_that_is_higher_still(signs: Any) -> None:
    signs.create()
    signs.due()
    signs.say("override.state", state(41, "refused", detail="not higher"))
    (message,) = signs.due()
    assert message.epoch == 42


def test_an_epoch_that_no_hub_ever_gave_out_is_ignored_and_holds_up_nobody(signs: Any) -> None:
    signs.create()
    signs.due()
    signs.say("override.state", state(9007199254740991))
    assert (signs.display().epoch, signs.display().confirmed) == (1, False)
    signs.create()
    assert [message.epoch for message in signs.due()] == [2]


def test_a_set_that_cannot_be_sent_is_put_off_and_logged_and_the_others_go_out(signs: Any) -> None:
    signs.create()
    signs.store.write_sync(lambda unit: unit.conn.execute(tables.displays.update().values(epoch=2**53)))
    assert signs.due() == []
    signs.pass_s(60)
    assert signs.due() == []
    signs.store.write_sync(lambda unit: unit.conn.execute(tables.displays.update().values(epoch=7)))
    signs.pass_s(600)
    assert [message.epoch for message in signs.due()] == [7]


@pytest.mark.parametrize("peripheral", ["box1", "sign9"])
def test_what_a_device_says_of_a_display_that_it_has_not_leaves_no_trace(signs: Any, peripheral: str) -> None:
    signs.say("override.state", state(5), peripheral=peripheral)
    signs.say("display.shown", shown("playlist", "slow"), peripheral=peripheral)
    assert signs.store.read_sync(lambda conn: conn.execute(tables.displays.select()).all()) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"reason": "  "}, Invalid, id="no reason"),
        pytest.param({"minutes": 0}, Invalid, id="ends now"),
        pytest.param({"minutes": 31 * 24 * 60}, Invalid, id="ends too late"),
        pytest.param({"lease_s": 2}, Invalid, id="lease too short"),
        pytest.param({"priority": 9}, Invalid, id="priority"),
        pytest.param({"content": ImageContent(sha256="a" * 64, size=5)}, Invalid, id="picture not there"),
    ],
)
def test_what_no_display_could_be_told_is_refused_and_changes_nothing(
    signs: Any, change: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        signs.create(**change)
    assert signs.due() == []


def test_only_displays_can_be_overridden(signs: Any) -> None:
    wanted = overrides.Wanted(
        DisplayClass.TRAFFIC, 1, TextContent(text="x"), "test", signs.now + timedelta(minutes=1)
    )
    for display in (("pune-vms-01", "box1"), ("pune-vms-01", "sign9"), ("nowhere-01", "sign1")):
        with pytest.raises(NotFound):
            signs.store.write_sync(lambda unit, d=display: overrides.create(unit, None, d, wanted))


def test_sixteen_overrides_are_enough(signs: Any) -> None:
    for _ in range(16):
        signs.create()
    with pytest.raises(Conflict, match="16"):
        signs.create()
    assert len(signs.due()[0].overrides) == 16


def test_a_picture_may_be_fetched_while_its_override_stands(signs: Any) -> None:
    sha256 = "a" * 64
    signs.store.write_sync(lambda unit: uploads.bring(unit, sha256, 5, by="asha"))
    signs.create(content=ImageContent(sha256=sha256, size=5), minutes=1)

    def may(device: str) -> bool:
        return bool(signs.store.read_sync(lambda conn: uploads.may_fetch(conn, device, sha256, signs.now)))

    assert may("pune-vms-01")
    assert not may("pune-cam-01")
    signs.pass_s(60)
    assert not may("pune-vms-01")


def test_what_a_display_reports_is_set_beside_what_it_should_show(signs: Any) -> None:
    assert signs.display().shown is None
    assert signs.display().agrees is None
    signs.say("display.shown", shown("playlist", "slow", text="DRIVE SLOWLY"))
    assert (signs.display().shown.item, signs.display().agrees) == ("slow", True)
    made = signs.create()
    assert signs.display().agrees, "it has some seconds to follow"
    signs.pass_s(30)
    assert signs.display().agrees is False
    signs.say("display.shown", shown("override", made))
    assert signs.display().agrees is True
    assert signs.display().should.id == made


def test_a_late_report_does_not_replace_a_newer_one(signs: Any) -> None:
    signs.say("display.shown", shown("playlist", "slow"))
    signs.say("display.shown", shown("playlist", "belt"), late=True, at=signs.now - timedelta(hours=1))
    assert signs.display().shown.item == "slow"


def test_a_display_is_found_by_its_device_where_that_serves_one(signs: Any) -> None:
    from prahari_hub.signage import displays

    found = signs.store.read_sync(lambda conn: displays.get(conn, "pune-vms-01", signs.now))
    assert found.id == "pune-vms-01:sign1"
    with pytest.raises(NotFound):
        signs.store.read_sync(lambda conn: displays.get(conn, "pune-vms-01:nope", signs.now))
    listed = signs.store.read_sync(lambda conn: displays.list_displays(conn, signs.now))
    assert [item.id for item in listed] == ["pune-vms-01:sign1"]
    after = ("pune-vms-01", "sign1")
    assert signs.store.read_sync(lambda conn: displays.list_displays(conn, signs.now, after=after)) == []
