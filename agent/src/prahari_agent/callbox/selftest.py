"""The periodic self-test of a call box: the lines of lamp and button."""

from __future__ import annotations

from prahari_wire.callbox import SelfTest


def result(*, lamp_works: bool, button_stuck: bool) -> SelfTest:
    """The verdict; ``detail`` tells a person on a ladder where to look."""
    findings = []
    if not lamp_works:
        findings.append("the lamp's line does not follow: check its wiring")
    if button_stuck:
        findings.append("the button is held down: check that it springs back")
    return SelfTest(
        passed=not findings, lamp=lamp_works, button=not button_stuck, detail="; ".join(findings) or None
    )
