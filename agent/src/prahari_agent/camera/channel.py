"""What travels between the agent's process and a camera's: length-prefixed JSON, each message with bytes of its own if it has some.

To the camera: start {camera, config, credentials, analysis, faults}, clock {offset_s}, answer {id, kept}, snapshot {id}, learn_view,
    stop {cause}.
From the camera: event {id, kind, body} + JPEG, snapshot {id, problem} + JPEG, facts {…}.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

_LENGTHS = struct.Struct(">II")
MAX_JSON = 1024 * 1024
MAX_BLOB = 8 * 1024 * 1024

IN_MODEL, IN_DECODER, MARKS = 0, 1, 2
"""Places of the shared bytes that are 1 while the model, or the decoder, runs, and their number."""

Message = dict[str, Any]


class Channel:
    """One end of a socket pair. ``send`` may be called from several threads; OSError says that the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        text = json.dumps(message, allow_nan=False).encode()
        with self._lock:
            self._end.sendall(_LENGTHS.pack(len(text), len(blob)) + text + blob)

    def receive(self) -> tuple[Message, bytes] | None:
        """The next message; None when the other end is gone or speaks something else."""
        try:
            header = self._exactly(_LENGTHS.size)
            if header is None:
                return None
            text_size, blob_size = _LENGTHS.unpack(header)
            if text_size > MAX_JSON or blob_size > MAX_BLOB:
                return None
            text, blob = self._exactly(text_size), self._exactly(blob_size)
        except OSError:
            return None
        if text is None or blob is None:
            return None
        message: Message = json.loads(text)
        return message, blob

    def close(self) -> None:
        self._end.close()

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._end.recv(min(size - len(parts), 1 << 16))
            if not part:
                return None
            parts += part
        return bytes(parts)
