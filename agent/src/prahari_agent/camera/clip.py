"""The generated clip: a drawn street as an H.264 file, the source of a camera where there is none.

``python -m prahari_agent.camera.clip FILE [SEED]`` draws it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import av
import cv2
from av.video.frame import VideoFrame

from prahari_agent.camera.scene import HEIGHT, WIDTH, Scene
from prahari_agent.errors import SetupError

FPS = 10
LENGTH_S = 36
_ENCODER = {"preset": "veryfast", "crf": "23", "threads": "1"}


def ensure_clip(path: Path, seed: int) -> Path:
    """The clip of ``seed`` at ``path``, drawn if it is not there yet. The same seed gives the same file."""
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            _draw(Path(folder) / path.name, seed)
            (Path(folder) / path.name).replace(path)
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise SetupError(
            f"the clip {path} cannot be written ({said}): choose another place or free space."
        ) from error
    return path


def _draw(path: Path, seed: int) -> None:
    cv2.setNumThreads(1)
    scene = Scene(seed)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 2 * FPS
        for number in range(LENGTH_S * FPS):
            picture = VideoFrame.from_ndarray(scene.frame(number / FPS), format="bgr24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    ensure_clip(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
