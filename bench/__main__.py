"""``make bench``: every figure that docs/performance.md quotes."""

from __future__ import annotations

from bench import camera, spine

if __name__ == "__main__":
    spine.main()
    camera.main()
