"""What every Linux board tells in the same way."""

from __future__ import annotations

from pathlib import Path


def model(proc: Path) -> str | None:
    """The device tree's model, e.g. "Raspberry Pi 4 Model B Rev 1.4"."""
    return _text(proc / "device-tree" / "model")


def serial(proc: Path) -> str | None:
    return _text(proc / "device-tree" / "serial-number")


def thermal_zone_c(sys: Path) -> float | None:
    """Degrees of the hottest thermal zone, or None."""
    found: list[float] = []
    for path in sys.glob("class/thermal/thermal_zone*/temp"):
        try:
            found.append(int(path.read_text().strip()) / 1000)
        except (OSError, ValueError):
            continue  # zones of parts that are switched off refuse to be read
    plausible = [degrees for degrees in found if -40 <= degrees <= 150]
    return max(plausible, default=None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None
