"""Arguments of those commands whose model is not the peripheral's own."""

from __future__ import annotations

from prahari_wire.base import Message, PeripheralId


class SnapshotArgs(Message):
    """camera.snapshot: one masked picture now; the result names the uploaded file."""

    peripheral: PeripheralId


class ViewArgs(Message):
    """camera.learn_view: the view is right as it is now, a changed scene is none any more."""

    peripheral: PeripheralId


class NoArgs(Message):
    """agent.restart takes none."""
