"""The live view: a camera's pictures at one a second, persons hidden as in every snapshot, for two minutes at most, never kept.

command  camera.live                  LiveArgs
PUT /device/v1/live/{view}            a JPEG: 204 shown, 404 not asked of this device, 410 nobody looks any more, 422 no picture
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, Ulid

LONGEST_S = 120
EVERY_S = 1.0
MOST_BYTES = 512 * 1024
"""Of one picture."""


class LiveArgs(Message):
    """Arguments of ``camera.live``. The same ``view`` again begins no second one; another one of the camera ends the first.

    The result: {"seconds": how long pictures are sent}.
    """

    peripheral: PeripheralId
    view: Ulid
    seconds: Annotated[int, Field(ge=1, le=LONGEST_S)] = 60
