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

from prahari_hub.texts import Text


class HubError(Exception):
    """Base of the hub's own errors; ``str()`` is one sentence for a person, in English.

    ``template`` has blanks such as {device} for ``values``. A page says it in its reader's language if it is marked by ``N_``.
    """

    def __init__(self, template: str, /, **values: object) -> None:
        self.text = Text(template, values)
        super().__init__(str(self.text))


class SetupError(HubError):
    pass


class NotFound(HubError):
    pass


class Conflict(HubError):
    pass


class Invalid(HubError):
    """``fields``: (path, what was expected)."""

    def __init__(self, template: str, /, *fields: tuple[str, str], **values: object) -> None:
        super().__init__(template, **values)
        self.fields = list(fields)


class Forbidden(HubError):
    pass


class Unavailable(HubError):
    pass
