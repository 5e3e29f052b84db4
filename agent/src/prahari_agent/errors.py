"""What can go wrong in the agent, by what the caller does next.

AgentError
├── SetupError        stop: the box is not set up (settings, home, identity); the sentence says what to do
├── ConfigRefused     refuse: a document or argument cannot be applied; carries path and message of each field
├── SourceError       retry later: a camera's source, a player or a peripheral does not answer
├── Rejected          refuse: a command is not carried out, with the reason
└── HubUnreachable    retry later: link or transfer failed
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of the agent's own errors; ``str()`` is one sentence for a person."""


class SetupError(AgentError):
    pass


class ConfigRefused(AgentError):
    """``errors``: (path of the field, what was expected)."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))
        self.errors = list(errors)


class SourceError(AgentError):
    pass


class Rejected(AgentError):
    pass


class HubUnreachable(AgentError):
    pass
