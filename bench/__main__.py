"""``make bench``: the figures of docs/performance.md that a command can take."""

from __future__ import annotations

from bench import camera, spine

if __name__ == "__main__":
    spine.main()
    camera.main()
