"""Events that a device raises about itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, ShortText, Text


class Shed(Message):
    """outbox.shed: the outbox was full and gave up ``count`` events of class ``cls``, never presses."""

    cls: Annotated[int, Field(ge=0, le=4, alias="class")]
    count: Annotated[int, Field(ge=1)]
    reason: ShortText


class JournalSetAside(Message):
    """outbox.set_aside: the outbox file was broken, was kept under ``file`` and a new journal begun."""

    file: ShortText
    detail: ShortText


class AgentFault(Message):
    """agent.fault: a part of the agent fails; ``active`` False clears it."""

    part: ShortText
    active: bool
    peripheral: PeripheralId | None = None
    detail: Text | None = None
