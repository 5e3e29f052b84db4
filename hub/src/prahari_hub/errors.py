"""What can go wrong in the hub, by what the caller does next.

HubError
├── SetupError      stop: the hub cannot start (home, port, settings); the sentence says what to do
├── NotFound        refuse (404): no such thing
├── Conflict        refuse (409): the state does not allow it, or it changed meanwhile
├── Invalid         refuse (422): a value is not acceptable; carries field errors
├── Forbidden       refuse (403): this actor may not
└── Unavailable     retry later (503): the store, the broker or a device does not answer now
"""

from __future__ import annotations


class HubError(Exception):
    """Base of the hub's own errors; ``str()`` is one sentence for a person."""


class SetupError(HubError):
    pass


class NotFound(HubError):
    pass


class Conflict(HubError):
    pass


class Invalid(HubError):
    """``fields``: (path, what was expected)."""

    def __init__(self, detail: str, *fields: tuple[str, str]) -> None:
        super().__init__(detail)
        self.fields = list(fields)


class Forbidden(HubError):
    pass


class Unavailable(HubError):
    pass
