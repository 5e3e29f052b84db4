"""Commands: verbs that the hub asks of this box. The journal is written before anything is done.

A repeat is answered from the journal, what has expired is refused, and with a clock that is not trusted only commands
marked safe are carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from prahari_wire.base import Clock as Quality
from prahari_wire.base import Refused, parse
from prahari_wire.command import Command, CommandName, CommandReport, Idempotency
from prahari_wire.events import COMMAND_STATE

from prahari_agent.clock import Clock
from prahari_agent.errors import AgentError, HubUnreachable, Rejected
from prahari_agent.journal import CommandRow
from prahari_agent.log import get_logger
from prahari_agent.outbox import Outbox, OutboxFull
from prahari_agent.peripheral import Arguments

log = get_logger("commands")

Verb = Callable[[Mapping[str, Any]], dict[str, Any]]
Reported = Literal["ACCEPTED", "RUNNING", "SUCCEEDED", "FAILED", "REJECTED", "EXPIRED"]
MAX_RESULT = 8 * 1024


class Commands:
    """``own``: commands of the agent itself; all others go to ``peripheral(name, args)``. Used from one thread."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        clock: Clock,
        verify: Callable[[Command], None],
        own: Mapping[str, Verb],
        peripheral: Callable[[str, Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        self._outbox, self._clock, self._verify = outbox, clock, verify
        self._own, self._peripheral = own, peripheral

    def resume(self) -> None:
        """Settle what a stop of the agent interrupted: a restart has succeeded, an idempotent command runs again."""
        for row in self._outbox.unfinished_commands():
            command = Command.model_validate_json(row.command)
            if command.name is CommandName.RESTART:
                self._tell(command, "SUCCEEDED", result={})
            elif command.idempotency is Idempotency.IDEMPOTENT and not self._expired(command):
                self._run(command)
            else:
                self._tell(
                    command,
                    "FAILED",
                    error="the agent stopped while the command ran: look at the box before sending it again",
                )

    def receive(self, payload: bytes) -> None:
        """Handle one down/command message."""
        try:
            command = parse(Command, payload)
            self._verify(command)
        except (Refused, Rejected, HubUnreachable) as error:
            log.warning("a command from the hub is not accepted", error=str(error)[:300])
            return
        known = self._outbox.command(command.id)
        if known is not None:
            self._outbox.emit(COMMAND_STATE, CommandReport.model_validate_json(known.report))
            return
        if (refusal := self._refusal(command)) is not None:
            state, reason = refusal
            self._tell(command, state, error=reason)
            return
        self._accept(command)

    def _refusal(self, command: Command) -> tuple[Reported, str] | None:
        trusted = self._clock.quality() is Quality.SYNCED
        if not trusted and not command.safe:
            return (
                "REJECTED",
                "this box's clock is not trusted yet, and the command is not marked safe without one",
            )
        if trusted and self._expired(command):
            return "EXPIRED", f"the command was good until {command.expires_at:%H:%M:%S} UTC"
        return None

    def _expired(self, command: Command) -> bool:
        return self._clock.now() >= command.expires_at

    def _accept(self, command: Command) -> None:
        try:
            self._record(command, "ACCEPTED")
        except OutboxFull as error:
            if command.idempotency is Idempotency.AT_MOST_ONCE:
                log.error(
                    "a command cannot be journaled and is not carried out",
                    command=command.id,
                    error=str(error),
                )
                self._tell(
                    command,
                    "REJECTED",
                    error="the box cannot write its journal (disk full or broken): nothing was done",
                )
                return
        self._run(command)

    def _run(self, command: Command) -> None:
        self._tell(command, "RUNNING")
        log.info("command", name=str(command.name), id=command.id)
        try:
            verb = self._own.get(command.name)
            result = verb(command.args) if verb else self._peripheral(command.name, self._arguments(command))
        except Rejected as error:
            self._tell(command, "REJECTED", error=str(error))
        except AgentError as error:
            self._tell(command, "FAILED", error=str(error))
        except Exception as error:
            log.exception("a command failed", id=command.id)
            self._tell(command, "FAILED", error=f"unexpected {type(error).__name__}: see the box's log")
        else:
            if command.name is not CommandName.RESTART:
                self._tell(command, "SUCCEEDED", result=result)

    def _arguments(self, command: Command) -> Arguments:
        found = Arguments(command.args)
        trusted = self._clock.quality() is Quality.SYNCED
        hub_now = self._clock.hub_now() or (self._clock.now() if trusted else None)
        if hub_now is not None:
            age_ms = (hub_now - command.issued_at) / timedelta(milliseconds=1)
            found.issued_ms = self._clock.mono_ms() - int(age_ms)
        return found

    def _tell(
        self,
        command: Command,
        state: Reported,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        try:
            self._record(command, state, result=result, error=error)
        except OutboxFull as trouble:
            log.error("a command's state cannot be journaled", id=command.id, state=state, error=str(trouble))
            self._outbox.emit(COMMAND_STATE, _report(command, state, result, error))

    def _record(
        self,
        command: Command,
        state: Reported,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        report = _report(command, state, result, error)
        row = CommandRow(state, command.model_dump_json(by_alias=True), report.model_dump_json(by_alias=True))
        self._outbox.emit_command(command.id, row, report)


def _report(
    command: Command, state: Reported, result: dict[str, Any] | None, error: str | None
) -> CommandReport:
    report = CommandReport(command=command.id, state=state, result=result, error=error and error[:1000])
    if len(report.model_dump_json()) > MAX_RESULT:
        return CommandReport(command=command.id, state=state, error="the result was too large to be told")
    return report
