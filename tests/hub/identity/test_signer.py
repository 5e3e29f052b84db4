"""What the hub signs, a device can check; nothing else passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from prahari_hub.identity.signer import forget, open_signer, roll_over, verify
from prahari_wire.command import Command, CommandName
from prahari_wire.twin import Desired, TwinDown

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)


def command() -> Command:
    return Command(
        id="0" * 26, name=CommandName.RESTART, issued_at=NOW, expires_at=NOW + timedelta(minutes=1)
    )


def test_a_signature_holds_for_this_device_and_this_content_alone(tmp_path: Path) -> None:
    signer = open_signer(tmp_path)
    signed = signer.sign("pune-cam-01", command())
    public = signer.public_keys[signed.key]
    verify(public, "pune-cam-01", Command.model_validate_json(signed.model_dump_json()))
    longer = signed.model_copy(update={"expires_at": NOW + timedelta(days=1)})
    for device, message in (("pune-cam-02", signed), ("pune-cam-01", longer)):
        with pytest.raises(InvalidSignature):
            verify(public, device, message)


def test_a_twins_signature_holds_without_its_document(tmp_path: Path) -> None:
    signer = open_signer(tmp_path)
    signed = signer.sign("pune-cam-01", TwinDown(id="0" * 26, version=1, sha256="0" * 64, document=Desired()))
    verify(signer.public_keys[signed.key], "pune-cam-01", signed.model_copy(update={"document": None}))


def test_after_a_roll_over_old_keys_are_believed_until_forgotten(tmp_path: Path) -> None:
    first = open_signer(tmp_path)
    old = first.sign("pune-cam-01", command())
    roll_over(tmp_path)
    second = open_signer(tmp_path)
    assert second.current != first.current
    assert second.published()["current"] == second.current
    verify(second.public_keys[old.key], "pune-cam-01", old)
    with pytest.raises(ValueError, match="roll over first"):
        forget(tmp_path, second.current)
    forget(tmp_path, first.current)
    assert set(open_signer(tmp_path).public_keys) == {second.current}
    assert (tmp_path / "signing" / "current.key").stat().st_mode & 0o777 == 0o600
