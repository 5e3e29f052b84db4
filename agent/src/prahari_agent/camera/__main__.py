"""``python -m prahari_agent.camera SOCKET MARK``: started by the supervisor with two inherited descriptors."""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from types import TracebackType

from prahari_agent.camera.channel import Channel

MISSING = "camera support is not installed ({name} is missing): install prahari-agent with the extra litert or tflite."


def main() -> int:
    sys.excepthook = _die
    threading.excepthook = lambda args: _die(args.exc_type, args.exc_value, args.exc_traceback)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        from prahari_agent.camera import process
    except ImportError as error:
        channel.send({"type": "unfit", "problem": MISSING.format(name=error.name)})
        return 1
    try:
        process.main(channel, int(sys.argv[2]))
    except ConnectionError:
        return 1  # the agent's process is gone
    return 0


def _die(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """End the whole process, whichever thread failed. The error's own text is left out: it could carry a camera's password."""
    sys.stderr.write(f"the camera process ends by {kind.__name__}:\n{''.join(traceback.format_tb(trace))}")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
