"""Which board this is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prahari_agent.hardware.jetson import JetsonBoard
from prahari_agent.hardware.linux import model
from prahari_agent.hardware.pi import PiBoard
from prahari_agent.hardware.port import Board
from prahari_agent.hardware.simulated import SimulatedBoard

BOARDS: dict[str, Callable[[], Board]] = {"pi": PiBoard, "jetson": JetsonBoard, "simulated": SimulatedBoard}
MODELS = (("Raspberry Pi", "pi"), ("Jetson", "jetson"), ("NVIDIA", "jetson"))


def detect(*, proc: Path = Path("/proc")) -> str:
    """The board's row in BOARDS by the device tree; a machine without one is simulated."""
    found = model(proc) or ""
    return next((board for name, board in MODELS if name in found), "simulated")


def build(board: str) -> Board:
    """``board``: a row of BOARDS, or "auto" (also for a profile name such as "pi5" or "jetson-orin")."""
    if board in BOARDS:
        return BOARDS[board]()
    family = next((name for name in BOARDS if board.startswith(name)), None)
    return BOARDS[family or detect()]()
