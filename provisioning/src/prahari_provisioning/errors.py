"""What can go wrong while a box is put into service, by what the technician does next.

ProvisioningError       stop; ``str()`` is one sentence that says what to do
├── HubUnreachable      try again when the hub answers
├── HubRefused          ask whoever runs the hub: token, right, unknown device, conflict
└── CannotWrite         look at the card or folder
"""

from __future__ import annotations


class ProvisioningError(Exception):
    pass


class HubUnreachable(ProvisioningError):
    pass


class HubRefused(ProvisioningError):
    pass


class CannotWrite(ProvisioningError):
    pass
