"""Commands: issued here, sent again until the device has accepted them, followed to their end.

    QUEUED ─▶ SENT ─▶ ACCEPTED ─▶ RUNNING ─▶ SUCCEEDED | FAILED | REJECTED      said by the device
       └────────┴──▶ EXPIRED | CANCELLED        └──▶ LOST                      concluded by the hub

What the device says is the truth: it also corrects what the hub has concluded. Only the three ends it names are final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Message, Refused, validate
from prahari_wire.callbox import LampArgs
from prahari_wire.command import Command, CommandName, CommandReport, CommandState, Idempotency
from prahari_wire.display import PreviewArgs
from prahari_wire.ids import ulid
from prahari_wire.live import LiveArgs
from prahari_wire.recording import HoldArgs, ReleaseArgs, SendArgs
from prahari_wire.redaction import RedactArgs
from prahari_wire.topics import Down
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import uploads
from prahari_hub.fleet.command_args import NoArgs, SnapshotArgs, ViewArgs
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.outgoing import Outgoing, back_off_s, make_each, reachable
from prahari_hub.fleet.tables import commands, devices
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor
from prahari_hub.http.paging import Page
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Checked, Term

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 30.0
ANSWER_GRACE = timedelta(seconds=15)
"""A device that accepted just before the expiry needs this long to tell."""
SILENT_RUN = timedelta(minutes=15)
"""An accepted command that says nothing for so long after its expiry is LOST."""
LONGEST_LIFE = timedelta(days=7)

ARGUMENTS: dict[CommandName, type[Message]] = {
    CommandName.LAMP: LampArgs,
    CommandName.PREVIEW: PreviewArgs,
    CommandName.SNAPSHOT: SnapshotArgs,
    CommandName.LEARN_VIEW: ViewArgs,
    CommandName.LIVE: LiveArgs,
    CommandName.RESTART: NoArgs,
    CommandName.HOLD: HoldArgs,
    CommandName.RELEASE: ReleaseArgs,
    CommandName.SEND: SendArgs,
    CommandName.REDACT: RedactArgs,
}
SAFE = frozenset(
    {CommandName.LAMP, CommandName.PREVIEW, CommandName.HOLD, CommandName.RELEASE, CommandName.SEND}
)
"""May run although the device's clock is not synced."""
ONCE = frozenset({CommandName.RESTART})

ASK_FOR_FOOTAGE = N_("Ask for footage by a footage request: another person approves it.")
ELSEWHERE: Mapping[CommandName, str] = MappingProxyType(
    {CommandName.LIVE: N_("Begin a live view on the camera's page: it wants a reason.")}
    | dict.fromkeys(
        (CommandName.HOLD, CommandName.RELEASE, CommandName.SEND, CommandName.REDACT), ASK_FOR_FOOTAGE
    )
)
"""Commands that are not given by hand, and where what they do is asked for."""

S = CommandState
OPEN = frozenset({S.QUEUED, S.SENT, S.ACCEPTED, S.RUNNING})
UNANSWERED = frozenset({S.QUEUED, S.SENT})
FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.REJECTED})
_RANK = {S.QUEUED: 0, S.SENT: 1, S.EXPIRED: 2, S.CANCELLED: 2, S.ACCEPTED: 3, S.RUNNING: 4, S.LOST: 4}


def moves_to(present: CommandState, said: CommandState) -> bool:
    """Whether the device's word ``said`` replaces ``present``: only forward, and never after an end that it named."""
    if present in FINAL:
        return False
    if said in FINAL:
        return True
    if said is S.EXPIRED:
        return present in UNANSWERED
    return _RANK[said] > _RANK[present] or (present is S.LOST and said is S.RUNNING)


def issue(
    unit: Unit,
    actor: Actor,
    device: str,
    name: CommandName,
    args: Mapping[str, Any],
    *,
    expires_in_s: float,
    reason: str | None = None,
) -> str:
    """Queue a command and return its id; it is sent as soon as the transaction is on disk.

    A newer lamp command replaces the unanswered ones for the same lamp: sent again, they would undo it.
    """
    checked = _arguments(name, args)
    if unit.conn.scalar(sa.select(devices.c.id).where(devices.c.id == device)) is None:
        raise NotFound(N_("there is no device {device}"), device=device)
    expires_at = unit.now + _life(expires_in_s)
    if name is CommandName.LAMP:
        _replace(unit, device, name, checked["peripheral"])
    command = ulid()
    unit.conn.execute(
        commands.insert().values(
            id=command,
            device_id=device,
            name=str(name),
            args=checked,
            issued_at=unit.now,
            expires_at=expires_at,
            idempotency=str(Idempotency.AT_MOST_ONCE if name in ONCE else Idempotency.IDEMPOTENT),
            safe=name in SAFE,
            issued_by=actor.name,
            state=str(S.QUEUED),
            state_at=unit.now,
            sent=0,
            next_send_at=unit.now,
        )
    )
    uploads.grant(unit, device, checked.get("content"), until=expires_at)
    record(
        unit,
        actor,
        "command.issue",
        f"command:{command}",
        reason=reason,
        detail={"device": device, "name": str(name), "args": checked},
    )
    _tell(unit, command, device, S.QUEUED)
    unit.tell("downlinks", id=device)
    return command


def issue_by_hand(
    unit: Unit,
    actor: Actor,
    device: str,
    name: CommandName,
    args: Mapping[str, Any],
    *,
    expires_in_s: float,
    reason: str | None = None,
) -> str:
    """``issue`` for what a person typed; Invalid for what has a page of its own."""
    if name in ELSEWHERE:
        raise Invalid(ELSEWHERE[name], ("name", "another command"))
    return issue(unit, actor, device, name, args, expires_in_s=expires_in_s, reason=reason)


def _life(expires_in_s: float) -> timedelta:
    life = timedelta(seconds=expires_in_s)
    if not timedelta(0) < life <= LONGEST_LIFE:
        raise Invalid(
            N_("a command lives for more than 0 seconds and at most 7 days"),
            ("expires_in_s", "more than 0, at most 604800"),
        )
    return life


def _arguments(name: CommandName, args: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return validate(ARGUMENTS[name], dict(args)).model_dump(mode="json", by_alias=True)
    except Refused as error:
        path, _, expected = error.detail.partition(": ")
        raise Invalid(
            N_("the arguments of {name} are not accepted: {detail}"),
            (f"args.{path}", expected),
            name=Term("command_name", name),
            detail=Checked(error.detail),
        ) from None


def _replace(unit: Unit, device: str, name: CommandName, peripheral: str) -> None:
    query = sa.select(commands.c.id, commands.c.args).where(
        commands.c.device_id == device, commands.c.name == str(name), commands.c.state.in_(_words(UNANSWERED))
    )
    for row in unit.conn.execute(query).all():
        if row.args.get("peripheral") == peripheral:
            _conclude(unit, row.id, device, S.CANCELLED, "replaced by a newer command")


def cancel(unit: Unit, actor: Actor, command: str, *, reason: str | None = None) -> None:
    """Stop sending; Conflict once the device has begun or the command has ended."""
    row = get(unit.conn, command)
    if row["state"] not in UNANSWERED:
        raise Conflict(
            N_("the command is {state} and cannot be recalled"), state=Term("command", row["state"])
        )
    _conclude(unit, command, row["device_id"], S.CANCELLED, f"cancelled by {actor.name}")
    record(unit, actor, "command.cancel", f"command:{command}", reason=reason)


def get(conn: Connection, command: str) -> dict[str, Any]:
    row = conn.execute(sa.select(commands).where(commands.c.id == command)).first()
    if row is None:
        raise NotFound(N_("there is no command {command}"), command=command)
    return dict(row._mapping)


def list_commands(
    conn: Connection, device: str, *, cursor: str | None = None, limit: int = 50, open_only: bool = False
) -> Page[dict[str, Any]]:
    """Newest first."""
    query = sa.select(commands).where(commands.c.device_id == device)
    if open_only:
        query = query.where(commands.c.state.in_(_words(OPEN)))
    if cursor:
        (last,) = paging.decode(cursor, str)
        query = query.where(commands.c.id < last)
    rows = conn.execute(query.order_by(commands.c.id.desc()).limit(limit + 1)).all()
    items = [dict(row._mapping) for row in rows[:limit]]
    return Page(items, paging.encode(items[-1]["id"]) if len(rows) > limit else None)


def count_open(conn: Connection, device: str) -> int:
    where = (commands.c.device_id == device) & commands.c.state.in_(_words(OPEN))
    return conn.scalar(sa.select(sa.func.count()).select_from(commands).where(where)) or 0


def reported(unit: Unit, fact: Fact) -> None:
    """command.state from the device."""
    body = fact.body
    assert isinstance(body, CommandReport)
    where = (commands.c.id == body.command) & (commands.c.device_id == fact.device)
    present = unit.conn.scalar(sa.select(commands.c.state).where(where))
    said = CommandState(body.state)
    if present is None or not moves_to(CommandState(present), said):
        return
    unit.conn.execute(
        commands.update()
        .where(where)
        .values(state=str(said), state_at=unit.now, next_send_at=None, result=body.result, error=body.error)
    )
    _tell(unit, body.command, fact.device, said)


def waited_for(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of many devices that have commands which are not answered."""
    where = commands.c.device_id.in_(ids) & commands.c.state.in_(_words(UNANSWERED))
    return set(conn.scalars(sa.select(commands.c.device_id).where(where)))


def on_birth(unit: Unit, device: str) -> None:
    """Unanswered commands go out now."""
    where = (commands.c.device_id == device) & commands.c.state.in_(_words(UNANSWERED))
    if unit.conn.execute(commands.update().where(where).values(next_send_at=unit.now)).rowcount:
        unit.tell("downlinks", id=device)


def take_due(unit: Unit, *, limit: int = 100) -> list[Outgoing]:
    """Commands to send now, oldest first; each is due again after a back-off until it is answered or has expired."""
    query = (
        sa.select(commands)
        .join(devices, devices.c.id == commands.c.device_id)
        .where(
            commands.c.state.in_(_words(UNANSWERED)),
            commands.c.next_send_at <= unit.now,
            commands.c.expires_at > unit.now,
            reachable(),
        )
        .order_by(commands.c.id)
        .limit(limit)
    )
    found = []
    for row, message in make_each(unit, unit.conn.execute(query).all(), _message, _of):
        wait = timedelta(seconds=back_off_s(row.sent, FIRST_WAIT_S, LONGEST_WAIT_S))
        values: dict[str, Any] = {"sent": row.sent + 1, "next_send_at": unit.now + wait}
        if row.state == S.QUEUED:
            values |= {"state": str(S.SENT), "state_at": unit.now}
            _tell(unit, row.id, row.device_id, S.SENT)
        unit.conn.execute(_of(row).values(values))
        found.append(Outgoing(row.device_id, Down.COMMAND, message))
    return found


def _message(row: Row[Any]) -> Command:
    return Command(
        id=row.id,
        name=CommandName(row.name),
        args=row.args,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        idempotency=Idempotency(row.idempotency),
        safe=row.safe,
    )


def _of(row: Row[Any]) -> sa.Update:
    return commands.update().where(commands.c.id == row.id)


def conclude_overdue(unit: Unit, *, limit: int = 500) -> int:
    """EXPIRED for what nobody accepted in time, LOST for what was accepted and then fell silent; how many."""
    never_sent = (commands.c.state == str(S.QUEUED)) & (commands.c.expires_at <= unit.now)
    no_answer = (commands.c.state == str(S.SENT)) & (commands.c.expires_at <= unit.now - ANSWER_GRACE)
    silent = (
        commands.c.state.in_(_words(frozenset({S.ACCEPTED, S.RUNNING})))
        & (commands.c.expires_at <= unit.now - SILENT_RUN)
        & (commands.c.state_at <= unit.now - SILENT_RUN)
    )
    count = 0
    for condition, state, text in (
        (never_sent, S.EXPIRED, "it could not be sent before it expired"),
        (no_answer, S.EXPIRED, "the device did not accept it in time"),
        (silent, S.LOST, "the device began it and has not said how it ended"),
    ):
        query = sa.select(commands.c.id, commands.c.device_id).where(condition).limit(limit)
        for row in unit.conn.execute(query).all():
            _conclude(unit, row.id, row.device_id, state, text)
            count += 1
    return count


def _conclude(unit: Unit, command: str, device: str, state: CommandState, error: str) -> None:
    unit.conn.execute(
        commands.update()
        .where(commands.c.id == command)
        .values(state=str(state), state_at=unit.now, next_send_at=None, error=error)
    )
    _tell(unit, command, device, state)


def _tell(unit: Unit, command: str, device: str, state: CommandState) -> None:
    unit.tell("commands", id=command, device=device, state=str(state))


def _words(states: frozenset[CommandState]) -> list[str]:
    return sorted(str(state) for state in states)
